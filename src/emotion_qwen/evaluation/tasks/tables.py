"""The base reader of sets whose labels are rows of a table: which file, which columns, and where the media are.

A set is a `TableLayout`; a reader with a rule of its own overrides `LabelledTable.label_of`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter

from emotion_qwen.evaluation.tasks.clips import LABEL, MULTI, POLARITY, VALUES, Labelled, LabelledFiles
from emotion_qwen.evaluation.tasks.files import VIDEOS, Media, ReadRows, finite, needed, read_csv, read_utf8
from emotion_qwen.files import is_hidden

Row = Mapping[str, str]


@dataclass(frozen=True)
class TableLayout:
    """One set in its owners' layout. Templates are filled with the cells of a row, such as "{video_id}/{clip_id}".

    Attributes:
        files: split -> patterns of the table, of which the first that matches is read.
        name: template of an item's id.
        published: split -> published number of rows.
        label: column of the label; empty for none.
        labels: label as written, in lower case -> label of the set; empty if they are the same.
        values: columns of numbers.
        words: language -> column of spoken words, or of the text.
        words_file: table with the words, for sets that keep them separately; its column `name` contains the ids.
        where: split -> column and value of the rows that belong to it; empty for all rows.
        person: template of the person or video; the bootstrap draws its items together.
        media: template of the name of the file; empty for sets of texts.
        endings: what may follow the name of a file, the preferred first.
        depth: see `files.Media`.
        places: split -> folders in which the media are looked for; if none exists, the whole folder.
        suffixes: of the media.
        head: names of the columns of a table without a header.
        delimiter: between cells.
        missing_value: number that means that there is none.
    """

    files: Mapping[str, tuple[str, ...]]
    name: str = "{name}"
    published: Mapping[str, int] = field(default_factory=dict)
    label: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    values: tuple[str, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)
    words_file: str = ""
    where: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    person: str = ""
    media: str = "{name}"
    endings: tuple[str, ...] = ("",)
    depth: int = 0
    places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    suffixes: frozenset[str] = VIDEOS
    head: tuple[str, ...] = ()
    delimiter: str = ","
    missing_value: float | None = None

    def columns(self) -> list[str]:
        """Return the columns that the table must have."""
        words = [] if self.words_file else list(self.words.values())
        where = [column for column, _ in self.where.values()]
        filled = [*self.name_columns(), *_fields(self.person), *_fields(self.media)]
        return list(dict.fromkeys(name for name in (*filled, self.label, *self.values, *words, *where) if name))

    def name_columns(self) -> list[str]:
        """Return the columns that make the id of an item."""
        return _fields(self.name)


@dataclass(frozen=True)
class LabelledTable(LabelledFiles):
    """Items of one table."""

    layout: TableLayout = field(default_factory=lambda: TableLayout({}))

    def label_of(self, row: Row) -> tuple[str, str]:
        """Return the label of a row, and why it has none (else "")."""
        layout = self.layout
        if not layout.label:
            return "", ""
        written = row[layout.label].strip().lower()
        label = layout.labels.get(written, "" if layout.labels else written)
        known = self.labels.labels if self.set_name else ()
        if known and label not in known:
            return "", f"label outside the {len(known)}"
        return label, "" if label else "no label"

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table, layout = ReadRows(), self.layout
        path = needed(home, *(f"**/{pattern}" for pattern in layout.files[split]))[0]
        rows = self._rows(path, split)
        if split in layout.published:
            table.expect(f"rows of {path.name}, {split}", len(rows), layout.published[split])
        spoken = self._words(table, path, language)
        wanted: dict[str, str] = {}
        for row in rows:
            name = layout.name.format_map(row).strip() if all(row[key].strip() for key in layout.name_columns()) else ""
            label, why = self.label_of(row)
            values, fault = self._values(row)
            why = why or fault
            if not name or why:
                written = row.get(layout.label, "") or ", ".join(row.get(column, "") for column in layout.values)
                table.fault(why or "no name", f"{name or 'unnamed'} ({written.strip() or 'empty'})")
                continue
            words = spoken.get(name, "") if layout.words_file else row.get(layout.words.get(language, ""), "")
            words = "" if words.strip().lower() == "nan" else words.strip()
            group = label if self.form == LABEL else ""
            if name not in table.rows:
                wanted[name] = layout.media.format_map(row).strip()
            person = layout.person.format_map(row) if layout.person else ""
            table.add(name, Labelled(None if not layout.media else home, label, group, person, (), words, values))
        if layout.media:
            self._put_media(table, home, split, wanted)
        return table

    def _rows(self, path: Path, split: str) -> list[dict[str, str]]:
        layout = self.layout
        if layout.head:
            lines = csv.reader(io.StringIO(read_utf8(path), newline=""), delimiter=layout.delimiter)
            rows = [dict(zip(layout.head, [*line, *[""] * len(layout.head)], strict=False)) for line in lines if line]
        else:
            rows = read_csv(path, layout.columns(), layout.delimiter)
        column, value = layout.where.get(split, ("", ""))
        return [row for row in rows if not column or row[column].strip().startswith(value)]

    def _values(self, row: Row) -> tuple[tuple[str, ...], str]:
        if self.form not in (VALUES, POLARITY, MULTI):
            return (), ""
        written = tuple(row[column].strip() for column in self.layout.values)
        try:
            numbers = [finite(value) for value in written]
        except ValueError:
            return (), "no number"
        if self.layout.missing_value in numbers:
            return (), "no number"
        return written, ""

    def _words(self, table: ReadRows, path: Path, language: str) -> dict[str, str]:
        layout = self.layout
        if not layout.words_file:
            return {}
        file = path.parent / layout.words_file
        column = layout.words[language]
        if not file.is_file():
            table.say("missing", f"no {layout.words_file}; clips are asked about without words")
            return {}
        return {row["name"].strip(): row[column] for row in read_csv(file, ("name", column))}

    def _put_media(self, table: ReadRows, home: Path, split: str, wanted: Mapping[str, str]) -> None:
        layout = self.layout
        named = [path for name in layout.places.get(split, ()) for path in home.glob(f"**/{name}")]
        places = [path for path in named if path.is_dir() and not is_hidden(path, home)]
        media = Media(places[0] if places else home, layout.suffixes, layout.depth)
        written = {name: self._written(media, wanted[name]) for name in table.rows}
        paths = table.find("files", media, written.values())
        for name, row in table.rows.items():
            expected = home / f"{wanted[name]}"
            if expected.suffix.lower() not in layout.suffixes:
                expected = expected.with_name(f"{expected.name}{_usual(layout.suffixes)}")
            table.rows[name] = row._replace(path=paths.get(written[name], expected))

    def _written(self, media: Media, name: str) -> str:
        """Return the name of a file as it exists, with one of the endings."""
        bare = name.removesuffix(Path(name).suffix) if Path(name).suffix.lower() in self.layout.suffixes else name
        return next((f"{bare}{end}" for end in self.layout.endings if media.get(f"{bare}{end}")), name)


def _fields(template: str) -> list[str]:
    return [name for _, name, _, _ in Formatter().parse(template) if name]


def _usual(suffixes: frozenset[str]) -> str:
    return next(suffix for suffix in (".mp4", ".jpg", ".wav", *sorted(suffixes)) if suffix in suffixes)
