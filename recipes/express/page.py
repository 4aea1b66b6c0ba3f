"""The page of the learned expression generator: figures of `recipes.express.measure` as tables and sentences.

python -m recipes.express.page --results docs/results
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.express.track import EMOTIONS
from emotion_qwen.files import write_whole

NAMES = {"table": "hand-written table", "gaussian": "one normal distribution per emotion", "full": "network"}
PARTS = {
    "one_expert": "one expert instead of six",
    "no_global": "no global gate",
    "no_local": "no local gate",
    "no_bank": "no emotion bank",
    "no_prior": "no table of prototypes",
}
EXPRESSED = tuple(name for name in EMOTIONS if name != "neutral")


def page(figures: dict[str, Any]) -> str:
    """Return the page in Markdown."""
    parts = (_head, _verdict, _recognised, _rendered, _parts, _motion, _learned_motion, _others)
    return "\n".join(line for part in parts for line in part(figures))


def read_figures(results: Path) -> dict[str, Any]:
    """Return the figures of the generators, with those of `recipes.express.motion` under "motion" if they were made."""
    figures = json.loads((results / "express.json").read_text(encoding="utf-8"))
    motion = results / "motion.json"
    return figures | ({"motion": json.loads(motion.read_text(encoding="utf-8"))} if motion.is_file() else {})


def runs_of(figures: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the measures of a generator: one, or those of all seeds of a network."""
    every = figures["generators"]
    return [every[key] for key in every if key == name or key.rpartition("-")[0] == name]


def percent(entry: dict[str, float]) -> str:
    """Return a share with its interval in percent."""
    return f"{100 * entry['value']:.1f} ({100 * entry['low']:.1f}–{100 * entry['high']:.1f})"


def _head(figures: dict[str, Any]) -> Iterator[str]:
    real, limits = figures["real"], figures["limits"]
    yield from (
        "# Learned facial expressions",
        "",
        "Made by `recipes/train_express.sh`; all figures are in `express.json`. Three ways to turn an emotion into 52 "
        "facial actions are compared: the hand-written table of `express`, one normal distribution per emotion, and a "
        "network (0.4 million weights: emotion bank, latent, six experts with two gates; "
        "`emotion_qwen.express.generator`).",
        "",
        f"The two that learn saw {real['n_train']} faces of FER2013 and LFW whose actions a landmarker measured, "
        "training parts only. The judge that reports is a linear classifier trained on "
        f"{real['n_validation']} validation faces alone; another one, of training faces, chose the settings. Of real "
        f"training faces, the reporting judge recognises {percent(real['recognised']['all'])} %, on average over seven "
        "emotions: the actions that a landmarker measures in a still carry less than half of the labels. Intervals are "
        "95 %, from judges trained on resampled people and from resampled faces.",
        "",
        "How far guidance pushes was chosen for each by the same rule: recognised best on training faces, at no less "
        f"than {limits['diversity']:.0%} of the diversity of real faces, and no farther from real faces (Fréchet "
        f"distance) than {limits['distance']:g}, which the normal distributions reach at guidance 1. Without the "
        "second limit, guidance wins by drawing faces that nobody makes. The table has no variety of its own and fails "
        "the first limit at every setting.",
        "",
    )


def _verdict(figures: dict[str, Any]) -> Iterator[str]:
    """Yield which generator is better by the rule of the design: a network ships only if it beats both others."""
    shares = {name: 100 * average(figures, name) for name in NAMES}
    limit = figures["limits"]["distance"]
    near = all(run["distance"] <= 1.1 * limit for run in runs_of(figures, "full"))
    yield from ("## Which one is used", "")
    better = shares["full"] > shares["gaussian"] and near
    yield (
        f"Within both limits, {shares['gaussian']:.1f} % of the faces of the normal distributions are recognised. "
        f"The network's faces are recognised in {shares['full']:.1f} %, "
        + ("within the limits, too." if near else "but no setting of it keeps the limit of the distance.")
        + (" It is better." if better else " By the rule it does not beat its simplest peer.")
    )
    rendered = {
        name: sum(run["rendered"]["face-api"][emotion]["share"] > 0.5 for emotion in EXPRESSED)
        for name in NAMES
        for run in runs_of(figures, name)[:1]
        if "rendered" in run
    }
    if len(rendered) == len(NAMES):
        counts = ", ".join(f"{NAMES[name]} {count} of {len(EXPRESSED)}" for name, count in rendered.items())
        best = max(rendered, key=lambda name: rendered[name])
        yield from (
            "",
            f"Number of emotions of which the face-api network reads more than half of the rendered faces: {counts}. "
            f"The {NAMES[best]} {'stays' if best == 'table' else 'would be'} the default of `express`.",
        )
    yield ""


