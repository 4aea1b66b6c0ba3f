"""Names that the user gives to people: a CSV file with the columns `file`, `person` and `name`."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePath

from emotion_qwen.errors import DataError

COLUMNS = ("file", "person", "name")
_EXPECTED = f"expected a CSV file with the columns {', '.join(COLUMNS)}, people numbered from 1"


class PersonNames:
    """Names of people by clip and number.

    Args:
        names: (file, number from 1) -> name. The file is a path as in the reports, or its last part.
        source: where the names come from, for messages.
    """

    def __init__(self, names: dict[tuple[str, int], str], source: str = "names") -> None:
        self.names, self.source = names, source
        self._used: set[tuple[str, int]] = set()

    def check(self, sources: Iterable[str]) -> None:
        """Check that no file name without a folder stands for several clips.

        Args:
            sources: of all reports, each once.

        Raises:
            DataError: one does.
        """
        clips = Counter(PurePath(source).name for source in sources)
        for file, _ in self.names:
            if PurePath(file).name == file and clips[file] > 1:
                raise DataError(f"{self.source}: {file!r} is the name of {clips[file]} clips; write their paths")

    def name(self, source: str, number: int) -> str | None:
        """Return the name of a person, numbered from 1; None without one."""
        for file in (source, PurePath(source).name):
            if (key := (file, number)) in self.names:
                self._used.add(key)
                return self.names[key]
        return None

    @property
    def unused(self) -> list[tuple[str, int]]:
        """The (file, number) that no report has had so far."""
        return [key for key in self.names if key not in self._used]


def read_names(path: Path) -> PersonNames:
    """Read the names of people.

    Raises:
        DataError: the file cannot be read, lacks a column, or has a row without a valid number or with a number that
            an earlier row has.
    """
    names: dict[tuple[str, int], str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise DataError(f"{str(path)!r} has no column {missing[0]!r}; {_EXPECTED}")
            for row in table:
                key = _key(row, f"{str(path)!r}, line {table.line_num}")
                if key in names:
                    raise DataError(f"{str(path)!r}, line {table.line_num}: person {key[1]} of {key[0]!r} stands twice")
                names[key] = (row["name"] or "").strip()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{str(path)!r} cannot be read ({reason}); {_EXPECTED}") from error
    return PersonNames(names, str(path))


def _key(row: dict[str, str | None], place: str) -> tuple[str, int]:
    number = (row["person"] or "").strip()
    if not (number.isdecimal() and int(number) and row["file"] and (row["name"] or "").strip()):
        raise DataError(f"{place}: file {row['file']!r}, person {number!r}, name {row['name']!r}; {_EXPECTED}")
    return row["file"].strip(), int(number)
