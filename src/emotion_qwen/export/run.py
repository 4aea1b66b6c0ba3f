"""Export reports to files: choose the files, write tables of all reports together, or a file per clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emotion_qwen.errors import DataError, SettingsError, listed, unknown_choice
from emotion_qwen.export.captions import KINDS, SRT, VTT, write_captions
from emotion_qwen.export.columns import DICTIONARY, Entry
from emotion_qwen.export.elan import write_eaf
from emotion_qwen.export.layout import Layout
from emotion_qwen.export.praat import write_textgrid
from emotion_qwen.export.reports import FailedClip
from emotion_qwen.export.tables import TABLE_NAMES, report_tables
from emotion_qwen.export.tiers import clip_end, report_tiers
from emotion_qwen.export.writers import CSV, EXTRA, JSON, PARQUET, TABLE_FORMATS, XLSX, table_files
from emotion_qwen.extras import optional
from emotion_qwen.records import EmotionReport
from emotion_qwen.views.outputs import check_outputs, view_names

EAF, TEXTGRID = "eaf", "textgrid"
SUFFIXES = {
    CSV: ".csv", XLSX: ".xlsx", PARQUET: ".parquet", JSON: ".json", EAF: ".eaf", TEXTGRID: ".TextGrid", SRT: ".srt",
    VTT: ".vtt",
}  # fmt: skip
"""Format -> suffix of its files."""
FORMATS = tuple(SUFFIXES)
WORKBOOK = "reports.xlsx"
"""Name of the workbook in a folder."""
NEEDS = {PARQUET: "pyarrow.parquet", XLSX: "openpyxl", EAF: "pympi.Elan", TEXTGRID: "praatio.textgrid"}
"""Format -> module of an optional package that writes it."""
_FORMAT_OF = {suffix.lower(): form for form, suffix in SUFFIXES.items()}


@dataclass(frozen=True)
class ExportTarget:
    """Destination of an export.

    Attributes:
        path: file or folder.
        form: of `FORMATS`.
        single: whether the path is a file.
        tables: names of the tables; for subtitles, "episodes", "words" or both; empty for tiers.
    """

    path: Path
    form: str
    single: bool
    tables: tuple[str, ...]

    @classmethod
    def of(cls, path: Path, form: str | None = None, tables: Sequence[str] = ()) -> ExportTarget:
        """Choose format and tables.

        Args:
            path: a file if its suffix is that of the format, else a folder.
            form: of `FORMATS`; None takes it from the suffix, and CSV for a folder.
            tables: of `TABLE_NAMES`; none means all, or `clips` in a file that contains a single table.

        Raises:
            MissingPackage: for the format.
            SettingsError: format, suffix and tables do not fit together.
        """
        named = None if path.is_dir() else _FORMAT_OF.get(path.suffix.lower())
        if form is None and named is None and path.suffix and not path.is_dir():
            raise SettingsError(
                f"{str(path)!r}: no format has the suffix {path.suffix!r}; expected {' '.join(SUFFIXES.values())}, "
                "a folder, or --format with a folder"
            )
        if form is not None and named not in (form, None):
            raise SettingsError(f"{str(path)!r} has the suffix of {named}, but --format is {form}; leave one out")
        chosen = form or named or CSV
        if chosen in NEEDS:
            optional(NEEDS[chosen], EXTRA)  # fail now rather than after hours of analysis
        if unknown := [name for name in tables if name not in TABLE_NAMES]:
            raise SettingsError(unknown_choice("table", unknown[0], TABLE_NAMES))
        return cls(path, chosen, named is not None, _tables(chosen, named is not None, tuple(dict.fromkeys(tables))))

    @property
    def per_clip(self) -> bool:
        """Whether the format has a file per clip."""
        return self.form not in TABLE_FORMATS

    def table_paths(self) -> dict[str, Path]:
        """Return the file of each table, and of the data dictionary next to them."""
        if self.form == XLSX:
            return dict.fromkeys(self.tables, self.path if self.single else self.path / WORKBOOK)
        if self.single:
            beside = self.path.with_name(f"{self.path.stem}_{DICTIONARY}.csv")
            return {self.tables[0]: self.path, DICTIONARY: beside}
        paths = {name: self.path / f"{name}{SUFFIXES[self.form]}" for name in self.tables}
        return {**paths, DICTIONARY: self.path / f"{DICTIONARY}.csv"}

    def clip_paths(self, sources: Sequence[str]) -> list[Path]:
        """Return the file of each clip; a clip with several reports has its number of report in the name.

        Raises:
            SettingsError: several clips would be written to a single file.
        """
        if self.single and len(sources) > 1:
            raise SettingsError(f"{str(self.path)!r} is one file, but there are {len(sources)} clips; give a folder")
        if self.single:
            return [self.path]
        names = view_names([Path(source) for source in dict.fromkeys(sources)])
        seen: Counter[str] = Counter()
        paths = []
        for source in sources:
            seen[source] += 1
            number = "" if seen[source] == 1 else f"-{seen[source]}"
            paths.append(self.path / f"{names[Path(source)]}{number}{SUFFIXES[self.form]}")
        return paths


@dataclass
class Exported:
    """The result of an export.

    Attributes:
        files: that were written.
        clips: number of reports.
        failed: number of clips that could not be analyzed; tables say so in `clips`, tiers leave them out.
        timeless: clips without any span, such as pictures, which have no file of tiers or subtitles.
        notes: for the user.
    """

    files: list[Path] = field(default_factory=list)
    clips: int = 0
    failed: int = 0
    timeless: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def export_reports(
    entries: Iterable[Entry], layout: Layout, target: ExportTarget, inputs: Sequence[Path] = ()
) -> Exported:
    """Write reports in one of the formats.

    Args:
        entries: reports and failures, the same as in the survey of the layout; read once.
        layout: from `layout.survey`.
        target: the destination.
        inputs: files that must not be overwritten.

    Raises:
        DataError: there is no report, or none with a span for tiers or subtitles.
        MissingPackage: for the format.
        SettingsError: an input would be overwritten, or several clips would be written to one file.
        StorageError: a file cannot be written.
    """
    if not layout.sources:
        raise DataError("there is no report; expected at least one")
    done = Exported()
    if repeated := [source for source, count in Counter(layout.sources).items() if count > 1]:
        done.notes.append(f"several reports of one clip: {listed(map(repr, repeated), 3)}; each has its rows or file")
    (_write_per_clip if target.per_clip else _write_tables)(entries, layout, target, inputs, done)
    if layout.names is not None and (unused := layout.names.unused):
        people = listed((f"person {number} of {file!r}" for file, number in unused), 3)
        done.notes.append(f"{layout.names.source}: no report has {people}")
    return done


def _write_tables(
    entries: Iterable[Entry], layout: Layout, target: ExportTarget, inputs: Sequence[Path], done: Exported
) -> None:
    paths = target.table_paths()
    done.files = list(dict.fromkeys(paths.values()))
    check_outputs({"to": done.files}, inputs)
    tables = [table for table in report_tables(layout) if table.name in target.tables]
    with table_files(paths, target.form, tables) as add:
        for entry in entries:
            add(entry)
            _count(entry, done)


def _write_per_clip(
    entries: Iterable[Entry], layout: Layout, target: ExportTarget, inputs: Sequence[Path], done: Exported
) -> None:
    paths = target.clip_paths(layout.sources)
    check_outputs({"to": paths}, inputs)
    for entry, path in zip(entries, paths, strict=True):
        _count(entry, done)
        if not isinstance(entry, EmotionReport):
            continue
        kinds = tuple(KINDS[name] for name in target.tables)
        tiers = [tier for tier in report_tiers(entry, layout.names) if not kinds or tier.kind in kinds]
        if not tiers:
            done.timeless.append(entry.source)
            continue
        if target.form == EAF:
            write_eaf(path, tiers, entry.source, layout.labels)
        elif target.form == TEXTGRID:
            write_textgrid(path, tiers, clip_end(entry, tiers))
        else:
            write_captions(path, target.form, entry, kinds, layout.names)
        done.files.append(path)
    if not done.files:
        raise DataError(
            f"no report has anything with a time, such as an episode or words (the first is of {layout.sources[0]!r}); "
            "export pictures as tables: --format csv"
        )


def _count(entry: Entry, done: Exported) -> None:
    done.failed += isinstance(entry, FailedClip)
    done.clips += not isinstance(entry, FailedClip)


def _tables(form: str, single: bool, tables: tuple[str, ...]) -> tuple[str, ...]:
    """Return the tables to write.

    Raises:
        SettingsError: they do not fit the format, or a single file.
    """
    if form in (EAF, TEXTGRID):
        if tables:
            raise SettingsError(f"--tables {','.join(tables)}: {form} files hold tiers, not tables; leave --tables out")
        return ()
    if form in (SRT, VTT):
        if wrong := [name for name in tables if name not in KINDS]:
            raise SettingsError(f"--tables {wrong[0]}: subtitles are made of {' or '.join(KINDS)}; choose of these")
        return tables or ("episodes",)
    if single and form != XLSX:
        if len(tables) > 1:
            raise SettingsError(f"--tables {','.join(tables)}: a {form} file holds one table; give a folder, or .xlsx")
        return tables or ("clips",)
    return tables or TABLE_NAMES
