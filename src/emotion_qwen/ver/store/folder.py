"""The folder of a set: its settings, its joined tables, its clips, and the cost of its calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from emotion_qwen.errors import DataError
from emotion_qwen.extras import optional
from emotion_qwen.files import locked, remove_drafts
from emotion_qwen.ver.settings import BuildSettings
from emotion_qwen.ver.store.columns import COLUMNS, KEPT, Row
from emotion_qwen.ver.store.table import StepTable, entries_of, value_digest

MEASURED_WITH = ("fps", "most_frames", "side", "detect_every", "expressions")
"""The settings of `select` that affect measurements; the others only affect how these are used."""


class Cost(NamedTuple):
    """The cost of calls: number of answered calls, tokens read and written, seconds."""

    calls: int
    tokens: int
    seconds: float


class SetFolder:
    """One set on disk.

    Args:
        settings: settings of its build.

    Raises:
        MissingPackage: pyarrow is not installed.
    """

    def __init__(self, settings: BuildSettings) -> None:
        optional("pyarrow.parquet", "ver")
        self.settings = settings
        self.output = Path(settings.output)
        self.work = self.output / "work"
        self.clips = self.work / "clips"
        self.ledger_file, self.timing_file = self.work / "ledger.jsonl", self.work / "timing.jsonl"
        self.tables = {name: StepTable(self.work, name, COLUMNS[name], given) for name, given in digests(settings)}

    @classmethod
    def opened(cls, folder: Path) -> SetFolder:
        """Open a set that was built; its folder may have been moved.

        Raises:
            DataError: the folder contains no set.
        """
        path = folder / "work" / "build.json"
        if not path.is_file():
            raise DataError(f"{str(folder)!r} contains no set; give the output folder of emotion-qwen ver build")
        settings = BuildSettings.of(json.loads(path.read_text(encoding="utf-8")), str(path))
        return SetFolder(settings.model_copy(update={"output": str(folder)}))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder for this process, and remove incomplete files that a killed process left there.

        Raises:
            StorageError: another process has locked it.
        """
        with locked(self.output):
            remove_drafts(self.output, below=True)
            yield

    def joined(self, *names: str) -> Iterator[Row]:
        """Yield the joined rows of tables, one per clip that the last table keeps.

        The tables contain the same clips in the same order, later ones fewer, so one row of each is in memory at a
        time.
        """
        return (row for row in self.joined_all(*names) if row.get("status", KEPT) == KEPT)

    def joined_all(self, *names: str) -> Iterator[Row]:
        """Yield the joined rows of tables, one per clip of the last table, rejected or not."""
        others = [self.tables[name].rows() for name in names[:-1]]
        for last in self.tables[names[-1]].rows():
            row: Row = {}
            for rows in others:
                earlier = next((row for row in rows if row["clip"] == last["clip"]), None)
                if earlier is None:
                    raise DataError(f"clip {last['clip']!r} is missing in an earlier table; run the build again")
                row |= earlier
            yield row | last

    def evidence(self, *names: str) -> Iterator[Row]:
        """Yield clips with all evidence for a teacher."""
        for row in self.joined("segment", "cut", "look", *names):
            row.pop("hashes", None)
            yield row

    def outcomes(self) -> Iterator[Row]:
        """Yield one row per clip, kept or rejected: all its evidence, and the `step` at which it ended.

        A clip that a step rejected has no columns of later steps. A rejecting step only adds its own data: the texts
        of a clip that was lost during its check remain.
        """
        names = tuple(self.tables)
        later = {name: self.tables[name].rows() for name in names[1:]}
        ahead = {name: next(rows, None) for name, rows in later.items()}
        for row in self.tables[names[0]].rows():
            row["step"] = names[0]
            for name, rows in later.items():
                following = ahead[name]
                if following is None or following["clip"] != row["clip"]:
                    continue
                ahead[name] = next(rows, None)
                lost = following.get("status", KEPT) != KEPT
                row |= {key: value for key, value in following.items() if value is not None} if lost else following
                row["step"] = name
            row.pop("hashes", None)
            yield row

    def cost(self) -> Cost:
        """Return the cost of the set's calls so far."""
        return read_cost(self.ledger_file)


def read_cost(path: Path) -> Cost:
    """Sum up a ledger; zero if there is none."""
    calls, tokens, seconds = 0, 0, 0.0
    for entry in entries_of(path):
        calls, tokens, seconds = calls + 1, tokens + entry["read"] + entry["written"], seconds + entry["seconds"]
    return Cost(calls, tokens, seconds)


def digests(settings: BuildSettings) -> Iterator[tuple[str, str]]:
    """Yield (step, digest) of everything that affects its rows: its own settings and those of the steps before."""
    values: dict[str, Any] = settings.model_dump(mode="json")
    critic = (values["critic"] or {}).get("teacher")
    for teacher in (values["describe"]["teacher"], values["check"]["reader"], values["check"]["second"], critic):
        if teacher:
            del teacher["key_env"]  # the place of the key changes no answer
    values["look"] = {name: values["select"][name] for name in MEASURED_WITH}
    before = ""
    for name in COLUMNS:
        if values[name] is None:
            continue  # a step that is left out
        before = value_digest([values[name], before])
        yield name, before
