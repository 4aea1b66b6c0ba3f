"""Definition of a table: columns with unit and meaning, and the rows of a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from emotion_qwen.export.reports import FailedClip
from emotion_qwen.records import EmotionReport

TEXT, INTEGER, NUMBER, BOOLEAN = "text", "integer", "number", "boolean"
Row = dict[str, Any]
Entry = EmotionReport | FailedClip
DECIMALS = 6
"""Decimals of the numbers of a table."""


@dataclass(frozen=True)
class TableColumn:
    """A column of a table.

    Attributes:
        name: as in the first row of a file.
        type: `TEXT`, `INTEGER`, `NUMBER` or `BOOLEAN`; every column may have missing values.
        unit: of the values; "" without one.
        meaning: one phrase for the data dictionary.
    """

    name: str
    type: str
    unit: str
    meaning: str


@dataclass(frozen=True)
class Table:
    """A table of reports.

    Attributes:
        name: such as "clips"; of its file or sheet.
        columns: in order.
        rows: returns the rows of one report, or of a clip that failed; absent keys are missing values.
    """

    name: str
    columns: tuple[TableColumn, ...]
    rows: Callable[[Any], Iterable[Row]]

    def values(self, entry: Any) -> Iterator[list[Any]]:
        """Yield the rows of one entry as values in the order of the columns; None is a missing value."""
        for row in self.rows(entry):
            yield [_rounded(row.get(column.name)) for column in self.columns]


DICTIONARY = "data_dictionary"
"""Name of the table that describes the columns of all others."""
_DICTIONARY_COLUMNS = (
    TableColumn("table", TEXT, "", "name of the table"),
    TableColumn("column", TEXT, "", "name of the column"),
    TableColumn("type", TEXT, "", "text, integer, number or boolean"),
    TableColumn("unit", TEXT, "", "unit of the values"),
    TableColumn("meaning", TEXT, "", "what the values mean"),
)


def dictionary_rows(tables: Iterable[Table]) -> tuple[tuple[TableColumn, ...], list[list[str]]]:
    """Return the columns and the rows of the data dictionary of some tables."""
    rows = [[table.name, c.name, c.type, c.unit, c.meaning] for table in tables for c in table.columns]
    return _DICTIONARY_COLUMNS, rows


def _rounded(value: Any) -> Any:
    return round(value, DECIMALS) + 0.0 if isinstance(value, float) else value