def _recognised(figures: dict[str, Any]) -> Iterator[str]:
    yield from (
        "## Recognised as intended",
        "",
        f"| faces | n | all seven | {' | '.join(EMOTIONS)} | diversity | distance | with labels shuffled |",
        "|" + "---|" * (len(EMOTIONS) + 6),
    )
    real = figures["real"]["recognised"]
    yield f"| real | {figures['real']['n_train']} | {percent(real['all'])} | {_cells(real)} | 1.00 | | |"
    for name, title in NAMES.items():
        for number, run in enumerate(runs_of(figures, name)):
            seed = f", seed {number}" if name == "full" else ""
            yield (
                f"| {title}{seed} | {run['n']} | {percent(run['recognised']['all'])} | {_cells(run['recognised'])} | "
                f"{run['diversity']:.2f} | {run['distance']:g} | {run['distance_shuffled']:g} |"
            )
    yield from (
        "",
        "With more exaggeration allowed, the same judge recognises (percent, at no less than the same diversity):",
        "",
        f"| farthest from real faces | {' | '.join(NAMES[name] for name in ('gaussian', 'full'))} |",
        "|---|---|---|",
    )
    for entries in zip(*(_relaxed(figures, name) for name in ("gaussian", "full")), strict=True):
        limit = next((entry["limit"] for entry in entries if entry), None)
        if limit is not None:
            cells = " | ".join(f"{100 * entry['recognised']:.1f}" if entry else "not reached" for entry in entries)
            yield f"| {limit:g} | {cells} |"
    yield ""


def _relaxed(figures: dict[str, Any], name: str) -> list[dict[str, Any] | None]:
    return runs_of(figures, name)[0]["relaxed"]


def _cells(recalls: dict[str, dict[str, float]]) -> str:
    return " | ".join(f"{100 * recalls[name]['value']:.0f}" for name in EMOTIONS)


def _rendered(figures: dict[str, Any]) -> Iterator[str]:
    measured = {name: run["rendered"] for name in NAMES for run in runs_of(figures, name) if "rendered" in run}
    if not measured:
        return
    yield from (
        "## Rendered",
        "",
        "Share of drawn faces read as intended, at the chosen setting. The readers took no part in training.",
        "",
        f"| faces | reader | n per emotion | {' | '.join(EMOTIONS)} | emotions above half |",
        "|" + "---|" * (len(EMOTIONS) + 4),
    )
    for name, readers in measured.items():
        for reader, rows in readers.items():
            cells = " | ".join(f"{rows[emotion]['share']:.0%}" for emotion in EMOTIONS)
            above = sum(rows[emotion]["share"] > 0.5 for emotion in EXPRESSED)
            yield f"| {NAMES[name]} | {reader} | {rows['neutral']['n']} | {cells} | {above} of {len(EXPRESSED)} |"
    yield ""


def _parts(figures: dict[str, Any]) -> Iterator[str]:
    if not figures["lost_without"]:
        return
    yield from (
        "## What the parts are worth",
        "",
        "Points of the average that are lost without a part, trained and chosen as the whole model.",
        "",
        "| without | points lost | seeds |",
        "|---|---|---|",
    )
    for part, title in PARTS.items():
        if part in figures["lost_without"]:
            entry = figures["lost_without"][part]
            yield f"| {title} | {percent(entry)} | {entry['seeds']} |"
    yield ""


def _motion(figures: dict[str, Any]) -> Iterator[str]:
    clips = figures.get("motion", {})
    if not clips:
        return
    seeds = next(iter(clips.values()))["seeds"]
    yield from (
        "## Motion",
        "",
        "Speed and acceleration of generated tracks, divided by those of the real face, below 4 Hz. The tracks are "
        f"made from the emotions that a report found in the clip; mean of {seeds} seeds, with the smallest and the "
        "largest. The bar is 0.5 to 2. The constants of the variation and of the head were set on these clips, so "
        "other people may move faster or more slowly. Groups differ where the table of prototypes moves other parts "
        "of the face than the person did.",
        "",
        *_clip_columns(clips),
    )
    for row in next(iter(clips.values()))["figures"]:
        cells = [clip["figures"][row] for clip in clips.values()]
        values = [f"{c['ratio']} ({c['range'][0]}–{c['range'][1]})" if c["range"] else "not in the clip" for c in cells]
        yield f"| {row} | {' | '.join(values)} |"
    yield ""


