"""Gains of emotion training and losses elsewhere: two scored runs compared item by item.

Both models answered the same questions, so each item is its own control: differences and their intervals are paired. A
domain's figure is the unweighted mean over its tasks. The loss of general skill is the second model's mean loss over
the general tasks; the comparison fails if it exceeds the allowed loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.evaluation.run.score import Column, confusion_of, score_folder
from emotion_qwen.evaluation.scoring.bootstrap import IntervalEstimate, mean_over_tasks
from emotion_qwen.evaluation.scoring.labels import measures
from emotion_qwen.evaluation.scoring.paired import check_same_items
from emotion_qwen.evaluation.task import DOMAINS, Task
from emotion_qwen.evaluation.tasks import TASKS

POINTS = 100
"""Factor from shares to percentage points."""
SIDES = ("before", "after")


@dataclass(frozen=True)
class Change:
    """One figure of both models over the same items.

    Shares from 0 to 1; `difference` is after minus before, `chance` the share that guessing among the choices would
    reach.
    """

    name: str
    items: int
    chance: float
    before: IntervalEstimate
    after: IntervalEstimate
    difference: IntervalEstimate


@dataclass(frozen=True, eq=False)
class TaskChange:
    """The change on one task.

    Attributes:
        task: the task.
        accuracy: of all items.
        classes: recall of every class, by name.
        f1: macro F1 before and after; None if choices differ between items.
        missing: number of items without a prediction, before and after; they count as wrong.
        emotion_weights: gate weight of the emotion expert for each prediction, (N,) before and (M,) after.
    """

    task: Task
    accuracy: Change
    classes: tuple[Change, ...]
    f1: tuple[float, float] | None
    missing: tuple[int, int]
    emotion_weights: tuple[np.ndarray, np.ndarray]

    @property
    def unweighted(self) -> tuple[float, float]:
        """Mean of the recalls of the classes, before and after (UAR)."""
        before, after = ([getattr(change, side).value for change in self.classes] for side in SIDES)
        return float(np.mean(before)), float(np.mean(after))


@dataclass(frozen=True, eq=False)
class Forgetting:
    """The whole comparison.

    Attributes:
        tasks: in the order of the table of tasks.
        domains: "emotion" and "general" -> mean over the domain's tasks; a domain without a task is left out.
        allow: allowed loss of general skill, in percentage points.
        models: headers of the predictions, before and after: name, weights hash, settings.
        languages: languages of the questions.
    """

    tasks: tuple[TaskChange, ...]
    domains: dict[str, Change]
    allow: float
    models: tuple[dict[str, Any], dict[str, Any]]
    languages: tuple[str, ...]

    @property
    def loss(self) -> IntervalEstimate:
        """Loss of general skill in percentage points; `high` is the upper end of its 95 % interval."""
        gain = self.domains["general"].difference
        # 0.0 - x, because -0.0 would be printed with its sign
        return IntervalEstimate(*(0.0 - POINTS * bound for bound in (gain.value, gain.high, gain.low)))

    @property
    def failed(self) -> bool:
        """Whether the loss of general skill exceeds the allowed loss."""
        return self.loss.value > self.allow

    @property
    def sure(self) -> bool:
        """Whether the whole interval of the loss supports the verdict."""
        return self.loss.low > self.allow if self.failed else self.loss.high <= self.allow

    @property
    def at_chance(self) -> tuple[TaskChange, ...]:
        """The general tasks on which the first model was at chance level, so that no skill could be lost."""
        general = [change for change in self.tasks if change.task.domain == "general"]
        return tuple(change for change in general if change.accuracy.before.low <= change.accuracy.chance)

    def emotion_weight(self, domain: str) -> tuple[float, float]:
        """Return the mean gate weight of the emotion expert before and after, averaged over the domain's tasks."""
        pairs = [change.emotion_weights for change in self.tasks if change.task.domain == domain]
        before, after = (float(np.mean([pair[side].mean() for pair in pairs if len(pair[side])])) for side in (0, 1))
        return before, after


@dataclass(frozen=True, eq=False)
class _ItemPoints:
    """For each of N items: points before and after, averaged over languages, chance of guessing it, and class."""

    before: np.ndarray
    after: np.ndarray
    chance: np.ndarray
    groups: np.ndarray

    def within(self, group: str) -> _ItemPoints:
        """Return the items of one class."""
        kept = self.groups == group
        return replace(self, **{name: getattr(self, name)[kept] for name in vars(self)})


