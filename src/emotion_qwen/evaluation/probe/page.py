"""The page of a probe: thresholds, curves, confusions, and the faces that were shown."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from emotion_qwen.evaluation.pages.blocks import Block, Bullets, Heading, Picture, Rows, Text, as_html
from emotion_qwen.evaluation.pages.figures import COLUMN_RESOLUTION, INK, clean_axes, draw_confusion, new_figure
from emotion_qwen.evaluation.probe.measures import (
    DoseResponse,
    ProbeChange,
    confusion_counts,
    detection_rate,
    dose_responses,
)
from emotion_qwen.evaluation.probe.run import Probe
from emotion_qwen.evaluation.probe.stimuli import NEUTRAL, Stimulus, rendered
from emotion_qwen.express.marks import with_mark
from emotion_qwen.express.rigs import Rig
from emotion_qwen.express.track import EMOTIONS
from emotion_qwen.files import write_whole
from emotion_qwen.views.colours import colour_of

HEAD = (
    "condition",
    "emotion",
    "threshold",
    "read at full",
    "95 %",
    "faces",
    "slope",
    "rank correlation",
    "share at rest",
)
SIDE = 132
"""Side of a face in the sheet of faces, pixels."""
LIMITS = (
    "The faces are rendered from hand-written prototypes. A model that misses one may be right about people and wrong "
    "about the drawing; compare models on the same faces, and look at the faces.",
    "The model gets the true box of the face. How often the package's face detector finds the face is stated "
    "separately.",
    "The intervals cover the number of faces only: four identities are not a sample of people.",
)


def threshold_text(response: DoseResponse) -> str:
    """Return the threshold, or that it is never reached."""
    return "never" if response.threshold is None else f"{response.threshold:.2f}"


def correlation_text(response: DoseResponse) -> str:
    """Return the rank correlation with its interval, or that there is none."""
    if response.correlation is None or response.correlation_interval is None:
        return "none"
    return "{:+.2f} ({:+.2f} to {:+.2f})".format(response.correlation, *response.correlation_interval)


def table_rows(responses: Sequence[DoseResponse]) -> list[tuple[str, ...]]:
    """Return a row per response, with the columns of `HEAD`."""
    return [
        (
            response.condition,
            response.emotion,
            threshold_text(response),
            f"{response.rates[-1]:.0%}",
            f"{response.low:.0%} to {response.high:.0%}",
            str(response.faces),
            f"{response.slope:+.2f}",
            correlation_text(response),
            f"{response.shares[0]:.0%}",
        )
        for response in responses
    ]


def write_page(probe: Probe, rig: Rig, path: Path) -> None:
    """Write the page of a probe as one HTML file.

    Args:
        probe: the answers.
        rig: the face, for the sheet of faces.
        path: of the page.

    Raises:
        MissingPackage: matplotlib is not installed.
        StorageError: the page cannot be written.
    """
    responses = dose_responses(probe)
    with tempfile.TemporaryDirectory(prefix="emotion-qwen-probe-") as name:
        folder = Path(name)
        blocks: list[Block] = [
            Heading(f"Probe of {probe.model}", 1),
            Text(
                f"{len(probe.answers)} rendered faces of the rig {probe.rig!r}, {len(probe.grid.identities)} "
                "identities. All faces are synthetic. The threshold is the intensity from which at least half of the "
                "faces are read correctly; 1 is the prototype of the emotion."
            ),
            Rows(HEAD, table_rows(responses), left=(0, 1)),
            Bullets([_detected(probe, condition) for condition in probe.grid.conditions]),
            Heading("Faces"),
            Picture(_draw_sheet(probe, rig, folder / "faces.png"), "The first identity at rest and at each intensity."),
        ]
        for condition in probe.grid.conditions:
            there = [response for response in responses if response.condition == condition]
            blocks += [
                Heading(f"Condition: {condition}"),
                Picture(
                    _draw_curves(there, folder / f"{condition}.png"),
                    "Left: faces read correctly. Right: mean share of the shown emotion. Both over its intensity.",
                ),
                Picture(
                    _draw_matrix(confusion_counts(probe, condition), folder / f"{condition}-confusion.png"),
                    "Answers at the strongest intensity.",
                ),
            ]
        blocks += [Heading("Limits"), Bullets(LIMITS)]
        write_whole(path, as_html(blocks, f"Probe of {probe.model}"))


def _detected(probe: Probe, condition: str) -> str:
    found_faces, pictures = detection_rate(probe, condition)
    return f"{condition}: the face detector finds a face in {found_faces} of {pictures} pictures."


def _draw_sheet(probe: Probe, rig: Rig, path: Path) -> Path:
    """Draw the first identity with every emotion and intensity, one emotion per row."""
    who, condition = probe.grid.identities[0], probe.grid.conditions[0]
    rest = rendered(Stimulus(NEUTRAL, 0.0, who, condition), rig, SIDE)[0]
    rows = [
        np.concatenate(
            [rest, *(rendered(Stimulus(emotion, i, who, condition), rig, SIDE)[0] for i in probe.grid.intensities)], 1
        )
        for emotion in probe.grid.emotions
    ]
    Image.fromarray(with_mark(np.concatenate(rows, 0))).save(path)
    return path


def _draw_curves(responses: Sequence[DoseResponse], path: Path) -> Path:
    figure = new_figure(9, 3.4)
    left, right = figure.subplots(1, 2, sharex=True)
    for axes, title in ((left, "read correctly"), (right, "mean share")):
        for response in responses:
            values = response.rates if axes is left else response.shares
            axes.plot(
                response.intensities, values, marker="o", markersize=4, color=colour_of(response.emotion),
                label=response.emotion,
            )  # fmt: skip
        axes.set_ylim(-0.03, 1.03)
        axes.set_title(title, loc="left", fontsize=10, color=INK)
        axes.set_xlabel("intensity")
        clean_axes(axes)
        axes.grid(axis="y", color="#D8D8D8", linewidth=0.6)
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.savefig(path, dpi=COLUMN_RESOLUTION, facecolor="white")
    return path


def _draw_matrix(counts: np.ndarray, path: Path) -> Path:
    figure = new_figure(6.4, 4.2)
    axes: Any = figure.subplots()
    draw_confusion(axes, list(EMOTIONS), counts)
    figure.savefig(path, dpi=COLUMN_RESOLUTION, facecolor="white")
    return path


def change_rows(pairs: Sequence[ProbeChange]) -> list[tuple[str, ...]]:
    """Return a row per change: condition, emotion, both thresholds, both rates at full intensity, and the gain."""
    return [
        (
            pair.before.condition,
            pair.before.emotion,
            threshold_text(pair.before),
            threshold_text(pair.after),
            f"{pair.before.rates[-1]:.0%}",
            f"{pair.after.rates[-1]:.0%}",
            f"{0 - 100 * pair.loss:+.0f}",
        )
        for pair in pairs
    ]
