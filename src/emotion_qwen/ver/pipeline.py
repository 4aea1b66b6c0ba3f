"""The build: eight steps, each a table that is made item by item and taken up again where it was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.files import append, json_line, locked, mend, remove_drafts, write_whole
from emotion_qwen.taxonomy import label_set
from emotion_qwen.ver.engines import Engine, Processes, Threads, Work
from emotion_qwen.ver.settings import BuildSettings, TeacherSettings
from emotion_qwen.ver.steps import check, cut, describe, listen, look, segment, select
from emotion_qwen.ver.steps.segment import KEPT
from emotion_qwen.ver.store.sources import find_sources
from emotion_qwen.ver.store.table import Postponed, Row, Table, arrow, digest
from emotion_qwen.ver.teachers.calls import BudgetSpent, Caller, Ledger

STEPS = ("segment", "cut", "look", "select", "listen", "describe", "check", "export")
COLUMNS = {
    "segment": segment.COLUMNS, "cut": cut.COLUMNS, "look": look.COLUMNS, "select": select.COLUMNS,
    "listen": listen.COLUMNS, "describe": describe.COLUMNS, "check": check.COLUMNS,
}  # fmt: skip
GIVE_UP = 8
"""Items in a row that could not be done, after which a step stops instead of trying all the others."""


class Build:
    """One set being built.

    Args:
        settings: of the build.
        engine: does the steps that decode; processes of this machine if None.
        console: for progress and the estimate.

    Raises:
        MissingPackage: pyarrow is not installed.
    """

    def __init__(self, settings: BuildSettings, engine: Engine | None = None, console: Console | None = None) -> None:
        arrow("pyarrow.parquet")
        self.settings = settings
        self.output = Path(settings.output)
        self.work = self.output / "work"
        self.clips = self.work / "clips"
        self.engine = engine or Processes(settings.workers, settings.item_seconds)
        self.console = console or Console(stderr=True)
        self.tables = {name: Table(self.work, name, COLUMNS[name], given) for name, given in _given(settings).items()}
        self.clips.mkdir(parents=True, exist_ok=True)
        self.ledger = Ledger(self.work / "ledger.jsonl", settings.calls)
        self._callers: list[Caller] = []
        self._failures = 0  # items in a row that could not be done

    @classmethod
    def opened(cls, folder: Path) -> Build:
        """Open a set that was built, wherever its folder lies now.

        Raises:
            DataError: the folder holds no set.
        """
        from emotion_qwen.ver.estimate import read_settings

        return cls(read_settings(folder).model_copy(update={"output": str(folder)}))

    def run(self, until: str = "export") -> None:
        """Do all steps up to and with `until` that are not done.

        Raises:
            DataError: some items stay open (the first reason is named), or a table was made with other settings.
            StorageError: another run writes to the folder, or the disk is full.
            BudgetSpent: the budget is spent.
        """
        self._look_ahead()
        with self._alone():
            write_whole(self.work / "build.json", self.settings.model_dump_json(indent=2) + "\n")
            for name in STEPS[: STEPS.index(until) + 1]:
                getattr(self, f"_{name}")()

    def _look_ahead(self) -> None:
        """Find what would stop a step much later, before the first one begins; errors are those of the steps."""
        label_set(self.settings.describe.labels)
        chosen = self.settings.check
        for teacher in (self.settings.describe.teacher, chosen.reader, chosen.second):
            if teacher is not None and teacher.kind == "endpoint":
                Caller(teacher, self.settings.calls, self.work / "answers", self.ledger)
        for name in self.settings.select.benchmarks:
            select.benchmark_files(name)
        if self.settings.listen.whisper and not Path(self.settings.listen.whisper).is_dir():
            raise SettingsError(
                f"listen.whisper {self.settings.listen.whisper!r} is no folder; give that of a faster-whisper model"
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder for this build alone, and remove what a killed one left half written there."""
        with locked(self.output):
            remove_drafts(self.output, below=True)
            yield

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
        if table.is_done(digest(keys)):
            return
        table.open()
        decided = {key: found[0]["status"] for key, found in table.known()}
        for row in select.select(self.tables["look"].rows, self.settings.select, decided):
            table.append(row["clip"], [row])
        table.finish(keys)

    def _listen(self) -> None:
        work = listen.ListenToClip(self.settings.listen, str(self.clips))
        self._step("listen", lambda: self.joined("segment", "cut", "select"), work)

    def _describe(self) -> None:
        from emotion_qwen.ver.estimate import announce

        teacher = self._teacher(self.settings.describe.teacher)
        work = describe.DescribeClip(teacher, self.settings.describe.languages)
        announce(self)
        self._step("describe", lambda: self.evidence("listen"), work, self._callers_engine())

    def _check(self) -> None:
        chosen, told = self.settings.check, self.settings.describe
        reader: check.Reader | None = None
        if chosen.reader is not None and chosen.reader.kind == "local":
            reader = check.LocalReader(chosen.reader.model, told.labels)
        elif chosen.reader is not None:
            reader = check.EndpointReader(self._caller(chosen.reader), told.labels)
        second = self._teacher(chosen.second) if chosen.second else None
        work = check.CheckClip(self._teacher(told.teacher), reader, second, chosen, told.languages)
        self._step("check", lambda: self.evidence("listen", "describe"), work, self._callers_engine())

    def export(self) -> None:
        """Write the set again, as reviewers decided.

        Raises:
            StorageError: a build is at work there, or as `export.export` says.
        """
        with self._alone():
            self._export()

    def _export(self) -> None:
        from emotion_qwen.ver.export import export

        export(self)

    def joined(self, *names: str) -> Iterator[Row]:
        """Yield the rows of tables side by side, one a clip that the last one keeps.

        The tables hold the same clips in the same order, later ones fewer; so one row of each is in memory at a time.
        """
        for row in self.joined_all(*names):
            if row.get("status", KEPT) == KEPT:
                yield row

    def joined_all(self, *names: str) -> Iterator[Row]:
        """Yield the rows of tables side by side, one a clip of the last table, rejected or not."""
        others = [self.tables[name].rows() for name in names[:-1]]
        for last in self.tables[names[-1]].rows():
            row: Row = {}
            for other in others:
                for found in other:
                    if found["clip"] == last["clip"]:
                        row |= found
                        break
                else:
                    raise DataError(f"clip {last['clip']!r} is missing in an earlier table; run the build again")
            yield row | last

    def evidence(self, *names: str) -> Iterator[Row]:
        """Yield clips with all that a teacher is told of them."""
        for row in self.joined("segment", "cut", "look", *names):
            row.pop("hashes", None)
            yield row

    def _step(
        self, name: str, items: Callable[[], Iterator[Row]], work: Work, engine: Engine | None = None, key: str = "clip"
    ) -> None:
        table = self.tables[name]
        keys = [row[key] for row in items()]
        if table.is_done(digest(keys)):
            return
        known = table.open()
        began, done, total, self._failures = time.monotonic(), 0, len(keys), 0
        open_items: list[Postponed] = []
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(name, total=total, completed=len(known & set(keys)))
            waiting = self._waiting(items(), known, key)
            with closing((engine or self.engine).run(work, waiting)) as outcomes:  # type: ignore[type-var]
                for item, outcome in outcomes:
                    if isinstance(outcome, Postponed):
                        open_items.append(outcome)
                        self._failures += 1
                        continue
                    self._failures = 0
                    table.append(item[key], outcome)
                    done += 1
                    bar.advance(task)
        if done:
            mend(self.work / "timing.jsonl")
            seconds = (time.monotonic() - began) * (1 if engine else self.settings.workers)
            timing = {"step": name, "items": done, "seconds": round(seconds, 3)}
            append(self.work / "timing.jsonl", json_line(timing))
        self._complain(name, open_items, total)
        table.finish(keys)

    def _waiting(self, items: Iterable[Row], known: set[str], key: str) -> Iterator[Row]:
        """Yield the items that have no rows yet, until the budget is spent or nothing works any more."""
        for item in items:
            if self.ledger.spent or self._failures >= GIVE_UP:
                return
            if item[key] not in known:
                yield item

    def _complain(self, name: str, open_items: list[Postponed], total: int) -> None:
        if self.ledger.spent:
            raise BudgetSpent(f"step {name!r} stops: {self.ledger.spent}")
        if open_items:
            first = str(open_items[0])
            raise DataError(
                f"step {name!r}: {len(open_items)} item(s) of {total} stay open, the first: {first}; "
                "what is finished is kept, run again"
            )

    def _caller(self, teacher: TeacherSettings) -> Caller:
        caller = Caller(teacher, self.settings.calls, self.work / "answers", self.ledger)
        self._callers.append(caller)
        return caller

    def _teacher(self, teacher: TeacherSettings) -> describe.Teacher:
        if teacher.kind == "local":
            return describe.LocalTeacher(teacher.model, self.settings.describe, str(self.clips))
        return describe.EndpointTeacher(self._caller(teacher), self.settings.describe, str(self.clips))

    def _callers_engine(self) -> Engine | None:
        """Return threads where an endpoint is called; a local model works in the processes of the other steps."""
        if not self._callers:
            return None
        return Threads(self.settings.calls.concurrency, self._stop_callers)

    def _stop_callers(self) -> None:
        for caller in self._callers:
            caller.stopped.set()


def _given(settings: BuildSettings) -> dict[str, str]:
    """Return step -> digest of what decides over its rows: its own settings, and those of the steps before."""
    values: dict[str, Any] = settings.model_dump(mode="json")
    for teacher in (values["describe"]["teacher"], values["check"]["reader"], values["check"]["second"]):
        if teacher:
            del teacher["key_env"]  # where the key stands changes no answer
    measured = {name: values["select"][name] for name in look.MEASURED_WITH}
    own = {
        "segment": values["segment"], "cut": values["cut"], "look": measured, "select": values["select"],
        "listen": values["listen"], "describe": values["describe"], "check": values["check"],
    }  # fmt: skip
    found, before = {}, ""
    for name, chosen in own.items():
        before = digest([chosen, before])
        found[name] = before
    return found
