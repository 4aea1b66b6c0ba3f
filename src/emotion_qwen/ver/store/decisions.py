"""Reviewers' decisions in SQLite, with name and time; none is overwritten, and the latest of each reviewer counts."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from emotion_qwen.errors import DataError, StorageError, unknown_choice

ACTIONS = ("accept", "edit", "reject", "flag")
EDITABLE = ("description", "reasoning")
FILE = "reviews.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS decisions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, clip TEXT NOT NULL, reviewer TEXT NOT NULL, action TEXT NOT NULL,
    edits TEXT NOT NULL DEFAULT '{}', note TEXT NOT NULL DEFAULT '', at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_clip ON decisions (clip, reviewer, number);
"""


@dataclass(frozen=True)
class Decision:
    """One reviewer's decision about a clip.

    Attributes:
        clip: name of the clip.
        reviewer: name of the reviewer.
        action: one of `ACTIONS`.
        edits: language -> field of `EDITABLE` -> text, for an "edit".
        note: free text of the reviewer.
        at: time in UTC, ISO 8601.
    """

    clip: str
    reviewer: str
    action: str
    edits: dict[str, dict[str, str]]
    note: str
    at: str

    @property
    def keeps(self) -> bool:
        """Whether the clip stays."""
        return self.action in ("accept", "edit")


@dataclass(frozen=True)
class Verdict:
    """The combined result of all decisions about a clip.

    Attributes:
        keep: whether it stays in the set.
        conflict: whether one reviewer keeps it and another does not.
        edits: the latest edits of those who keep it.
        decisions: the underlying decisions, one per reviewer.
    """

    keep: bool
    conflict: bool
    edits: dict[str, dict[str, str]]
    decisions: tuple[Decision, ...]


class Decisions:
    """The decisions about one set. Thread-safe.

    Args:
        path: path of the SQLite file; created if missing.

    Raises:
        DataError: the file is not an SQLite file of this package, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            with self._open() as database:
                database.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise DataError(f"reviews {str(path)!r} cannot be opened ({error}); repair or move the file") from error

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._lock, closing(sqlite3.connect(self.path, timeout=30)) as database, database:
            yield database

    def add(
        self, clip: str, reviewer: str, action: str, edits: dict[str, dict[str, str]] | None = None, note: str = ""
    ) -> Decision:
        """Store a decision.

        Raises:
            DataError: the action is unknown, the reviewer is missing, or the edits do not fit the fields.
            StorageError: the decision cannot be stored.
        """
        if action not in ACTIONS:
            raise DataError(unknown_choice("action", action, ACTIONS))
        if not reviewer.strip():
            raise DataError("a decision has no reviewer; give the name or initials of the reviewer")
        edits = edits or {}
        for language, fields in edits.items():
            wrong = [name for name in fields if name not in EDITABLE or not isinstance(fields[name], str)]
            if language not in ("en", "zh") or wrong:
                raise DataError(f"edits {edits!r}; expected en and zh with {' and '.join(EDITABLE)}")
            if any(not text.strip() for text in fields.values()):
                raise DataError(f"edits {edits!r} leave a text empty; reject the clip if it cannot be described")
        if (action == "edit") != bool(edits):
            raise DataError(f"action {action!r} with {'' if edits else 'no '}edits; expected edits with 'edit' alone")
        at = datetime.now(UTC).isoformat(timespec="seconds")
        made = Decision(clip, reviewer.strip(), action, edits, note, at)
        kept = (clip, made.reviewer, action, json.dumps(edits, ensure_ascii=False), note, at)
        try:
            with self._open() as database:
                database.execute(
                    "INSERT INTO decisions (clip, reviewer, action, edits, note, at) VALUES (?, ?, ?, ?, ?, ?)", kept
                )
        except sqlite3.Error as error:
            raise StorageError(
                f"the decision cannot be written to {str(self.path)!r} ({error}); free space, then decide again"
            ) from error
        return made

    def history(self, clip: str | None = None) -> dict[str, list[Decision]]:
        """Return clip -> all decisions about it, the oldest first; for one clip alone if given."""
        decisions: dict[str, list[Decision]] = {}
        query = "SELECT clip, reviewer, action, edits, note, at FROM decisions WHERE clip = ?1 OR ?1 IS NULL"
        with self._open() as database:
            for name, reviewer, action, edits, note, at in database.execute(f"{query} ORDER BY number", (clip,)):
                decision = Decision(name, reviewer, action, json.loads(edits), note, at)
                decisions.setdefault(name, []).append(decision)
        return decisions

    def latest(self, clip: str | None = None) -> dict[str, dict[str, Decision]]:
        """Return clip -> reviewer -> latest decision, the most recent one at the end; for one clip alone if given."""
        latest: dict[str, dict[str, Decision]] = {}
        for name, decisions in self.history(clip).items():
            for decision in reversed(decisions):
                latest.setdefault(name, {}).setdefault(decision.reviewer, decision)
            latest[name] = dict(reversed(latest[name].items()))
        return latest

    def verdicts(self) -> dict[str, Verdict]:
        """Return clip -> verdict; a clip that any reviewer rejects or flags stays out until all keep it."""
        verdicts = {}
        for clip, by_reviewer in self.latest().items():
            decisions = tuple(by_reviewer.values())
            keeping = [decision for decision in decisions if decision.keeps]
            edits: dict[str, dict[str, str]] = {}
            for decision in keeping:
                for language, fields in decision.edits.items():
                    edits[language] = {**edits.get(language, {}), **fields}
            every = len(keeping) == len(decisions)
            verdicts[clip] = Verdict(every, bool(keeping) and not every, edits, decisions)
        return verdicts
