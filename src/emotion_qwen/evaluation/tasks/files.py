"""Shared code for benchmark readers: locating files, reading tables, and reporting and leaving out faulty rows.

A source reads what it can. An unusable row is left out and named in a finding; an item whose clip or picture is missing
stays, because it belongs to the benchmark. Media are not decoded here.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emotion_qwen.errors import DataError, listed
from emotion_qwen.evaluation.run.stored import Stored
from emotion_qwen.evaluation.task import OURS, Item, TaskFinding, evenly
from emotion_qwen.extras import optional
from emotion_qwen.files import files_below, is_hidden

NAMED = 5
"""Maximum number of names in a message; the others are counted."""
VIDEOS = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".flv", ".mpg", ".mpeg", ".wmv"})
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
SOUNDS = frozenset({".wav", ".flac", ".mp3", ".m4a", ".ogg"})


@dataclass
class ReadRows:
    """The output of a reader: usable rows by id, in order, and its findings."""

    rows: dict[str, Any] = field(default_factory=dict)
    findings: list[TaskFinding] = field(default_factory=list)
    _faults: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, row: Any) -> None:
        """Add a row, or leave it out if it has no id or one that is already present."""
        if not name.strip():
            self.fault("no id", "unnamed")
        elif name in self.rows:
            self.fault("duplicate id", name)
        else:
            self.rows[name] = row

    def fault(self, what: str, name: str) -> None:
        """Leave a row out, and record the reason."""
        self._faults.setdefault(what, []).append(" ".join(name.splitlines()))  # a cell may have several lines

    def say(self, kind: Any, text: str) -> None:
        """Add a finding."""
        self.findings.append(TaskFinding(kind, " ".join(text.splitlines())))

    def all_findings(self) -> list[TaskFinding]:
        """Return all findings, with the faults of one kind in one line."""
        faults = [
            TaskFinding("fault", f"{len(names)} row(s) left out, {what}: {listed(names, NAMED)}")
            for what, names in self._faults.items()
        ]
        return [*self.findings, *faults]

    def expect(self, what: str, count: int, published: int, remark: str = "") -> None:
        """Compare a count with the published one; `remark`, such as its source, is appended."""
        if count != published:
            self.say("differs", f"{what}: {count}, published {published}" + (f" ({remark})" if remark else ""))

    def expect_media(self, what: str, missing: Sequence[str], count: int) -> None:
        """Report missing files; their items stay and will have no answer."""
        if missing:
            self.say("missing", f"{len(missing)} of {count} {what} are missing: {listed(missing, NAMED)}")

    def find(self, what: str, media: Media, names: Iterable[str]) -> dict[str, Path]:
        """Return the files by name, and report missing and ambiguous ones."""
        wanted = list(dict.fromkeys(names))
        paths = {name: path for name in wanted if (path := media.get(name)) is not None}
        self.expect_media(what, [name for name in wanted if name not in paths], len(wanted))
        double = [name for name in wanted if media.several(name)]
        if double:
            text = f"{len(double)} {what} exist more than once; the first is taken, for example {paths[double[0]]}"
            self.say("note", text)
        return paths


@dataclass(frozen=True)
class BenchmarkReader(ABC):
    """Base class of all benchmark sources: `read` a folder, make an `item` of each row.

    Attributes:
        folders: names of subfolders of the data folder in which the task is looked for; if none exists, the data folder
            itself.
        prompt: the wording, see `Task.prompts`.
    """

    folders: tuple[str, ...]
    prompt: str = OURS

    @abstractmethod
    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """Read the rows of one split, with texts in the given language if there are several.

        Raises:
            DataError: a required file is missing or is not of the type that its name suggests.
        """

    @abstractmethod
    def item(self, name: str, row: Any, language: str) -> Item:
        """Make the item of a row."""

    def together(self, name: str, row: Any) -> str:
        """Return the name of the unit that a limit keeps or drops as a whole; by default, the row itself."""
        return name

    def home(self, data: Path | None) -> Path:
        """Return the task's folder.

        Raises:
            DataError: no folder was given, or it does not exist.
        """
        if data is None:
            what = " or ".join(self.folders) or "one folder per label"
            raise DataError(f"no data folder given; pass the folder that holds {what} with --data")
        if not data.is_dir():
            raise DataError(f"data folder {str(data)!r} does not exist; give the folder that holds the files")
        return next((data / name for name in self.folders if (data / name).is_dir()), data)

    def check(self, data: Path | None) -> None:
        """See `Source`."""
        self.home(data)

    def findings(self, data: Path | None, split: str, languages: Sequence[str]) -> list[TaskFinding]:
        """See `Task.check`."""
        findings: dict[TaskFinding, None] = {}
        for language in languages:
            table = self.read(self.home(data), split, language)
            if not table.rows:
                table.say("missing", f"{str(self.home(data))!r}: no usable row; give the files of this set")
            findings.update(dict.fromkeys(table.all_findings()))
        return list(findings)

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """See `Source`; pictures and clips are not resized."""
        items = []
        for language in languages:
            table = self.read(self.home(data), split, language)
            if not table.rows:
                why = (
                    "; ".join(finding.text for finding in table.all_findings() if finding.kind == "fault")
                    or "there are none"
                )
                raise DataError(f"{str(self.home(data))!r}: no usable row ({why}); give the files of this set")
            units: dict[str, list[str]] = {}
            for name, row in table.rows.items():
                units.setdefault(self.together(name, row), []).append(name)
            kept = list(units.values())
            names = [name for place in evenly(len(kept), limit) for name in kept[place]]
            items += [self.item(name, table.rows[name], language) for name in names]
        return items


def needed(home: Path, *patterns: str) -> list[Path]:
    """Return the files that match the first pattern with any match, sorted by name.

    Names that many sets use, such as `test-*.parquet`, should be searched for only in the folder itself and in `data`,
    because neighbouring folders may belong to other sets.

    Raises:
        DataError: no pattern matches.
    """
    for pattern in patterns:
        paths = sorted(path for path in home.glob(pattern) if path.is_file() and not is_hidden(path, home))
        if paths:
            return paths
    raise DataError(f"{str(home)!r} holds no {' or '.join(patterns)}; give the folder as published by its owners")


def read_utf8(path: Path) -> str:
    """Read a UTF-8 text file.

    Raises:
        DataError: it cannot be read, or is in another encoding.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected a UTF-8 text file") from error


