"""The runner that answers tasks with any answerer, resumable, in one process or in several.

Batches depend on the items alone, and every process takes its share of them. Each writes its own file; the first
process merges the files when all are done. However a run stops, the next one continues after the last complete line.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.run.answerers import Answerer
from emotion_qwen.evaluation.run.predictions import (
    ITEMS,
    LINES,
    REJECTED,
    SHARDS,
    Key,
    Prediction,
    as_line,
    check_questions,
    claim,
    keep_options,
    medium_name,
    part_span,
    read_all,
    read_lines,
    text_digest,
    that_count,
)
from emotion_qwen.evaluation.task import Item, Task
from emotion_qwen.files import append, json_line, locked, write_whole

POLL = 0.05
PATIENCE = 1800.0
"""Seconds that the first process waits for output of the others."""


@dataclass(frozen=True)
class Place:
    """Rank of this process and number of processes, as set by `torchrun` and `accelerate`."""

    rank: int = 0
    world: int = 1

    @classmethod
    def here(cls) -> Place:
        """Read RANK and WORLD_SIZE from the environment."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def lines(self) -> str:
        """Name of the file that this process writes."""
        return LINES if self.world == 1 else SHARDS.replace("*", f"{self.rank}of{self.world}")


@dataclass(frozen=True, eq=False)
class Answered:
    """The result of answering a task; empty except in the first process, which merges all answers.

    Attributes:
        predictions: those of the requested items that have one, in their order.
        items: all items.
        rejected: id -> why the item is not usable.
    """

    predictions: tuple[Prediction, ...]
    items: tuple[Item, ...]
    rejected: Mapping[str, str]

    @property
    def failures(self) -> int:
        """Number of items whose prediction is an error."""
        return sum(bool(prediction.error) for prediction in self.predictions)

    @property
    def missing(self) -> int:
        """Number of items without a prediction."""
        return len(self.items) - len(self.predictions)

    @property
    def whole(self) -> bool:
        """Whether every item was usable and was answered."""
        return not (self.rejected or self.failures or self.missing)


def answer_task(
    answerer: Answerer,
    task: Task,
    folder: Path,
    *,
    data: Path | None = None,
    languages: Sequence[str] = ("en",),
    split: str | None = None,
    limit: int | None = None,
    options: Mapping[str, str] | None = None,
    place: Place | None = None,
) -> Answered:
    """Answer every item of a task that has no answer yet; items that failed before are asked again.

    Args:
        answerer: the answerer.
        task: the task.
        folder: folder for this answerer's predictions for this task.
        data: folder of the task's files.
        languages: of question and choices.
        split: one of the task's; None is its first.
        limit: number of items, evenly spaced; None for all. Lines for other items stay in the file.
        options: of the task, as passed to `Task.with_options`; scoring sets them again.
        place: rank of this process; None reads the environment.

    Raises:
        DataError: the folder holds predictions of another model or question, another process is writing to it, a line
            is damaged, or data is missing.
        SettingsError: the split or language is unknown.
    """
    place = place or Place.here()
    split = split or task.splits[0]
    items, rejected = usable(
        task.items(data, side=answerer.side_of(task), languages=languages, split=split, limit=limit), task.answered
    )
    claim(folder, answerer.header(task, split) | ({"options": dict(options)} if options else {}))
    batches = answerer.batches(task, items)
    lines = folder / place.lines
    with locked(lines, wait=place.world > 1):
        read_lines(lines, repair=True)
        answered = that_count(read_all(folder))
        check_questions(folder, items, answered)
        if place.rank == 0:
            _keep_asked(folder, items, rejected)
            keep_options(folder, options or {})
        if place.world > 1:
            _done(folder, place.rank, place.world).unlink(missing_ok=True)
        _answer_batches(answerer, task, lines, batches[place.rank :: place.world], answered)
        if place.world > 1:
            write_whole(_done(folder, place.rank, place.world), _names(items))
    if place.rank:
        return Answered((), (), {})
    _wait(folder, place.world, _names(items))
    _merge(folder, batches, place.world)
    answered = that_count(read_all(folder))
    given = (answered.get((item.id, item.language)) for item in items)
    return Answered(tuple(prediction for prediction in given if prediction is not None), tuple(items), rejected)


def usable(items: Sequence[Item], answered: str) -> tuple[list[Item], dict[str, str]]:
    """Leave out items that cannot be scored: with a repeated id, or a correct answer outside the choices.

    Returns:
        The usable items, and id -> why an item is not usable.
    """
    kept, rejected = [], {}
    times = Counter((item.id, item.language) for item in items)
    keys: set[Key] = set()
    for item in items:
        key = item.id, item.language
        if key in keys:
            rejected[item.id] = f"occurs {times[key]} times; the first is used"
        elif (item.answered or answered) == "likelihood" and item.answer not in (item.allowed or item.choices):
            rejected[item.id] = f"the answer {item.answer!r} is not one of {', '.join(item.allowed or item.choices)}"
        else:
            kept.append(item)
        keys.add(key)
    return kept, rejected


