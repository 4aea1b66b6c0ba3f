"""The command `export`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from emotion_qwen.errors import listed
from emotion_qwen.export.layout import SHAPES, WIDE, survey
from emotion_qwen.export.names import read_names
from emotion_qwen.export.reports import ReportFiles
from emotion_qwen.export.run import FORMATS, ExportTarget, export_reports

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("reports", nargs=-1, required=True, type=_PATH, metavar="REPORTS...")
@click.option("--to", "to", type=_PATH, required=True, help="Folder, or a file such as study.xlsx or clips.csv.")
@click.option("--format", "form", type=click.Choice(FORMATS), default=None, help="Default: by the suffix; folder: csv.")
@click.option("--tables", default="", help="Names of tables, separated by commas; default: all, clips for one file.")
@click.option("--shape", type=click.Choice(SHAPES), default=WIDE, show_default=True, help="Of the shares.")
@click.option("--names", type=_PATH, default=None, help="CSV file with columns file, person, name: names of people.")
@click.option(
    "--baseline", type=click.FloatRange(0, min_open=True), default=None, metavar="SECONDS",
    help="Add differences to each person's mean over their first SECONDS.",
)  # fmt: skip
def export(
    reports: Sequence[Path],
    to: Path,
    form: str | None,
    tables: str,
    shape: str,
    names: Path | None,
    baseline: float | None,
) -> None:
    """Export stored reports to Excel, R, SPSS, ELAN, Praat or subtitles.

    REPORTS: files that `analyze --json` or `--output` wrote, or folders with such files. csv, xlsx, parquet and json
    hold tables of all clips, with a data dictionary; eaf, textgrid, srt and vtt are one file per clip. In the shape
    wide each label has a column, in long a row.
    """
    target = ExportTarget.of(to, form, [name.strip() for name in tables.split(",") if name.strip()])
    entries = ReportFiles(reports)
    layout = survey(entries, shape, read_names(names) if names else None, baseline)
    done = export_reports(entries, layout, target, entries.files)
    notes = [
        *done.notes,
        *(f"{str(path)!r}: the last line is incomplete and was left out" for path in entries.incomplete),
    ]
    if done.timeless:
        notes.append(f"nothing with a time, so no file: {listed(map(repr, done.timeless), 3)}")
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    written = (
        str(done.files[0]) if len(done.files) == 1 else f"{len(done.files)} files in {to if to.is_dir() else to.parent}"
    )
    print(f"{done.clips} reports exported, {done.failed} clips had failed: {written}", file=sys.stderr)
