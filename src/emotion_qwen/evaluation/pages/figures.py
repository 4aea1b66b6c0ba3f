"""Figures of the pages, drawn by matplotlib: recalls and confusion of a column, and the change between two models.

The colours are from Okabe and Ito's palette, which colour-blind readers can distinguish; shape or position repeats what
colour shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.evaluation.pages.forgetting_page import points, span
from emotion_qwen.evaluation.run.forgetting import POINTS, Change, Forgetting
from emotion_qwen.evaluation.run.score import Column, confusion_of
from emotion_qwen.extras import optional

BEFORE, AFTER, LOSS, INK, FAINT = "#E69F00", "#0072B2", "#D55E00", "#333333", "#D8D8D8"
RESOLUTION, COLUMN_RESOLUTION = 150, 110
UNREAD = "unread"
BINS = 25


def draw_figures(comparison: Forgetting, folder: Path) -> dict[str, Path]:
    """Draw the figures as PNG files.

    Args:
        comparison: the comparison.
        folder: an existing folder.

    Returns:
        Caption -> file, in reading order.

    Raises:
        MissingPackage: matplotlib is not installed.
    """
    drawn = {
        "Accuracy before and after, with 95 % intervals; on the right the paired change in points.": (
            "accuracy.png",
            _draw_accuracy(comparison),
        ),
        "Change of every class in points, with its 95 % interval; pale if the interval includes zero.": (
            "classes.png",
            _draw_classes(comparison),
        ),
        "Gate weight of the emotion expert over the pictures of each task; dashed lines are means.": (
            "gate.png",
            _draw_gate(comparison),
        ),
    }
    for name, figure in drawn.values():
        figure.savefig(folder / name, dpi=RESOLUTION, facecolor="white")
    return {caption: folder / name for caption, (name, _) in drawn.items()}


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure of the given size in inches.

    Raises:
        MissingPackage: matplotlib is not installed.
    """
    # The figure class instead of pyplot: no window, no global state, nothing to close.
    figure = optional("matplotlib.figure", "eval").Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
    return figure