def read_csv(
    path: Path, columns: Sequence[str], delimiter: str = ",", aliases: Mapping[str, str] | None = None
) -> list[dict[str, str]]:
    """Read a table with a header; further columns are allowed.

    Args:
        path: of the table.
        columns: required columns.
        delimiter: between cells.
        aliases: other names of a column -> the name used here.

    Raises:
        DataError: the file cannot be read, or a column is missing.
    """
    csv.field_size_limit(1 << 30)  # a field may hold a whole picture in base64
    reader = csv.DictReader(io.StringIO(read_utf8(path), newline=""), delimiter=delimiter)
    head = list(reader.fieldnames or ())
    reader.fieldnames = [(aliases or {}).get(name, name) for name in head]
    missing = [column for column in columns if column not in reader.fieldnames]
    if missing:
        raise DataError(f"{path}: has the columns {head}; expected also {', '.join(missing)}")
    return [{key: value or "" for key, value in row.items() if isinstance(key, str)} for row in reader]


def read_json_file(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); fetch it again") from error


def json_rows(path: Path, start: int = 1) -> Iterator[tuple[int, Any]]:
    """Yield the entries of a JSON list, an object of entries, or JSON lines, with their numbers from `start`.

    Raises:
        DataError: the file is none of these.
    """
    if path.suffix == ".jsonl":
        for number, line in enumerate(read_utf8(path).split("\n"), start):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except ValueError as error:
                    raise DataError(f"{path}, line {number}: not JSON ({error}); fetch the file again") from error
        return
    data = read_json_file(path)
    rows = list(data.values()) if isinstance(data, dict) else data
    if not isinstance(rows, list):
        raise DataError(f"{path}: contains {type(data).__name__}; expected a list or an object of entries")
    yield from enumerate(rows, start)


def cell_text(value: Any) -> str:
    """Return the text of a cell; empty for none, and for the "nan" that pandas writes."""
    text = "" if value is None else str(value).strip()
    return "" if text.lower() == "nan" else text


def plain_text(value: Any) -> str:
    """Return the text of a cell as the owners wrote it, blanks included; empty for none."""
    return "" if value is None else str(value)


def cell_texts(value: Any) -> tuple[str, ...]:
    """Return the texts of a cell with a list; empty for anything else, such as one text."""
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


def finite(value: Any) -> float:
    """Return a number of a cell.

    Raises:
        ValueError: it is no number, or none that can be calculated with ("nan", "inf").
    """
    try:
        number = float(value)
    except TypeError as error:
        raise ValueError(f"{value!r} is no number") from error
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not finite")
    return number


