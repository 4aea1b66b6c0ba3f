"""Stored and new reports as data frames and files: the tables of `emotion-qwen export`, from Python."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion_qwen.errors import SettingsError, unknown_choice
from emotion_qwen.export.columns import BOOLEAN, INTEGER, NUMBER, TEXT, Entry
from emotion_qwen.export.layout import SHAPES, WIDE, Layout, survey
from emotion_qwen.export.names import read_names
from emotion_qwen.export.run import ExportTarget, export_reports
from emotion_qwen.export.tables import TABLE_NAMES, report_tables
from emotion_qwen.extras import optional

if TYPE_CHECKING:
    from pandas import DataFrame

EXTRA = "notebook"
_TYPES: Mapping[str, str] = {TEXT: "object", INTEGER: "Int64", NUMBER: "float64", BOOLEAN: "boolean"}
"""Type of a column -> type of pandas that can have missing values."""


def to_frame(
    reports: Entry | Iterable[Entry],
    table: str = "clips",
    *,
    shape: str = WIDE,
    names: str | os.PathLike[str] | None = None,
    baseline: float | None = None,
) -> DataFrame:
    """Return one table of reports as a pandas data frame, with the columns of `emotion-qwen export`.

    Args:
        reports: one report or several, with failed clips among them, as `EmotionQwen.analyze_many` yields them.
        table: one of `export.tables.TABLE_NAMES`. A failed clip has a row in "clips" only, with its `error`.
        shape: "wide" has a column per label, "long" a row per label.
        names: CSV file with the columns file, person and name.
        baseline: seconds at the beginning of each person's track whose mean is subtracted in additional columns.

    Raises:
        DataError: the file of names cannot be used.
        MissingPackage: pandas is not installed.
        SettingsError: there is no such table or shape.
    """
    if table not in TABLE_NAMES:
        raise SettingsError(unknown_choice("table", table, TABLE_NAMES))
    entries = _entries(reports)
    layout, pandas = _layout(entries, shape, names, baseline), optional("pandas", EXTRA)
    chosen = next(made for made in report_tables(layout) if made.name == table)
    rows = [values for entry in entries for values in chosen.values(entry)]
    columns: list[Any] = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in chosen.columns]
    series = zip(chosen.columns, columns, strict=True)
    return pandas.DataFrame({c.name: pandas.Series(values, dtype=_TYPES[c.type]) for c, values in series})


def save_reports(
    reports: Entry | Iterable[Entry],
    path: str | os.PathLike[str],
    tables: Sequence[str] = (),
    *,
    shape: str = WIDE,
    names: str | os.PathLike[str] | None = None,
    baseline: float | None = None,
) -> list[Path]:
    """Save tables of reports as `emotion-qwen export` does, in the format of the suffix.

    Args:
        reports: as in `to_frame`.
        path: `.xlsx` (all tables), `.csv`, `.parquet` or `.json` (one table), `.eaf`, `.TextGrid`, `.srt` or `.vtt`
            (one clip), or a folder for a CSV file per table.
        tables: names of the tables; none means all, or "clips" in a file with a single table.
        shape: as in `to_frame`; `names` and `baseline` likewise.

    Returns:
        The written files; the data dictionary is among them.

    Raises:
        DataError: there is no report, or none with a time for tiers or subtitles.
        MissingPackage: for the format.
        SettingsError: suffix, tables and shape do not fit together.
        StorageError: a file cannot be written.
    """
    target, entries = ExportTarget.of(Path(path), tables=tables), _entries(reports)
    return export_reports(entries, _layout(entries, shape, names, baseline), target).files


def _entries(reports: Entry | Iterable[Entry]) -> list[Entry]:
    return list(reports) if isinstance(reports, Iterable) else [reports]


def _layout(
    entries: Sequence[Entry], shape: str, names: str | os.PathLike[str] | None, baseline: float | None
) -> Layout:
    if shape not in SHAPES:
        raise SettingsError(unknown_choice("shape", shape, SHAPES))
    return survey(entries, shape, None if names is None else read_names(Path(names)), baseline)