def clean_axes(axes: Any) -> None:
    """Leave only the lower axis and vertical grid lines."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(colors=INK)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def _draw_accuracy(comparison: Forgetting) -> Any:
    rows: list[tuple[str, Change, bool]] = []
    for domain, total in comparison.domains.items():
        mine = [task_change for task_change in comparison.tasks if task_change.task.domain == domain]
        rows += [(f"{change.task.title}  (n = {change.accuracy.items:,})", change.accuracy, False) for change in mine]
        rows.append((f"{domain}, mean of {len(mine)}" if len(mine) > 1 else domain, total, True))
    figure = new_figure(9, 1.3 + 0.55 * len(rows))
    axes = figure.subplots()
    for place, (_, change, strong) in enumerate(rows):
        _draw_dumbbell(axes, place, change, strong)
    axes.set_yticks(range(len(rows)), [label for label, _, _ in rows])
    for text, (_, _, strong) in zip(axes.get_yticklabels(), rows, strict=True):
        text.set_fontweight("bold" if strong else "normal")
    axes.set_ylim(len(rows) - 0.4, -0.75)
    axes.set_xlim(0, 100)
    axes.set_xlabel("accuracy, %  (grey tick: chance)")
    axes.text(1.02, -0.62, "change, points (95 %)", transform=axes.get_yaxis_transform(), fontsize=9, color=INK)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    clean_axes(axes)
    return figure


def _draw_dumbbell(axes: Any, place: int, change: Change, strong: bool) -> None:
    sides = ((change.before, BEFORE, "o", -0.14, "before"), (change.after, AFTER, "D", 0.14, "after"))
    for estimate, colour, marker, shift, label in sides:
        axes.plot([POINTS * estimate.low, POINTS * estimate.high], [place + shift] * 2, color=colour, linewidth=2)
        axes.plot(
            POINTS * estimate.value,
            place + shift,
            marker,
            color=colour,
            markersize=9 if strong else 7,
            label=label if place == 0 else None,
            linestyle="none",
        )
    ends = [POINTS * change.before.value, POINTS * change.after.value]
    axes.plot(ends, [place - 0.14, place + 0.14], color=INK, linewidth=0.8, zorder=1)
    axes.plot([POINTS * change.chance] * 2, [place - 0.25, place + 0.25], color="#888888", linewidth=1.2)
    axes.text(
        1.02,
        place,
        f"{points(change.difference.value)}  ({span(change.difference)})",
        transform=axes.get_yaxis_transform(),
        verticalalignment="center",
        fontweight="bold" if strong else "normal",
        color=INK,
        fontsize=9,
    )


def _draw_classes(comparison: Forgetting) -> Any:
    counts = [len(task_change.classes) for task_change in comparison.tasks]
    figure = new_figure(8, 1.0 + 0.55 * len(counts) + 0.25 * sum(counts))
    panels = figure.subplots(len(counts), 1, sharex=True, squeeze=False, height_ratios=[n + 0.5 for n in counts])
    for axes, task_change in zip(panels[:, 0], comparison.tasks, strict=True):
        for place, change in enumerate(task_change.classes):
            _draw_bar(axes, place, change)
        axes.set_yticks(
            range(len(task_change.classes)),
            [f"{c.name.replace('_', ' ')}  ({c.items:,})" for c in task_change.classes],
            fontsize=9,
        )
        axes.set_ylim(len(task_change.classes) - 0.4, -0.6)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_title(f"{task_change.task.title} · {task_change.task.domain}", loc="left", fontsize=10, color=INK)
        clean_axes(axes)
    widest = max(
        [1.0]
        + [
            abs(POINTS * end)
            for task_change in comparison.tasks
            for c in task_change.classes
            for end in (c.difference.low, c.difference.high)
        ]
    )
    panels[-1, 0].set_xlim(-1.05 * widest, 1.05 * widest)
    panels[-1, 0].set_xlabel("change of recall, percentage points  (← lost · gained →)")
    return figure


def _draw_bar(axes: Any, place: int, change: Change) -> None:
    value, low, high = (POINTS * getattr(change.difference, name) for name in ("value", "low", "high"))
    axes.barh(place, value, height=0.66, color=AFTER if value >= 0 else LOSS, alpha=0.35 if low <= 0 <= high else 1.0)
    axes.plot([low, high], [place, place], color="white", linewidth=3.2)  # a rim, visible on dark bars
    axes.plot([low, high], [place, place], color=INK, linewidth=1.2)
    axes.plot(value, place, "o", color=INK, markersize=3.5)


def _draw_gate(comparison: Forgetting) -> Any:
    count = len(comparison.tasks)
    figure = new_figure(8, 1.1 + 1.35 * count)
    panels = figure.subplots(count, 1, sharex=True, squeeze=False)
    edges = np.linspace(0, 1, BINS + 1)
    for axes, task_change in zip(panels[:, 0], comparison.tasks, strict=True):
        for weights, colour, filled, label in zip(
            task_change.emotion_weights, (BEFORE, AFTER), (True, False), ("before", "after"), strict=True
        ):
            if not len(weights):
                continue
            shares = POINTS * np.histogram(weights, edges)[0] / len(weights)
            look = {"facecolor": colour, "alpha": 0.45} if filled else {"edgecolor": colour, "linewidth": 2}
            axes.stairs(shares, edges, fill=filled, label=label, **look)
            axes.axvline(weights.mean(), color=colour, linestyle="--", linewidth=1.4)
        axes.set_title(f"{task_change.task.title} · {task_change.task.domain}", loc="left", fontsize=10, color=INK)
        axes.set_ylabel("pictures, %", fontsize=9)
        clean_axes(axes)
    panels[-1, 0].set_xlim(0, 1)
    panels[-1, 0].set_xlabel("weight of the emotion expert  (0: all general · 1: all emotion)")
    panels[0, 0].legend(loc="upper center", frameon=False, fontsize=9)
    return figure


def draw_column(column: Column, path: Path) -> Path | None:
    """Draw recalls and the confusion matrix side by side; return None if the task has no classes.

    Raises:
        MissingPackage: matplotlib is not installed.
    """
    confusion = confusion_of(column.result.judged)
    if confusion is None:
        return None
    names, counts = confusion
    height = max(2.6, 0.42 * len(names) + 1.4)
    figure = new_figure(4.2 + height * 1.35, height)
    bars, matrix = figure.subplots(1, 2, width_ratios=(4.2, height * 1.35))
    _draw_recalls(bars, column, names, counts)
    draw_confusion(matrix, names, counts)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=COLUMN_RESOLUTION, facecolor="white")
    return path


def _draw_recalls(axes: Any, column: Column, names: list[str], counts: np.ndarray) -> None:
    scores = {score.name: score for score in column.result.scores}
    support = counts.sum(axis=1)
    for place, name in enumerate(names):
        share = 100 * counts[place, place] / support[place] if support[place] else 0.0
        axes.barh(place, share, height=0.62, color=AFTER)
        sure = scores.get(f"recall of {name}")
        if sure is not None and np.isfinite([sure.low, sure.high]).all():
            axes.plot([100 * sure.low, 100 * sure.high], [place, place], color=INK, linewidth=1.4)
    axes.set_yticks(range(len(names)), [f"{n} ({s:,})" for n, s in zip(names, support, strict=True)])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel("recall, %")
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def draw_confusion(axes: Any, names: list[str], counts: np.ndarray) -> None:
    """Draw a confusion matrix.

    Args:
        axes: to draw on.
        names: K classes.
        counts: (K, K + 1), correct classes in rows, answers in columns, the last without an answer.
    """
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
    axes.set_ylabel("correct")
