"""The page of all stages of a pipeline: settings, losses and validation, from the proofs stored with the weights.

python -m recipes.nano.stages_page --runs RUNS --results docs/results
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
from emotion_qwen.evaluation.pages.figures import AFTER, BEFORE, FAINT, INK, LOSS, RESOLUTION
from emotion_qwen.extras import optional
from emotion_qwen.files import write_whole
from emotion_qwen.model.source import STAGE_PROOF

STAGE_FOLDERS = (
    "stage0_recite",
    "stage0_copy",
    "stage0",
    "stage0_names",
    "stage0_letters",
    "stage0_claims",
    "stage0_all",
    "stage1",
    "stage2",
    "stage3",
    "tuning",
    "tuning_counts",
    "tuning_groups",
    "tuning_words",
    "comments",
    "senses",
)
SHOWN = {
    "eval_general_exact": ("general, exact match, %", AFTER),
    "eval_emotion_exact": ("emotion, exact match, %", BEFORE),
}


def read_stages(runs: Path, folders: Sequence[str] = STAGE_FOLDERS) -> dict[str, dict[str, Any]]:
    """Read the proofs of finished stages, by folder.

    Raises:
        DataError: a stage is not finished, or its proof cannot be read.
    """
    points = {}
    for name in folders:
        path = runs / name / "model" / STAGE_PROOF
        try:
            points[name] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise DataError(f"{path}: cannot be read ({error}); complete the stage {name!r} first") from error
    return points


def draw_stages(stages: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw all stages in sequence over their steps, with training loss above validation, as one PNG."""
    figure = optional("matplotlib.figure", "eval").Figure(figsize=(11, 6.5), layout="constrained")
    loss, kept = figure.subplots(2, 1, sharex=True)
    begin = 0
    points: dict[str, list[tuple[int, float]]] = {key: [] for key in SHOWN}
    for name, proof in stages.items():
        losses = [(begin + entry["step"], entry["loss"]) for entry in proof["log"] if "loss" in entry]
        loss.plot(*zip(*losses, strict=True), color=LOSS, linewidth=1.4)
        for key, values in points.items():
            values += [(begin + entry["step"], entry[key]) for entry in proof["log"] if key in entry]
        middle = begin + proof["steps"] / 2
        loss.text(middle, 1.02, name, transform=loss.get_xaxis_transform(), rotation=60, fontsize=8, color=INK)
        begin += proof["steps"]
        for axes in (loss, kept):
            axes.axvline(begin, color=FAINT, linewidth=0.8)
    for key, (label, colour) in SHOWN.items():
        if points[key]:
            kept.plot(*zip(*points[key], strict=True), "o-", color=colour, markersize=3.5, linewidth=1.2, label=label)
            kept.legend(fontsize=8, loc="upper left")
    loss.set_yscale("log")
    loss.set_ylabel("training loss", fontsize=9)
    kept.set(xlim=(0, begin), ylim=(0, 100))
    kept.set_ylabel("validation", fontsize=9)
    kept.set_xlabel("steps of all stages", fontsize=9)
    for axes in (loss, kept):
        axes.grid(axis="y", color=FAINT, linewidth=0.5)
        axes.tick_params(colors=INK, labelsize=8)
    figure.savefig(path, dpi=RESOLUTION, facecolor="white")


def write_stages(stages: dict[str, dict[str, Any]], folder: Path) -> None:
    """Write `stages.json` (the whole logs), `stages.md` and `stages.png` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["{"] + [f" {json.dumps(name)}: {json.dumps(proof)}," for name, proof in stages.items()]
    lines[-1] = lines[-1].rstrip(",")
    write_whole(folder / "stages.json", "\n".join([*lines, "}", ""]))
    draw_stages(stages, folder / "stages.png")
    page = [
        "# nano through the stages",
        "",
        "Made by `recipes/train_nano.sh`; the whole logs are in `stages.json`. Validation during training: of 400 "
        "samples per domain, the share whose answers greedy decoding reproduces exactly.",
        "",
        "![Loss and validation of every stage](stages.png)",
        "",
        "| stage | steps | trained | unchanged (bit-equal) | gate | last loss | general, % | emotion, % |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, proof in stages.items():
        kept = [part for part in proof["parts"] if part not in proof["changed"]]
        last = {key: next((e[key] for e in reversed(proof["log"]) if key in e), None) for key in ("loss", *SHOWN)}
        loss, *shares = ("" if value is None else f"{value:.3g}" for value in last.values())
        page.append(
            f"| {name} | {proof['steps']} | {', '.join(proof['changed'])} | {', '.join(kept)} | {proof['gate']} "
            f"| {loss} | {' | '.join(shares)} |"
        )
    write_whole(folder / "stages.md", "\n".join(page) + "\n")


@click.command()
@click.option("--runs", type=click.Path(path_type=Path), required=True, help="folder that contains the stages' folders")
@click.option("--results", type=click.Path(path_type=Path), required=True, help="folder of the page")
def stages_page(runs: Path, results: Path) -> None:
    """Write the page of a finished pipeline."""
    write_stages(read_stages(runs), results)


if __name__ == "__main__":
    sys.exit(run_command(stages_page))
