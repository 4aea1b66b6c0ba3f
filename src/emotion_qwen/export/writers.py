"""Write tables row by row, so that only a few rows are in memory: CSV (RFC 4180, UTF-8), JSON, Parquet and Excel."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from emotion_qwen.errors import DataError
from emotion_qwen.export.columns import (
    BOOLEAN,
    DICTIONARY,
    INTEGER,
    NUMBER,
    TEXT,
    Table,
    TableColumn,
    dictionary_rows,
)
from emotion_qwen.extras import optional
from emotion_qwen.files import staged

EXTRA = "tables"
CSV, JSON, PARQUET, XLSX = "csv", "json", "parquet", "xlsx"
WriteRow = Callable[[Sequence[Any]], None]
BATCH = 2048
"""Rows that are written to Parquet together."""
MOST_ROWS = 1_048_576
"""Rows of an Excel sheet, the first row included."""
LONGEST_CELL = 32_767
"""Characters of an Excel cell."""
_Writer = Callable[[Path, Sequence[TableColumn]], AbstractContextManager[WriteRow]]


@contextmanager
def _csv_file(path: Path, columns: Sequence[TableColumn]) -> Iterator[WriteRow]:
    """Write a CSV file; a missing value is an empty cell, booleans are TRUE and FALSE as in R and Excel."""
    with staged(path) as draft, draft.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([column.name for column in columns])
        yield lambda values: writer.writerow([str(v).upper() if isinstance(v, bool) else v for v in values])


@contextmanager
def _json_file(path: Path, columns: Sequence[TableColumn]) -> Iterator[WriteRow]:
    """Write a JSON list with an object per row and line."""
    names, start = [column.name for column in columns], "[\n"

    def write(values: Sequence[Any]) -> None:
        nonlocal start
        file.write(start + json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False))
        start = ",\n"

    with staged(path) as draft, draft.open("w", encoding="utf-8", errors="backslashreplace") as file:
        yield write
        file.write("[]\n" if start == "[\n" else "\n]\n")


@contextmanager
def _parquet_file(path: Path, columns: Sequence[TableColumn]) -> Iterator[WriteRow]:
    """Write a Parquet file; unit and meaning are in the metadata of each field."""
    arrow, parquet = optional("pyarrow", EXTRA), optional("pyarrow.parquet", EXTRA)
    types = {TEXT: arrow.string(), INTEGER: arrow.int64(), NUMBER: arrow.float64(), BOOLEAN: arrow.bool_()}
    schema = arrow.schema(
        [arrow.field(c.name, types[c.type], metadata={"unit": c.unit, "meaning": c.meaning}) for c in columns]
    )
    rows: list[Sequence[Any]] = []

    def flush() -> None:
        values = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in columns]
        arrays = [arrow.array(column, field.type) for column, field in zip(values, schema, strict=True)]
        file.write_table(arrow.Table.from_arrays(arrays, schema=schema))
        rows.clear()

    def write(values: Sequence[Any]) -> None:
        rows.append([_encodable(value) for value in values])
        if len(rows) == BATCH:
            flush()

    with staged(path) as draft, parquet.ParquetWriter(draft, schema) as file:
        yield write
        flush()


@contextmanager
def _xlsx_file(path: Path, tables: Sequence[Table]) -> Iterator[dict[str, WriteRow]]:
    """Write a workbook with a sheet per table and the sheet `dictionary`; yields functions that write rows."""
    workbook = optional("openpyxl", EXTRA).Workbook(write_only=True)
    writers = {table.name: _sheet(workbook, table.name, table.columns) for table in tables}
    try:
        with staged(path) as draft:
            yield writers
            columns, rows = dictionary_rows(tables)
            _write_all(rows, _sheet(workbook, "dictionary", columns))
            workbook.save(draft)
    except BaseException:
        for sheet in workbook.worksheets:
            sheet.close()  # its temporary file
        raise


def _sheet(workbook: Any, name: str, columns: Sequence[TableColumn]) -> WriteRow:
    """Add a sheet with its first row; return a function that writes a row."""
    openpyxl = optional("openpyxl", EXTRA)
    illegal = optional("openpyxl.cell.cell", EXTRA).ILLEGAL_CHARACTERS_RE
    sheet = workbook.create_sheet(name)
    sheet.freeze_panes = "A2"
    count = 0

    def write(values: Sequence[Any]) -> None:
        nonlocal count
        count += 1
        if count > MOST_ROWS:
            raise DataError(
                f"table {name!r} has more than the {MOST_ROWS:,} rows of an Excel sheet; leave it out with --tables, "
                "or take --format csv or parquet"
            )
        sheet.append([text_cell(value) if isinstance(value, str) else value for value in values])

    def text_cell(text: str) -> Any:
        cell = openpyxl.cell.WriteOnlyCell(sheet, illegal.sub("", _encodable(text))[:LONGEST_CELL])
        cell.data_type = "s"  # a text that begins with "=" is not a formula
        return cell

    write([column.name for column in columns])
    return write


def _encodable(value: Any) -> Any:
    """Return a text without the halves of characters that UTF-8 cannot represent, as in file names; others as is."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


_FILES: dict[str, _Writer] = {CSV: _csv_file, JSON: _json_file, PARQUET: _parquet_file}
TABLE_FORMATS = (*_FILES, XLSX)


@contextmanager
def table_files(paths: dict[str, Path], form: str, tables: Sequence[Table]) -> Iterator[Callable[[Any], None]]:
    """Write tables, one entry after another; the files appear when the block ends, all complete.

    Args:
        paths: table, or `DICTIONARY` for a CSV file that describes all columns -> file. With `XLSX`, all tables have
            the same file and the dictionary is a sheet of it.
        form: of `TABLE_FORMATS`.
        tables: those to write.

    Yields:
        A function that adds the rows of one report or failure.

    Raises:
        DataError: an Excel sheet has no room for a table.
        MissingPackage: for the format.
        StorageError: a file cannot be written.
    """
    with ExitStack() as files:
        if form == XLSX:
            writers = files.enter_context(_xlsx_file(paths[tables[0].name], tables))
        else:
            writers = {t.name: files.enter_context(_FILES[form](paths[t.name], t.columns)) for t in tables}

        def add(entry: Any) -> None:
            for table in tables:
                _write_all(table.values(entry), writers[table.name])

        yield add
        if DICTIONARY in paths:
            columns, rows = dictionary_rows(tables)
            _write_all(rows, files.enter_context(_csv_file(paths[DICTIONARY], columns)))


def _write_all(rows: Iterable[Sequence[Any]], write: WriteRow) -> None:
    for row in rows:
        write(row)
