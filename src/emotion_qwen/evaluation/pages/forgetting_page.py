"""The comparison of two models as a terminal table, as JSON, and as a page with figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from emotion_qwen import __version__
from emotion_qwen.evaluation.pages.blocks import Block, Bullets, Heading, Picture, Rows, Text, markdown_of_blocks
from emotion_qwen.evaluation.run.forgetting import POINTS, SIDES, Change, Forgetting, TaskChange
from emotion_qwen.evaluation.scoring.bootstrap import DRAWS, IntervalEstimate
from emotion_qwen.files import write_whole

PAGE, RECORD = "forgetting.md", "forgetting.json"
LANGUAGE_NAMES = {"en": "English", "zh": "Chinese"}


def write_forgetting_page(result: Forgetting, folder: Path, figures: Mapping[str, Path]) -> None:
    """Write `forgetting.json` and `forgetting.md`.

    Args:
        result: the comparison.
        folder: an existing folder.
        figures: caption -> picture in that folder, in the order of the page.
    """
    write_whole(folder / RECORD, json.dumps(forgetting_record(result), indent=2, ensure_ascii=False) + "\n")
    write_whole(folder / PAGE, markdown_of_blocks(_blocks(result, figures), folder))


def forgetting_record(result: Forgetting) -> dict[str, Any]:
    """Return the comparison as plain values, in percent and percentage points."""
    return {
        "failed": result.failed,
        "sure": result.sure,
        "verdict": verdict(result),
        "warnings": warnings(result),
        "general_loss": {**_rounded(result.loss, 1), "allowed": result.allow},
        "domains": {
            domain: {**_record(change), "emotion_weight": _sides(*result.emotion_weight(domain))}
            for domain, change in result.domains.items()
        },
        "tasks": {task_change.task.name: _task_record(task_change) for task_change in result.tasks},
        "languages": list(result.languages),
        "models": {"before": result.models[0], "after": result.models[1]},
        "unit": "percent; differences and losses in percentage points; intervals cover 95 %",
        "emotion_qwen": __version__,
    }


def verdict(result: Forgetting) -> str:
    """Return the conclusion: whether general skill was kept, with its interval, and the change in emotion skill."""
    loss, count = result.loss, sum(task_change.task.domain == "general" for task_change in result.tasks)
    over = "on the one general task" if count == 1 else f"averaged over {count} general tasks"
    size = f"{abs(loss.value):.1f}"
    way = "the same" if size == "0.0" else f"{size} points {'lower' if loss.value > 0 else 'higher'}"
    text = (
        f"General skill is {'not kept' if result.failed else 'kept'}: {over} the second model scores {way} "
        f"(95 % interval of the loss {_plain(loss.low)} to {_plain(loss.high)} points, {result.allow:.1f} allowed)."
    )
    emotion = result.domains.get("emotion")
    if emotion:
        text += f" Emotion skill: {points(emotion.difference.value)} points ({span(emotion.difference)})."
    return text


def print_forgetting(result: Forgetting, console: Console) -> None:
    """Print the table of tasks and the verdict."""
    table = Table(title="before and after, accuracy in %")
    for title, justify in (("task", "left"), ("items", "right"), ("before", "right"), ("after", "right")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    table.add_column("change, 95 % interval", justify="right")
    for domain, total in result.domains.items():
        for task_change in result.tasks:
            if task_change.task.domain == domain:
                table.add_row(task_change.task.title, *_cells(task_change.accuracy))
        table.add_row(f"{domain}, mean", *_cells(total), style="bold", end_section=True)
    console.print(table)
    console.print(verdict(result), style="red" if result.failed else "green", highlight=False)
    for text in warnings(result):
        console.print(text, style="yellow", highlight=False)


def _cells(change: Change, chance: bool = False, mark: str = "") -> list[str]:
    return [
        f"{change.items:,}",
        *([_percent(change.chance)] if chance else []),
        _percent(change.before.value),
        _percent(change.after.value),
        f"{mark}{points(change.difference.value)}{mark} ({span(change.difference)})",
    ]


def _blocks(result: Forgetting, figures: Mapping[str, Path]) -> list[Block]:
    blocks: list[Block] = [
        Heading("Effect of emotion training on general skill", 1),
        Text(f"**{verdict(result)}**"),
        _task_table(result),
    ]
    blocks += [Text(f"Note: {text}") for text in warnings(result)]
    for caption, path in figures.items():
        blocks += [Picture(path, caption), Text(f"*{caption}*")]
    blocks += [Heading("By class"), _class_table(result), Heading("Method"), Bullets(_method(result))]
    return [*blocks, Heading("Provenance"), *_provenance(result)]


def _task_table(result: Forgetting) -> Rows:
    rows = []
    for domain, total in result.domains.items():
        for task_change in result.tasks:
            if task_change.task.domain == domain:
                unweighted = " → ".join(_percent(value) for value in task_change.unweighted)
                rows.append([task_change.task.title, *_cells(task_change.accuracy, chance=True), unweighted])
        rows.append([f"**{domain}, mean over tasks**", *_cells(total, chance=True, mark="**"), ""])
    head = ("task", "items", "chance, %", "before, %", "after, %", "change, points (95 %)", "UAR before → after, %")
    return Rows(head, rows)


def warnings(result: Forgetting) -> list[str]:
    """Return the reasons why the comparison is weaker than it looks; empty if there are none."""
    lines = []
    if result.at_chance:
        names = "; ".join(task_change.task.title for task_change in result.at_chance)
        lines.append(
            f"Before training, the model was no better than chance on: {names}. There was no skill to lose, so "
            "these tasks give no information about forgetting and dilute the mean."
        )
    if not result.sure:
        lines.append("The interval of the loss includes the allowed loss: more items are needed for a clear result.")
    return lines


def _class_table(result: Forgetting) -> Rows:
    rows = [
        [task_change.task.title, change.name.replace("_", " "), *_cells(change)]
        for task_change in result.tasks
        for change in task_change.classes
    ]
    return Rows(("task", "class", "items", "before, %", "after, %", "change, points (95 %)"), rows, (0, 1))


def _method(result: Forgetting) -> list[str]:
    split = result.models[0]["split"]
    languages = " and ".join(LANGUAGE_NAMES[language] for language in result.languages)
    missing = [
        f"{task_change.task.title}: {task_change.missing[0]} before, {task_change.missing[1]} after"
        for task_change in result.tasks
    ]
    gaps = "; ".join(text for text, task_change in zip(missing, result.tasks, strict=True) if any(task_change.missing))
    weights = {domain: result.emotion_weight(domain) for domain in result.domains}
    gate = "; ".join(f"{domain} {before:.2f} → {after:.2f}" for domain, (before, after) in weights.items())
    return [
        f"Both models answer the same {split} items in {languages} by the likelihood of the choices, so every "
        "answer counts; no generated text is parsed.",
        *_scoring(result),
        "The change is paired: after minus before on the same items. Its interval is a bootstrap over items "
        f"({DRAWS:,} draws)" + ("; an item asked in two languages counts once." if len(result.languages) > 1 else "."),
        "The intervals of classes with few items are too narrow; below about 30 items, treat them with caution.",
        "A domain's mean weights all tasks equally; its interval draws items within each task. The loss of general "
        "skill is that mean with the opposite sign.",
        "Chance is the accuracy of guessing among the choices; UAR is the mean recall over the classes.",
        f"Missing answers count as wrong: {gaps or 'none is missing'}.",
        f"Mean gate weight of the emotion expert, before → after: {gate}.",
    ]


def _scoring(result: Forgetting) -> list[str]:
    less = [task_change.task.title for task_change in result.tasks if task_change.task.less_blank]
    plain = [task_change.task.title for task_change in result.tasks if not task_change.task.less_blank]
    faces = [task_change.task.title for task_change in result.tasks if task_change.task.domain == "emotion"]
    lines = []
    if less:
        lines.append(f"Compared by likelihood minus that for an empty picture, per token: {'; '.join(less)}.")
    if plain:
        lines.append(f"Compared by the plain likelihood of each choice: {'; '.join(plain)}.")
    if faces:
        lines.append(f"Read as in `analyze`, with faces, sound and words: {'; '.join(faces)}.")
    return lines


def _provenance(result: Forgetting) -> list[Block]:
    keys = ("model", "weights", "dtype", "prompt")
    rows = [[when, *(f"`{header[key]}`" for key in keys)] for when, header in zip(SIDES, result.models, strict=True)]
    return [
        Rows(("", "model", "weights", "number type", "chat template"), rows, tuple(range(5))),
        Text("Weights and chat template are identified by the first digits of a SHA-256."),
        Text(f"Emotion-Qwen {__version__}. All answers are in `before/` and `after/`, all figures in `{RECORD}`."),
    ]


def _task_record(task_change: TaskChange) -> dict[str, Any]:
    record = {"title": task_change.task.title, "domain": task_change.task.domain, **_record(task_change.accuracy)}
    record["unweighted_recall"] = _sides(*(POINTS * value for value in task_change.unweighted))
    record["macro_f1"] = _sides(*(POINTS * value for value in task_change.f1)) if task_change.f1 else None
    record["missing"] = dict(zip(SIDES, task_change.missing, strict=True))
    record["classes"] = {change.name: _record(change) for change in task_change.classes}
    return record


def _record(change: Change) -> dict[str, Any]:
    return {
        "items": change.items,
        "chance": round(POINTS * change.chance, 2),
        "before": _rounded(change.before),
        "after": _rounded(change.after),
        "difference": _rounded(change.difference),
    }


def _sides(before: float, after: float) -> dict[str, float]:
    return {"before": round(before, 3), "after": round(after, 3)}


def _rounded(estimate: IntervalEstimate, scale: float = POINTS) -> dict[str, float]:
    return {name: round(scale * getattr(estimate, name), 2) for name in ("value", "low", "high")}


def _percent(share: float) -> str:
    return f"{POINTS * share:.1f}"


def points(share: float) -> str:
    """Write a difference of shares as signed percentage points."""
    return signed_points(POINTS * share)


def span(estimate: IntervalEstimate) -> str:
    """Write the interval of a difference in percentage points."""
    return f"{points(estimate.low)} to {points(estimate.high)}"


def _plain(value: float) -> str:
    return signed_points(value).removeprefix("+")


def signed_points(value: float) -> str:
    """Write a number with one decimal and its sign: a true minus sign, and no sign at zero."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")
