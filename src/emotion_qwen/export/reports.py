"""Read stored reports: files of `analyze --json`, `analyze --output` and the server, of schema 1.x and 2.x.

Fields that an older schema lacks get the default of the record; fields of a newer minor version are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from pydantic import TypeAdapter, ValidationError

from emotion_qwen.errors import DataError, listed, printable
from emotion_qwen.files import files_below
from emotion_qwen.records import EmotionReport

SUFFIXES = (".jsonl", ".ndjson", ".json")
_EXPECTED = "expected reports as `emotion-qwen analyze --json` or `--output` writes them"


@dataclass(frozen=True)
class FailedClip:
    """A clip that could not be analyzed: its path as given, and why."""

    source: str
    error: str


class ReportFiles:
    """The reports of files, read again at every iteration and never in memory together.

    Args:
        paths: files of one report, of a list of reports, or of one report per line; or folders with such files.

    Attributes:
        files: that are read, in order.
        incomplete: files whose last line was left out at the last iteration, because a killed run left it unfinished.

    Raises:
        DataError: a path does not exist, or a folder has no such file.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.files = [file for path in paths for file in _files_of(path)]
        self.incomplete: list[Path] = []

    def __iter__(self) -> Iterator[EmotionReport | FailedClip]:
        """Yield the reports and failures in order.

        Raises:
            DataError: a file cannot be read, or contains something else.
        """
        self.incomplete = []
        for file in self.files:
            yield from self._read(file)

    def _read(self, path: Path) -> Iterator[EmotionReport | FailedClip]:
        try:
            with path.open(encoding="utf-8-sig") as file:
                first = next((line for line in file if line.strip()), "")
                value = _value_of(first)
                if not isinstance(value, dict):  # a list, or an object over several lines
                    for number, item in enumerate(_whole(path), 1):
                        yield _entry(item, f"{str(path)!r}, report {number}")
                    return
                yield _entry(value, f"{str(path)!r}, report 1")
                for number, line in enumerate(filter(str.strip, file), 2):
                    if (value := _value_of(line)) is None and not line.endswith("\n"):
                        self.incomplete.append(path)
                        return
                    yield _entry(value, f"{str(path)!r}, report {number}")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"{str(path)!r} cannot be read ({reason}); {_EXPECTED}") from error


def read_report(text: str) -> EmotionReport:
    """Read a report from JSON text of schema 1.x, 2.x or 3.x.

    Raises:
        DataError: the text is no JSON, or no report.
    """
    entry = _entry(_value_of(text), "text")
    if isinstance(entry, FailedClip):
        raise DataError(f"the text says that {entry.source!r} failed ({entry.error}); {_EXPECTED}")
    return entry


@cache
def _adapter() -> TypeAdapter[EmotionReport]:
    return TypeAdapter(EmotionReport)


def _files_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.exists():
        raise DataError(f"{str(path)!r} does not exist; {_EXPECTED}")
    files = [file for file in files_below(path) if file.suffix.lower() in SUFFIXES]
    if not files:
        raise DataError(f"folder {str(path)!r} has no file ending in {' '.join(SUFFIXES)}; {_EXPECTED}")
    return files


def _value_of(text: str) -> Any:
    """Return the value of JSON text; None if it is not complete JSON, or contains a number that is not finite."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _whole(path: Path) -> list[Any]:
    value = _value_of(path.read_text(encoding="utf-8-sig"))
    if value is None:
        raise DataError(f"{str(path)!r} is not JSON; {_EXPECTED}")
    return value if isinstance(value, list) else [value]


def _numbered_from_one(value: Any) -> Any:
    """Return the value of a report whose people count from 1; before schema 3.0.0 the first person was 0."""
    people = value.get("people") if isinstance(value, dict) else None
    if not isinstance(people, list) or not any(isinstance(row, dict) and row.get("person") == 0 for row in people):
        return value

    def counted(rows: Any) -> Any:
        return [_plus_one(row) for row in rows] if isinstance(rows, list) else rows

    return {**value, "people": counted(people), "cues": counted(value.get("cues", []))}


def _plus_one(row: Any) -> Any:
    person = row.get("person") if isinstance(row, dict) else None
    return {**row, "person": person + 1} if isinstance(person, int) else row


def _entry(value: Any, place: str) -> EmotionReport | FailedClip:
    """Return the record of one JSON value.

    Raises:
        DataError: it is neither a report nor a failure.
    """
    if isinstance(value, dict) and value.keys() == {"source", "error"}:
        return FailedClip(printable(str(value["source"])), printable(str(value["error"])))
    try:
        return _adapter().validate_python(_numbered_from_one(value))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'value'}: {fault['msg']}" for fault in error.errors()]
        raise DataError(f"{place} is not a report ({listed(faults, 2)}); {_EXPECTED}") from error
