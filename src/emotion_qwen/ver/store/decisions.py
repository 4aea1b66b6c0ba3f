"""Reviewers' decisions in SQLite, with name and time; none is overwritten, and the latest of each reviewer counts.

Undoing a decision also adds a row. Files of earlier versions have no column `corrections`; it is added when they are
opened, and earlier versions can still read them.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from emotion_qwen.errors import DataError, StorageError, unknown_choice
from emotion_qwen.ver.store.corrections import CORRECTABLE

ACTIONS = ("accept", "edit", "reject", "flag")
UNDO = "undo"
"""Action of a row that cancels the reviewer's latest decision about the clip."""
EDITABLE = ("description", "reasoning")
FILE = "reviews.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS decisions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, clip TEXT NOT NULL, reviewer TEXT NOT NULL, action TEXT NOT NULL,
    edits TEXT NOT NULL DEFAULT '{}', note TEXT NOT NULL DEFAULT '', at TEXT NOT NULL,
    corrections TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX IF NOT EXISTS by_clip ON decisions (clip, reviewer, number);
"""
_COLUMNS = "clip, reviewer, action, edits, note, at, corrections"


@dataclass(frozen=True)
class Decision:
    """One reviewer's decision about a clip.

    Attributes:
        clip: name of the clip.
        reviewer: name of the reviewer.
        action: one of `ACTIONS`, or `UNDO` in a history.
        edits: language -> field of `EDITABLE` -> text, for an "edit".
        note: free text of the reviewer.
        at: time in UTC, ISO 8601.
        corrections: field of `CORRECTABLE` -> value, for an "edit"; see `check_corrections`.
    """

    clip: str
    reviewer: str
    action: str
    edits: dict[str, dict[str, str]]
    note: str
    at: str
    corrections: dict[str, Any] = field(default_factory=dict)

    @property
    def keeps(self) -> bool:
        """Whether the clip stays."""
        return self.action in ("accept", "edit")


@dataclass(frozen=True)
class Verdict:
    """The combined result of all decisions about a clip.

    Attributes:
        keep: whether it stays in the set.
        conflict: whether reviewers disagree on keeping it or on its label.
        edits: the latest edits of those who keep it.
        decisions: the underlying decisions, one per reviewer.
        corrections: the latest corrections of those who keep it.
        sources: field of `CORRECTABLE`, or field and language such as "description_en" -> the decision it comes from.
    """

    keep: bool
    conflict: bool
    edits: dict[str, dict[str, str]]
    decisions: tuple[Decision, ...]
    corrections: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, Decision] = field(default_factory=dict)


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
                columns = {row[1] for row in database.execute("PRAGMA table_info(decisions)")}
                if "corrections" not in columns:
                    database.execute("ALTER TABLE decisions ADD COLUMN corrections TEXT NOT NULL DEFAULT '{}'")
        except sqlite3.Error as error:
            raise DataError(f"reviews {str(path)!r} cannot be opened ({error}); repair or move the file") from error

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._lock, closing(sqlite3.connect(self.path, timeout=30)) as database, database:
            yield database

    def add(
        self,
        clip: str,
        reviewer: str,
        action: str,
        edits: dict[str, dict[str, str]] | None = None,
        note: str = "",
        corrections: dict[str, Any] | None = None,
    ) -> Decision:
        """Store a decision.

        Args:
            clip: name of the clip.
            reviewer: name of the reviewer.
            action: one of `ACTIONS`.
            edits: language -> field of `EDITABLE` -> text.
            note: free text.
            corrections: as `check_corrections` returns them.

        Raises:
            DataError: the action is unknown, the reviewer is missing, or the edits do not fit the fields.
            StorageError: the decision cannot be stored.
        """
        if action not in ACTIONS:
            raise DataError(unknown_choice("action", action, ACTIONS))
        edits, corrections = edits or {}, corrections or {}
        for language, fields in edits.items():
            wrong = [name for name in fields if name not in EDITABLE or not isinstance(fields[name], str)]
            if language not in ("en", "zh") or wrong:
                raise DataError(f"edits {edits!r}; expected en and zh with {' and '.join(EDITABLE)}")
            if any(not text.strip() for text in fields.values()):
                raise DataError(f"edits {edits!r} leave a text empty; reject the clip if it cannot be described")
        if unknown := set(corrections) - set(CORRECTABLE):
            raise DataError(f"corrections of {', '.join(sorted(unknown))}; expected any of {', '.join(CORRECTABLE)}")
        if (action == "edit") != bool(edits or corrections):
            got = "edits" if edits or corrections else "no edits"
            raise DataError(f"action {action!r} with {got}; expected edits with 'edit' alone")
        return self._store(clip, reviewer, action, edits, note, corrections)

    def undo(self, reviewer: str) -> Decision:
        """Cancel the latest decision of a reviewer that still counts, and return it.

        Raises:
            DataError: the reviewer is missing, or has made no decision that still counts.
            StorageError: the row cannot be stored.
        """
        reviewer = reviewer.strip()
        counting: list[Decision] = []
        for decision in self._rows("reviewer = ?", reviewer):
            _follow(counting, decision)
        if not counting:
            raise DataError(f"reviewer {reviewer!r} has made no decision that can be undone")
        self._store(counting[-1].clip, reviewer, UNDO, {}, "", {})
        return counting[-1]

    def _store(
        self, clip: str, reviewer: str, action: str, edits: dict[str, dict[str, str]], note: str, corrections: Any
    ) -> Decision:
        if not reviewer.strip():
            raise DataError("a decision has no reviewer; give the name or initials of the reviewer")
        at = datetime.now(UTC).isoformat(timespec="seconds")
        made = Decision(clip, reviewer.strip(), action, edits, note, at, corrections)
        packed = [json.dumps(value, ensure_ascii=False) for value in (edits, corrections)]
        values = (clip, made.reviewer, action, packed[0], note, at, packed[1])
        command = f"INSERT INTO decisions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
        try:
            with self._open() as database:
                database.execute(command, values)
        except sqlite3.Error as error:
            raise StorageError(
                f"the decision cannot be written to {str(self.path)!r} ({error}); free space, then decide again"
            ) from error
        return made

    def _rows(self, condition: str, value: str | None) -> Iterator[Decision]:
        with self._open() as database:
            rows = database.execute(f"SELECT {_COLUMNS} FROM decisions WHERE {condition} ORDER BY number", (value,))
            stored = rows.fetchall()
        for clip, reviewer, action, edits, note, at, corrections in stored:
            yield Decision(clip, reviewer, action, json.loads(edits), note, at, json.loads(corrections))

    def history(self, clip: str | None = None) -> dict[str, list[Decision]]:
        """Return clip -> all rows about it, also undone ones and `UNDO`, the oldest first; for one clip if given."""
        decisions: dict[str, list[Decision]] = {}
        for decision in self._rows("clip = ?1 OR ?1 IS NULL", clip):
            decisions.setdefault(decision.clip, []).append(decision)
        return decisions

    def latest(self, clip: str | None = None) -> dict[str, dict[str, Decision]]:
        """Return clip -> reviewer -> latest decision, the most recent one at the end; for one clip alone if given."""
        latest = {name: counting(decisions) for name, decisions in self.history(clip).items()}
        return {name: by_reviewer for name, by_reviewer in latest.items() if by_reviewer}

    def verdicts(self) -> dict[str, Verdict]:
        """Return clip -> verdict; a clip that any reviewer rejects or flags stays out until all keep it.

        A clip whose label was corrected stays out until all reviewers who decided about it give it the same label.
        """
        return {clip: _verdict(tuple(by_reviewer.values())) for clip, by_reviewer in self.latest().items()}


def counting(decisions: list[Decision]) -> dict[str, Decision]:
    """Return reviewer -> the decision about one clip that counts, the most recent at the end.

    Args:
        decisions: all rows about the clip, the oldest first.
    """
    left: list[Decision] = []
    for decision in decisions:
        _follow(left, decision)
    latest: dict[str, Decision] = {}
    for decision in reversed(left):
        latest.setdefault(decision.reviewer, decision)
    return dict(reversed(latest.items()))


def disputed(decisions: Iterable[Decision]) -> bool:
    """Return whether reviewers disagree on keeping a clip, or on its label."""
    return len({(decision.keeps, decision.keeps and decision.corrections.get("label")) for decision in decisions}) > 1


def _follow(left: list[Decision], decision: Decision) -> None:
    """Add a decision to those that count, or remove the one that an `UNDO` cancels."""
    if decision.action != UNDO:
        left.append(decision)
        return
    same = [n for n, other in enumerate(left) if (other.clip, other.reviewer) == (decision.clip, decision.reviewer)]
    if same:
        del left[same[-1]]


def _verdict(decisions: tuple[Decision, ...]) -> Verdict:
    keeping = [decision for decision in decisions if decision.keeps]
    edits: dict[str, dict[str, str]] = {}
    corrections: dict[str, Any] = {}
    sources: dict[str, Decision] = {}
    for decision in keeping:
        for language, fields in decision.edits.items():
            edits[language] = {**edits.get(language, {}), **fields}
            sources |= {f"{name}_{language}": decision for name in fields}
        corrections |= decision.corrections
        sources |= dict.fromkeys(decision.corrections, decision)
    conflict = disputed(decisions)
    keep = len(keeping) == len(decisions) and not conflict
    return Verdict(keep, conflict, edits, decisions, corrections, sources)
