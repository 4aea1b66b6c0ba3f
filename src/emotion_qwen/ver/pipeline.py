"""The build of a set: nine steps, each of which fills a table item by item and can be resumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.files import append, json_line, truncate_partial_line, write_whole
from emotion_qwen.taxonomy import label_set
from emotion_qwen.ver.estimate import announcement
from emotion_qwen.ver.export import write_set
from emotion_qwen.ver.pools import MakePool, ThreadPool, Work, local_pool, outcomes
from emotion_qwen.ver.settings import BuildSettings, TeacherSettings
from emotion_qwen.ver.steps import check, critic, cut, describe, listen, look, segment, select
from emotion_qwen.ver.store.columns import COLUMNS, Row
from emotion_qwen.ver.store.folder import SetFolder
from emotion_qwen.ver.store.sources import find_sources
from emotion_qwen.ver.store.table import Postponed, value_digest
from emotion_qwen.ver.teachers.calls import BudgetSpent, Caller, Ledger
from emotion_qwen.ver.teachers.description import Teacher
from emotion_qwen.ver.teachers.endpoint import EndpointTeacher
from emotion_qwen.ver.teachers.local import LocalTeacher

STEPS = (*COLUMNS, "export")
GIVE_UP = 8
"""Number of consecutive failures after which a step stops."""


class Build(SetFolder):
    """One set being built.

    Args:
        settings: of the build.
        pool: makes the pools of the steps that decode; if None, processes of this machine as the settings say.
        console: for progress and the estimate.

    Raises:
        MissingPackage: pyarrow is not installed.
    """

    def __init__(self, settings: BuildSettings, pool: MakePool | None = None, console: Console | None = None) -> None:
        super().__init__(settings)
        self.pool = pool or local_pool(settings.workers)
        self.console = console or Console(stderr=True)
        self.clips.mkdir(parents=True, exist_ok=True)
        self.ledger = Ledger(self.ledger_file, settings.calls)
        self._callers: list[Caller] = []
        self._failures = 0  # number of consecutive failures

    def run(self, until: str = "export") -> None:
        """Run all incomplete steps up to and including `until`.

        Raises:
            DataError: some items stay open (the first reason is named), or a table was made with other settings.
            StorageError: another run writes to the folder, or the disk is full.
            BudgetSpent: the budget is spent.
        """
        self._callers = []
        self._look_ahead()
        with self.locked():
            write_whole(self.work / "build.json", self.settings.model_dump_json(indent=2) + "\n")
            for name in STEPS[: STEPS.index(until) + 1]:
                getattr(self, f"_{name}")()

    def _look_ahead(self) -> None:
        """Check before the first step for errors that would stop a later one; errors are those of the steps."""
        label_set(self.settings.describe.labels)
        chosen = self.settings
        judge = chosen.critic.teacher if chosen.critic else None
        if judge is not None and judge.kind != "endpoint":
            raise SettingsError(f"critic.teacher.kind {judge.kind!r}; expected endpoint, a local model cannot judge")
        for teacher in (chosen.describe.teacher, chosen.check.reader, chosen.check.second, judge):
            if teacher is not None and teacher.kind == "endpoint":
                self._caller(teacher)
        for name in self.settings.select.benchmarks:
            select.benchmark_files(name)
        if self.settings.listen.whisper and not Path(self.settings.listen.whisper).is_dir():
            raise SettingsError(
                f"listen.whisper {self.settings.listen.whisper!r} is no folder; give that of a faster-whisper model"
            )

    def _segment(self) -> None:
        items = find_sources(self.settings)
        self._step("segment", lambda: iter(items), segment.SegmentVideo(self.settings.segment), key="item")
        for row in self.tables["segment"].rows():
            if (row["reason"] or "").startswith("unreadable"):
                self.console.print(f"left out: {row['reason']}", markup=False, highlight=False, soft_wrap=True)

    def _cut(self) -> None:
        self._step("cut", lambda: self.joined("segment"), cut.CutClip(self.settings.cut, str(self.clips)))

    def _look(self) -> None:
        self._step("look", lambda: self.joined("cut"), look.LookAtClip(self.settings.select, str(self.clips)))

    def _select(self) -> None:
        table = self.tables["select"]
        keys = [row["clip"] for row in self.tables["look"].rows()]
        if table.is_done(value_digest(keys)):
            return
        table.open()
        decided = {key: rows[0]["status"] for key, rows in table.known()}
        for row in select.select(self.tables["look"].rows, self.settings.select, decided):
            table.append(row["clip"], [row])
        table.finish(keys)

    def _listen(self) -> None:
        work = listen.ListenToClip(self.settings.listen, str(self.clips))
        self._step("listen", lambda: self.joined("segment", "cut", "select"), work)

    def _describe(self) -> None:
        work = describe.DescribeClip(self._teacher(self.settings.describe.teacher), self.settings.describe.languages)
        self.console.print(announcement(self), highlight=False, soft_wrap=True)
        self._step("describe", lambda: self.evidence("listen"), work)

    def _check(self) -> None:
        chosen, describing = self.settings.check, self.settings.describe
        reader = self._teacher(chosen.reader) if chosen.reader else None
        second = self._teacher(chosen.second) if chosen.second else None
        work = check.CheckClip(self._teacher(describing.teacher), reader, second, chosen, describing.languages)
        self._step("check", lambda: self.evidence("listen", "describe"), work)

    def _critic(self) -> None:
        chosen, describing = self.settings.critic, self.settings.describe
        if chosen is None:
            return
        judge = EndpointTeacher(self._served(chosen.teacher), describing, str(self.clips)) if chosen.teacher else None
        work = critic.CriticizeClip(
            chosen, self.settings.check, describing.labels, describing.languages, self._teacher(describing.teacher),
            judge,
        )  # fmt: skip
        self._step("critic", lambda: self.evidence("listen", "describe", "check"), work)

    def _export(self) -> None:
        write_set(self)

    def _step(self, name: str, items: Callable[[], Iterator[Row]], work: Work, key: str = "clip") -> None:
        table = self.tables[name]
        keys = [row[key] for row in items()]
        if table.is_done(value_digest(keys)):
            return
        known = table.open()
        began, done, self._failures = time.monotonic(), 0, 0
        postponed: list[Postponed] = []
        # Endpoints are called from threads; a local model uses the same processes as the other steps.
        calls = self.settings.calls.concurrency if self._callers else 0
        pool = ThreadPool(work, calls, self._stop_callers) if calls else self.pool(work)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(name, total=len(keys), completed=len(known & set(keys)))
            waiting = self._waiting(items(), known, key)
            with closing(outcomes(pool, work, waiting, self.settings.item_seconds)) as results:
                for item, outcome in results:
                    if isinstance(outcome, Postponed):
                        postponed.append(outcome)
                        self._failures += 1
                        continue
                    self._failures = 0
                    table.append(item[key], outcome)
                    done += 1
                    bar.advance(task)
        if done:
            truncate_partial_line(self.timing_file)
            seconds = (time.monotonic() - began) * (1 if calls else self.settings.workers)
            append(self.timing_file, json_line({"step": name, "items": done, "seconds": round(seconds, 3)}))
        if self.ledger.spent:
            raise BudgetSpent(f"step {name!r} stops: {self.ledger.spent}")
        if postponed:
            raise DataError(
                f"step {name!r}: {len(postponed)} item(s) of {len(keys)} stay open, the first: {postponed[0]}; "
                "what is finished is kept, run again"
            )
        table.finish(keys)

    def _waiting(self, items: Iterable[Row], known: set[str], key: str) -> Iterator[Row]:
        """Yield the items that have no rows yet, until the budget is spent or too many items in a row have failed."""
        for item in items:
            if self.ledger.spent or self._failures >= GIVE_UP:
                return
            if item[key] not in known:
                yield item

    def _caller(self, teacher: TeacherSettings) -> Caller:
        return Caller(teacher, self.settings.calls, self.work / "answers", self.ledger)

    def _teacher(self, teacher: TeacherSettings) -> Teacher:
        if teacher.kind == "local":
            return LocalTeacher(teacher.model, self.settings.describe, str(self.clips))
        return EndpointTeacher(self._served(teacher), self.settings.describe, str(self.clips))

    def _served(self, teacher: TeacherSettings) -> Caller:
        self._callers.append(self._caller(teacher))
        return self._callers[-1]

    def _stop_callers(self) -> None:
        for caller in self._callers:
            caller.stopped.set()
