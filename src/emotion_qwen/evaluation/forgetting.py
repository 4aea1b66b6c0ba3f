"""Compare two models item by item: what emotion training gained, and what it cost elsewhere.

Both models answered the same questions, so each item is its own control: differences and their intervals are paired.
A domain's figure is the mean over its tasks, each task counting the same. The loss of general skill is what the second
model lost on average over the general tasks; the comparison fails if that is more than was allowed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.evaluation.metrics import Estimate, hits, macro_f1, mean_over_tasks, unweighted_recall
from emotion_qwen.evaluation.predict import Key, Prediction, read_header, read_predictions
from emotion_qwen.evaluation.task import DOMAINS, Task
from emotion_qwen.evaluation.tasks import TASKS

POINTS = 100
"""Shares to percentage points."""


@dataclass(frozen=True)
class Change:
    """One figure of both models over the same items.

    Shares in 0..1; `difference` is after less before, `chance` what guessing among the choices would reach.
    """

    name: str
    items: int
    chance: float
    before: Estimate
    after: Estimate
    difference: Estimate


@dataclass(frozen=True, eq=False)
class TaskChange:
    """What changed on one task.

    Attributes:
        task: the task.
        accuracy: of all items.
        classes: recall of every class, by name.
        unweighted: mean of the recalls, before and after (UAR).
        f1: macro F1 before and after; None where choices differ from item to item.
        missing: items without a prediction, before and after; they count as wrong.
        emotion_weights: the gate's weight of the emotion expert on each predicted line, (N,) before and (M,) after.
    """

    task: Task
    accuracy: Change
    classes: tuple[Change, ...]
    unweighted: tuple[float, float]
    f1: tuple[float, float] | None
    missing: tuple[int, int]
    emotion_weights: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Forgetting:
    """The whole comparison.

    Attributes:
        tasks: in the order of the table of tasks.
        domains: "emotion" and "general" -> mean over the domain's tasks; a domain without a task is left out.
        allow: how much general skill may be lost, percentage points.
        models: headers of the predictions, before and after: name, weights hash, settings.
        languages: in which items were asked.
    """

    tasks: tuple[TaskChange, ...]
    domains: dict[str, Change]
    allow: float
    models: tuple[dict[str, Any], dict[str, Any]]
    languages: tuple[str, ...]

    @property
    def loss(self) -> Estimate:
        """Loss of general skill in percentage points, `high` being the upper end of its 95 % interval."""
        gain = self.domains["general"].difference
        # 0.0 - x, because -0.0 would be printed with its sign
        return Estimate(*(0.0 - POINTS * bound for bound in (gain.value, gain.high, gain.low)))

    @property
    def failed(self) -> bool:
        """Whether more general skill was lost than allowed."""
        return self.loss.value > self.allow

    @property
    def sure(self) -> bool:
        """Whether the whole interval of the loss is on the side of the verdict."""
        return self.loss.low > self.allow if self.failed else self.loss.high <= self.allow

    @property
    def at_chance(self) -> tuple[TaskChange, ...]:
        """The general tasks on which the first model only guessed: what was never there cannot be forgotten."""
        general = [one for one in self.tasks if one.task.domain == "general"]
        return tuple(one for one in general if one.accuracy.before.low <= one.accuracy.chance)

    def emotion_weight(self, domain: str) -> tuple[float, float]:
        """Return the gate's mean weight of the emotion expert before and after, mean over the domain's tasks."""
        pairs = [one.emotion_weights for one in self.tasks if one.task.domain == domain]
        before, after = (float(np.mean([pair[side].mean() for pair in pairs if len(pair[side])])) for side in (0, 1))
        return before, after


def compare(
    before: Path,
    after: Path,
    tasks: Sequence[str],
    allow: float,
    asked: Mapping[str, Collection[Key]] | None = None,
) -> Forgetting:
    """Compare the predictions in two folders.

    Args:
        before: folder of the first model's predictions, as `predict` writes them.
        after: folder of the second model's.
        tasks: names; at least one of the domain "general".
        allow: how much general skill may be lost, percentage points.
        asked: per task the items to compare; None is every item that either folder has. An item without a
            prediction counts as wrong for that model.

    Raises:
        SettingsError: see `check_domains`.
        DataError: predictions are missing, broken, or not comparable.
    """
    check_domains([TASKS[name] for name in tasks])
    compared: list[tuple[TaskChange, _Paired]] = []
    headers: list[tuple[dict, dict]] = []
    for name in tasks:
        headers.append((read_header(before / name), read_header(after / name)))
        _check_pair(name, headers[-1], headers[0])
        pair = _pair_up(name, before / name, after / name, asked[name] if asked else None)
        compared.append((_task_change(TASKS[name], pair), pair))
    domains = {}
    for domain in DOMAINS:
        pairs = [pair for change, pair in compared if change.task.domain == domain]
        if pairs:
            domains[domain] = _change(domain, pairs)
    languages = sorted({language for _, pair in compared for _, language in pair.keys})
    return Forgetting(tuple(change for change, _ in compared), domains, allow, headers[0], tuple(languages))


def check_domains(tasks: Sequence[Task]) -> None:
    """Check that general skill is measured at all, and by likelihoods.

    Raises:
        SettingsError: no general task, or one that is answered in words.
    """
    # Replies in words have no likeliest choice: both models would be wrong everywhere, and nothing lost.
    words = [task.name for task in tasks if task.answered == "text"]
    if words:
        raise SettingsError(
            f"{', '.join(words)}: answered in words, and forgetting compares likelihoods; let both models answer with "
            "`emotion-qwen eval` and use `emotion-qwen eval compare`"
        )
    if not any(task.domain == "general" for task in tasks):
        general = ", ".join(name for name, task in TASKS.items() if task.domain == "general")
        given = ", ".join(task.name for task in tasks)
        raise SettingsError(f"no general task among {given}; loss of general skill needs at least one of: {general}")


def _check_pair(name: str, pair: tuple[dict, dict], first: tuple[dict, dict]) -> None:
    for key in ("split", "scoring"):
        if pair[0].get(key) != pair[1].get(key):
            raise DataError(
                f"task {name}: {key} is {pair[0].get(key)!r} before and {pair[1].get(key)!r} after; predict both alike"
            )
    for side, when in enumerate(("before", "after")):
        if pair[side].get("weights") != first[side].get("weights"):
            raise DataError(
                f"task {name}: weights {when} are {pair[side].get('weights')}, in the other tasks "
                f"{first[side].get('weights')}; predict all tasks with one model"
            )


@dataclass(frozen=True, eq=False)
class _Paired:
    """The lines of both models under the same keys, and per item (N,) its values before and after, chance and group."""

    keys: Sequence[Key]
    lines: tuple[Mapping[Key, Prediction], Mapping[Key, Prediction]]
    before: np.ndarray
    after: np.ndarray
    chance: np.ndarray
    groups: np.ndarray

    @property
    def known(self) -> dict[Key, Prediction]:
        """One line of each key, from whichever model has one: for what both agree on."""
        return {**self.lines[1], **self.lines[0]}

    def within(self, group: str) -> _Paired:
        """Return the items of one group."""
        kept = self.groups == group
        return replace(
            self, before=self.before[kept], after=self.after[kept], chance=self.chance[kept], groups=self.groups[kept]
        )


def _pair_up(name: str, before: Path, after: Path, asked: Collection[Key] | None) -> _Paired:
    first, second = ({one.key: one for one in read_predictions(folder)} for folder in (before, after))
    known = {**second, **first}
    keys = list(known if asked is None else asked)
    for when, lines in (("before", first), ("after", second)):
        if not any(key in lines for key in keys):  # single gaps are wrong answers; nothing at all is a mistake
            raise DataError(f"task {name}: no prediction {when} of any item; predict the task first")
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise DataError(f"task {name}: no prediction of item {unknown[0][0]!r} on either side; predict the task first")
    for key in first.keys() & second.keys():
        if (first[key].asked, first[key].answer) != (second[key].asked, second[key].answer):
            raise DataError(f"task {name}: item {key[0]!r} was asked otherwise before than after; predict both anew")
    ids = list(dict.fromkeys(item for item, _ in keys))
    place_of = {item: place for place, item in enumerate(ids)}
    rows = np.array([place_of[item] for item, _ in keys])

    def per_item(values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Average the lines of an item: its languages."""
        return np.bincount(rows, values, len(ids)) / np.bincount(rows, minlength=len(ids))

    answers = [known[key].answer for key in keys]
    groups = {key[0]: known[key].group for key in keys}
    return _Paired(
        keys,
        (first, second),
        before=per_item(hits(answers, _predicted(keys, first))),
        after=per_item(hits(answers, _predicted(keys, second))),
        chance=per_item([1 / known[key].options for key in keys]),
        groups=np.array([groups[item] for item in ids]),
    )