def _clip_columns(clips: dict[str, Any]) -> tuple[str, str]:
    """Return the head of a table with a column per clip."""
    names = " | ".join(f"{name}, {clip['seconds']} s" for name, clip in clips.items())
    return f"| | {names} |", "|---|" + "---|" * len(clips)


def _learned_motion(figures: dict[str, Any]) -> Iterator[str]:
    """Yield how learned motion compares, where a model was trained without each clip."""
    clips = {name: clip for name, clip in figures.get("motion", {}).items() if "learned" in clip}
    if not clips:
        return
    amounts = [clip["learned"] for clip in clips.values()]
    seconds = [amount["trained_seconds"] for amount in amounts]
    yield from (
        "### Learned motion",
        "",
        "The same for the motion model (`emotion_qwen.express.motion_model`, nano, 0.3 million weights). Each column "
        f"is a model of its own, trained on the {amounts[0]['clips']} other clips ({min(seconds):g} to "
        f"{max(seconds):g} s, {amounts[0]['steps']} steps, training seed 0). "
        "So few recordings show that training and generation work, not how well motion can be learned. In brackets "
        "motion by rule on the same clip.",
        "",
        *_clip_columns(clips),
    )
    for row in next(iter(clips.values()))["figures"]:
        pairs = [(clip["learned"]["figures"][row], clip["figures"][row]) for clip in clips.values()]
        values = [f"{made['ratio']} ({rule['ratio']})" if made["range"] else "not in the clip" for made, rule in pairs]
        yield f"| {row} | {' | '.join(values)} |"
    within = {
        kind: sum(0.5 <= entry["ratio"] <= 2 for clip in clips.values() for entry in _bars(clip, kind))
        for kind in ("learned", "shaped")
    }
    total = sum(len(_bars(clip, "shaped")) for clip in clips.values())
    yield from (
        "",
        f"Within the bar are {within['learned']} of {total} figures of learned motion, and {within['shaped']} of "
        f"{total} by rule, whose constants were set on two of these clips.",
        "",
    )


def _bars(clip: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Return the figures of a clip for a kind of motion that a ratio can be stated for."""
    rows = clip["learned"]["figures"] if kind == "learned" else clip["figures"]
    return [entry for entry in rows.values() if entry["range"]]


def _others(figures: dict[str, Any]) -> Iterator[str]:
    source = figures["real"]["source"]
    yield from (
        "## Other measures",
        "",
        f"| measure | bar | {' | '.join(NAMES.values())} |",
        "|" + "---|" * (len(NAMES) + 2),
    )
    rows: tuple[tuple[str, str, Any], ...] = (
        ("blends of two emotions: both on top for the judge, %", "60", lambda run: percent(run["blends"])),
        ("variation between takes slower than 3 Hz, %", "70", lambda run: f"{100 * run['slow_share']:.0f}"),
        ("expert and emotion: mutual information, bits", "1", lambda run: f"{run['information']:.2f}"),
        ("codes of the bank in use (of 32)", "", lambda run: f"{run.get('codes_in_use', 0):.1f}"),
    )
    for title, bar, cell in rows:
        cells = []
        for name in NAMES:
            runs = runs_of(figures, name)
            known = runs and ("information" in runs[0] or not ("bits" in title or "codes" in title))
            cells.append(cell(runs[0]) if known else "")
        yield f"| {title} | {bar} | {' | '.join(cells)} |"
    yield from (
        "",
        "A linear classifier tells from the actions alone which of the two sources a picture is from in "
        f"{percent(source['raw'])} % of {source['raw']['n']} validation faces (half is chance), and in "
        f"{percent(source['neutral_removed'])} % after the mean neutral face of each source is removed.",
        "",
        "Whether a face looks natural to people was not measured.",
        "",
    )


def average(figures: dict[str, Any], name: str) -> float:
    """Return the share recognised of a generator, on average over its seeds."""
    return float(np.mean([run["recognised"]["all"]["value"] for run in runs_of(figures, name)]))


def main() -> None:
    """Write the page beside the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True)
    given = parser.parse_args()
    write_whole(given.results / "express.md", page(read_figures(given.results)))


if __name__ == "__main__":
    main()