def _keep_asked(folder: Path, items: Sequence[Item], rejected: Mapping[str, str]) -> None:
    write_whole(folder / ITEMS, "".join(map(_described, items)))
    lines = [json_line({"id": name, "reason": why}) for name, why in rejected.items()]
    if rejected or (folder / REJECTED).is_file():
        write_whole(folder / REJECTED, "".join(lines))


def read_items(folder: Path) -> list[Item]:
    """Read the items for scoring; media are replaced by the names of their files.

    Raises:
        DataError: there are no items, or the file is damaged.
    """
    path = folder / ITEMS
    try:
        return [_item(json.loads(line)) for line in path.read_bytes().split(b"\n") if line]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: cannot be read ({error}); run `emotion-qwen eval` on this folder again") from error


def _described(item: Item) -> str:
    fields = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
    fields["parts"] = [
        part if part["type"] == "text" else {"type": part["type"], "file": medium_name(part), **part_span(part)}
        for part in item.parts
    ]
    return json_line(fields)


def _item(fields: Mapping[str, Any]) -> Item:
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
    return Item(**values)


def _answer_batches(
    answerer: Answerer, task: Task, lines: Path, batches: Sequence[Sequence[Item]], answered: Mapping[Key, Prediction]
) -> None:
    def waits(item: Item) -> bool:
        old = answered.get((item.id, item.language))
        return old is None or bool(old.error)

    def says_more(answer: Prediction) -> bool:  # than the same error again
        old = answered.get(answer.key)
        return old is None or not answer.same_as(old)

    console = Console(stderr=True)
    # Without a terminal, such as in a log file, the bar would leave empty lines.
    bar = Progress(*Progress.get_default_columns(), console=console, transient=True, disable=not console.is_terminal)
    waiting = [[item for item in batch if waits(item)] for batch in batches]
    pairs = [
        (new, batch if answerer.whole_batches and new else new) for new, batch in zip(waiting, batches, strict=True)
    ]
    with bar, answerer.ahead(task, [item for _, batch_items in pairs for item in batch_items]):
        step = bar.add_task(f"{answerer.name}: {task.column}", total=sum(map(len, batches)))
        for (new_items, batch_items), batch in zip(pairs, batches, strict=True):
            wanted = {(item.id, item.language) for item in new_items}
            answers = answerer.answer(task, batch_items) if batch_items else iter(())
            new = (as_line(answer) for answer in answers if answer.key in wanted and says_more(answer))
            if answerer.whole_batches:  # written together, as they were answered
                append(lines, "".join(new))
            else:
                for line in new:
                    append(lines, line)
            bar.advance(step, len(batch))


def _names(items: Sequence[Item]) -> str:
    return text_digest("\n".join(f"{item.language} {item.id}" for item in items))


def _done(folder: Path, rank: int, world: int) -> Path:
    return folder / f"part{rank}of{world}.done"


def _wait(folder: Path, world: int, names: str) -> None:
    """Wait until every process has answered these items.

    Raises:
        DataError: another process has stopped writing.
    """
    begun = time.time()
    for rank in range(1, world):
        done, lines = _done(folder, rank, world), folder / Place(rank, world).lines
        while not (done.is_file() and done.read_text(encoding="utf-8") == names):
            last = max(begun, lines.stat().st_mtime if lines.is_file() else begun)
            if time.time() - last > PATIENCE:
                raise DataError(
                    f"{folder}: process {rank} of {world} wrote nothing for {PATIENCE:.0f} s; its answers so far are "
                    "kept, run the same command again"
                )
            time.sleep(POLL)


def _merge(folder: Path, batches: Sequence[Sequence[Item]], world: int) -> None:
    """Merge the lines of all processes in the order in which one process would have written them."""
    shards = sorted(folder.glob(SHARDS))
    if not shards:
        return
    with ExitStack() as stack:
        for path in shards:  # a restarted process must not write to a file that is about to be removed
            stack.enter_context(locked(path, wait=True))
        lines = read_all(folder)
        order = {(item.id, item.language): number for number, item in enumerate(i for batch in batches for i in batch)}
        # The sort is stable: lines of one item keep their order, and lines without an item stay at the end.
        lines.sort(key=lambda line: order.get(line.key, len(order)))
        write_whole(folder / LINES, "".join(map(as_line, lines)))
        for path in shards:
            path.unlink()
    for rank in range(world):
        _done(folder, rank, world).unlink(missing_ok=True)