def md5(path: Path) -> str:
    """Return the MD5 of a file, which owners publish to identify a version."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


class Media:
    """The media files in a folder and its subfolders, by name without suffix, in order of their paths.

    A number matches whatever its leading zeros: copies of one set use `1.mp4` or `00001.mp4`.

    Args:
        home: the folder.
        suffixes: of the files, in lower case; the files' suffixes may have any case.
        depth: number of folders above a file that belong to its name, for sets in which files of several folders have
            the same name: with 1, `Raw/a/1.mp4` is called `a/1`.
    """

    def __init__(self, home: Path, suffixes: frozenset[str], depth: int = 0) -> None:
        self._suffixes, self._paths = suffixes, dict[str, Path]()
        self._again: set[str] = set()
        for path in files_below(home):
            if path.suffix.lower() in suffixes:
                above = path.parent.parts[len(path.parent.parts) - depth :]
                name = _plain_number("/".join([*above, path.stem]))
                if name in self._paths:
                    self._again.add(name)
                self._paths.setdefault(name, path)

    def get(self, name: str) -> Path | None:
        """Return the first file with a name, which may include the suffix."""
        path = self._paths.get(_plain_number(name))
        short = Path(name)
        bare = name.removesuffix(short.suffix)
        return self.get(bare) if path is None and short.suffix.lower() in self._suffixes else path

    def several(self, name: str) -> bool:
        """Return whether several files have a name."""
        return _plain_number(name) in self._again

    def paths(self) -> list[Path]:
        """Return the first file of every name."""
        return list(self._paths.values())


def _plain_number(name: str) -> str:
    above, sign, last = name.rpartition("/")
    return f"{above}{sign}{int(last)}" if last.isascii() and last.isdigit() else name


def parquet_rows(
    files: Sequence[Path],
    columns: Sequence[str],
    *,
    picture: str = "image",
    presence: bool = False,
    hidden: Sequence[str] = (),
) -> Iterator[tuple[dict[str, Any], Callable[[str], Stored]]]:
    """Yield the rows of Parquet files without their pictures, each with a function that returns the picture under a
    name.

    Args:
        files: in order.
        columns: required columns; all columns but the picture's are yielded.
        picture: column of the pictures.
        hidden: further columns of pictures, which are not read.
        presence: yield in the picture's column whether the row has a picture (bool). This reads all pictures once.

    Raises:
        DataError: a file is not a Parquet file, or a column is missing.
        MissingPackage: pyarrow is not installed.
    """
    parquet, arrow = optional("pyarrow.parquet", "eval"), optional("pyarrow", "eval")
    for path in files:
        try:
            file = parquet.ParquetFile(path)
        except (OSError, arrow.ArrowException) as error:
            raise DataError(f"{path}: cannot be read as Parquet ({error}); fetch it again") from error
        names = file.schema_arrow.names
        missing = [column for column in columns if column not in names]
        if missing:
            raise DataError(f"{path}: has the columns {names}; expected also {', '.join(missing)}")
        kept = [name for name in names if name not in (picture, *hidden) or _is_text(file, name, arrow)]
        for group in range(file.num_row_groups):
            try:
                rows = file.read_row_group(group, columns=kept).to_pylist()
                there = _presence(file.read_row_group(group, columns=[picture])[picture]) if presence else None
            except (OSError, arrow.ArrowException) as error:
                raise DataError(f"{path}, row group {group}: cannot be read ({error}); fetch it again") from error
            for number, row in enumerate(rows):
                if there is not None:
                    row[picture] = there[number]
                yield row, _stored(path, group, number, picture)


def _is_text(file: Any, column: str, arrow: Any) -> bool:
    kind = file.schema_arrow.field(column).type if column in file.schema_arrow.names else None
    return kind is not None and (arrow.types.is_string(kind) or arrow.types.is_large_string(kind))


def _presence(column: Any) -> list[bool]:
    return [bool(cell.get("bytes") if isinstance(cell, dict) else cell) for cell in column.to_pylist()]


def _stored(path: Path, group: int, number: int, picture: str) -> Callable[[str], Stored]:
    def stored(name: str) -> Stored:
        return Stored(path, name or f"{path.stem}.{group}.{number}", number, group, picture)

    return stored


def counted(names: Sequence[str]) -> str:
    """List how often each name occurs, the most frequent first."""
    return ", ".join(f"{name} {count}" for name, count in Counter(names).most_common())