def _predicted(keys: Sequence[Key], lines: Mapping[Key, Prediction]) -> list[str | None]:
    return [lines[key].predicted if key in lines else None for key in keys]


def _task_change(task: Task, pair: _Paired) -> TaskChange:
    first, second = pair.lines
    return TaskChange(
        task=task,
        accuracy=_change(task.title, [pair]),
        classes=tuple(_change(str(group), [pair.within(group)]) for group in np.unique(pair.groups)),
        unweighted=(unweighted_recall(pair.before, pair.groups), unweighted_recall(pair.after, pair.groups)),
        f1=_f1(pair),
        missing=(_missing(pair.keys, first), _missing(pair.keys, second)),
        emotion_weights=(_emotion_weights(pair.keys, first), _emotion_weights(pair.keys, second)),
    )


def _missing(keys: Sequence[Key], lines: Mapping[Key, Prediction]) -> int:
    return sum(key not in lines or bool(lines[key].error) for key in keys)


def _change(name: str, pairs: Sequence[_Paired]) -> Change:
    """Sum up one task or class, or the mean over several tasks."""
    return Change(
        name,
        items=sum(len(pair.before) for pair in pairs),
        chance=float(np.mean([pair.chance.mean() for pair in pairs])),
        before=mean_over_tasks([pair.before for pair in pairs]),
        after=mean_over_tasks([pair.after for pair in pairs]),
        difference=mean_over_tasks([pair.after - pair.before for pair in pairs]),
    )


def _f1(pair: _Paired) -> tuple[float, float] | None:
    """Return macro F1 of both models, mean over languages; None where the choices are not the same for all items."""
    known, found = pair.known, []
    for language in sorted({language for _, language in pair.keys}):
        keys = [key for key in pair.keys if key[1] == language]
        if len({tuple(scores) for key in keys if (scores := known[key].scores)}) != 1:
            return None
        answers = [known[key].answer for key in keys]
        found.append([macro_f1(answers, _predicted(keys, lines)) for lines in pair.lines])
    before, after = np.mean(found, axis=0)
    return float(before), float(after)


def _emotion_weights(keys: Sequence[Key], lines: Mapping[Key, Prediction]) -> np.ndarray:
    gates = [lines[key].gate for key in keys if key in lines]
    return np.array([gate[1] for gate in gates if gate is not None])
