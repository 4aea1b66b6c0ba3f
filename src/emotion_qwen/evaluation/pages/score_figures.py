"""Figures of a column: recall of every class with its interval, and the confusion matrix. matplotlib by `optional`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.evaluation.extras import optional
from emotion_qwen.evaluation.run.score import Column, confusion_of

BAR, INK, FAINT = "#0072B2", "#333333", "#D8D8D8"
RESOLUTION = 110
UNREAD = "unread"


def draw_column(column: Column, path: Path) -> Path | None:
    """Draw recalls and confusion side by side; None where the task has no classes.

    Raises:
        MissingPackage: matplotlib is not installed.
    """
    found = confusion_of(column.result.judged)
    if found is None:
        return None
    names, counts = found
    height = max(2.6, 0.42 * len(names) + 1.4)
    figure = optional("matplotlib.figure").Figure(figsize=(4.2 + height * 1.35, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
    bars, matrix = figure.subplots(1, 2, width_ratios=(4.2, height * 1.35))
    _draw_recalls(bars, column, names, counts)
    _draw_confusion(matrix, names, counts)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=RESOLUTION, facecolor="white")
    return path


def _draw_recalls(axes: Any, column: Column, names: list[str], counts: np.ndarray) -> None:
    scores = {score.name: score for score in column.result.scores}
    support = counts.sum(axis=1)
    for place, name in enumerate(names):
        share = 100 * counts[place, place] / support[place] if support[place] else 0.0
        axes.barh(place, share, height=0.62, color=BAR)
        sure = scores.get(f"recall of {name}")
        if sure is not None and np.isfinite([sure.low, sure.high]).all():
            axes.plot([100 * sure.low, 100 * sure.high], [place, place], color=INK, linewidth=1.4)
    axes.set_yticks(range(len(names)), [f"{n} ({s:,})" for n, s in zip(names, support, strict=True)])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel("recall, %")
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def _draw_confusion(axes: Any, names: list[str], counts: np.ndarray) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.argwhere(counts):
        dark = shares[row, column] > 0.55
        axes.text(
            column,
            row,
            f"{counts[row, column]:,}",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if dark else INK,
        )
    axes.set_xticks(range(len(names) + 1), [*names, UNREAD], rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("answered")
    axes.set_ylabel("right")