def measure_forgetting(before: Path, after: Path, tasks: Sequence[str], allow: float) -> Forgetting:
    """Compare the predictions in two folders.

    Args:
        before: folder of the first model, with a folder of predictions per task.
        after: folder of the second model.
        tasks: names; at least one from the domain "general".
        allow: allowed loss of general skill, in percentage points.

    Raises:
        SettingsError: see `check_domains`.
        DataError: predictions are missing, broken, or not comparable.
    """
    check_domains([TASKS[name] for name in tasks])
    scored = {name: (score_folder(before / name), score_folder(after / name)) for name in tasks}
    points = {name: _item_points(name, *columns) for name, columns in scored.items()}
    domains = {}
    for domain in DOMAINS:
        within = [points[name] for name in tasks if TASKS[name].domain == domain]
        if within:
            domains[domain] = _change(domain, within)
    first, second = scored[tasks[0]]
    languages = sorted({column.language for columns, _ in scored.values() for column in columns})
    return Forgetting(
        tuple(_task_change(TASKS[name], points[name], *scored[name]) for name in tasks),
        domains,
        allow,
        (dict(first[0].header), dict(second[0].header)),
        tuple(languages),
    )


def check_domains(tasks: Sequence[Task]) -> None:
    """Check that general skill is measured, and by likelihoods.

    Raises:
        SettingsError: there is no general task, or a task is answered in words.
    """
    # Replies in words have no likeliest choice: both models would be wrong everywhere, with a loss of zero.
    words = [task.name for task in tasks if task.answered != "likelihood"]
    if words:
        raise SettingsError(
            f"{', '.join(words)}: answered in words, and forgetting compares likelihoods; let both models answer with "
            "`emotion-qwen eval` and use `emotion-qwen eval compare`"
        )
    if not any(task.domain == "general" for task in tasks):
        general = ", ".join(name for name, task in TASKS.items() if task.domain == "general")
        given = ", ".join(task.name for task in tasks)
        raise SettingsError(f"no general task among {given}; the loss needs at least one of: {general}")


def _item_points(name: str, before: Sequence[Column], after: Sequence[Column]) -> _ItemPoints:
    """Combine both models' points on a task.

    Raises:
        DataError: a model answered nothing, or the models were asked different questions.
    """
    for when, columns in zip(SIDES, (before, after), strict=True):
        if not any(column.lines for column in columns):  # a missing answer counts as wrong; no answer is an error
            raise DataError(f"task {name}: no prediction {when} of any item; let the model answer the task first")
    for key in ("split", "scoring"):
        first, second = before[0].header.get(key), after[0].header.get(key)
        if first != second:
            raise DataError(
                f"task {name}: {key} is {first!r} before and {second!r} after; answer with the same settings"
            )
    if len(before) != len(after):
        raise DataError(
            f"task {name}: {len(before)} languages before and {len(after)} after; answer with the same settings"
        )
    for column, other in zip(before, after, strict=True):
        check_same_items(column.result, other.result)
    items = [item for column in before for item in column.items]
    groups = {item.id: item.group for item in items}
    return _ItemPoints(
        _mean_by_item((judged.item.id, judged.points) for column in before for judged in column.result.judged),
        _mean_by_item((judged.item.id, judged.points) for column in after for judged in column.result.judged),
        _mean_by_item((item.id, 1 / len(item.allowed or item.choices)) for item in items),
        np.array(list(groups.values())),
    )


def _mean_by_item(values: Iterable[tuple[str, float]]) -> np.ndarray:
    """Average the values of each item over its languages."""
    by_item: dict[str, list[float]] = {}
    for name, value in values:
        by_item.setdefault(name, []).append(value)
    return np.array([np.mean(several) for several in by_item.values()])


def _task_change(task: Task, points: _ItemPoints, before: Sequence[Column], after: Sequence[Column]) -> TaskChange:
    f1 = [_macro_f1(columns) for columns in (before, after)]
    return TaskChange(
        task=task,
        accuracy=_change(task.title, [points]),
        classes=tuple(_change(str(group), [points.within(group)]) for group in np.unique(points.groups)),
        f1=None if f1[0] is None or f1[1] is None else (f1[0], f1[1]),
        missing=(_missing(before), _missing(after)),
        emotion_weights=(_emotion_weights(before), _emotion_weights(after)),
    )


def _change(name: str, tasks: Sequence[_ItemPoints]) -> Change:
    """Summarise one task or class, or the mean over several tasks."""
    return Change(
        name,
        items=sum(len(task.before) for task in tasks),
        chance=float(np.mean([task.chance.mean() for task in tasks])),
        before=mean_over_tasks([task.before for task in tasks]),
        after=mean_over_tasks([task.after for task in tasks]),
        difference=mean_over_tasks([task.after - task.before for task in tasks]),
    )


def _macro_f1(columns: Sequence[Column]) -> float | None:
    """Return macro F1, averaged over languages; None if the choices are not the same for all items."""
    tables = [confusion_of(column.result.judged) for column in columns]
    if None in tables:
        return None
    return float(np.mean([measures(table[1][None].astype(float))[0, 2] for table in tables if table]))


def _missing(columns: Sequence[Column]) -> int:
    tallies = [column.result.tally for column in columns]
    return sum(tally.items - tally.answered - tally.unanswered for tally in tallies)


def _emotion_weights(columns: Sequence[Column]) -> np.ndarray:
    gates = [line.gate for column in columns for line in column.lines.values()]
    return np.array([gate[1] for gate in gates if gate is not None])
