"""Tables of a build on disk: a journal that grows item by item, and the Parquet file made of it when a step is done.

A journal line holds one item with all its rows, so a stop costs at most the items at work. A line that was half written
is cut off when the table is opened again. The Parquet file and the marker that says "done" are written whole or not at
all; rows stand in the order of the items, whoever finished first.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from emotion_qwen.errors import DataError, MissingPackage

Row = dict[str, Any]
BATCH = 512
"""Rows in memory at once."""
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DRAFT = re.compile(r"\..+\.[0-9]+(?:\.[0-9]+)?(?:\.mp4)?")  # hidden, and named by the process that wrote it
_TYPES = {"text": "string", "number": "float64", "count": "int64", "flag": "bool_"}


class Postponed(DataError):
    """An item that could not be done now and stays open, for the next run."""


def is_full(error: BaseException) -> bool:
    """Say whether an error means that the disk takes no more."""
    return getattr(error, "errno", None) in NO_SPACE


def arrow(module: str = "pyarrow") -> ModuleType:
    """Import pyarrow, or a module of it.

    Raises:
        MissingPackage: it is not installed.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingPackage(
            "package 'pyarrow' is not installed; building a set needs it: pip install 'emotion-qwen[ver]'"
        ) from error


def digest(value: Any) -> str:
    """Hash a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, even after a power cut.

    Raises:
        OSError: as the system says.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{id(data)}")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a build's folder for this process alone, and remove what a killed one left half written there.

    Raises:
        DataError: another build is at work there, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "work" / "lock", timeout=0):
            for path in folder.rglob(".*"):
                if _DRAFT.fullmatch(path.name) and path.is_file():
                    path.unlink(missing_ok=True)
            yield
    except Timeout as error:
        raise DataError(f"another build is at work in {str(folder)!r}; wait for its end, or end it") from error


def mend(path: Path) -> None:
    """Cut a half-written last line off a file of lines, so that lines can be appended."""
    if path.is_file() and path.stat().st_size:
        with path.open("rb+") as file:
            file.seek(max(0, path.stat().st_size - 65536))
            start, tail = file.tell(), file.read()
            if not tail.endswith(b"\n"):
                file.truncate(start + tail.rfind(b"\n") + 1)


def append_line(path: Path, entry: dict[str, Any]) -> None:
    """Append a JSON line to a file of lines; a line that finds no room is taken back.

    Raises:
        DataError: it cannot be written.
    """
    before = path.stat().st_size if path.is_file() else 0
    try:
        with path.open("ab") as file:
            file.write(json.dumps(entry, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
    except OSError as error:
        with suppress(OSError):
            os.truncate(path, before)
        raise DataError(f"{str(path)!r} cannot be written ({error.strerror}); free space and run again") from error


def whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a file of lines, none if it is missing; a last line that was half written is no entry."""
    if path.is_file():
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield json.loads(line)


class Table:
    """The rows of one step.

    Args:
        folder: of the build's tables.
        name: of the step.
        columns: name -> "text", "number", "count" or "flag"; every column may be empty.
        given: what decides over the rows besides the items: a digest of this step's settings and of those before.
    """

    def __init__(self, folder: Path, name: str, columns: dict[str, str], given: str) -> None:
        self.name, self.columns, self.given = name, columns, given
        self.path, self.marker = folder / f"{name}.parquet", folder / f"{name}.done"
        self.journal = folder / f"{name}.jsonl"
        self._file: BinaryIO | None = None

    def is_done(self, keys: str) -> bool:
        """Say whether the table is whole for the items whose digest is `keys`.

        Raises:
            DataError: it was made with other settings.
        """
        if not self.marker.is_file() or not self.path.is_file():
            return False
        marker = json.loads(self.marker.read_text(encoding="utf-8"))
        self._check_given(marker.get("given"))
        return marker.get("keys") == keys

    def open(self) -> set[str]:
        """Open the journal for writing and return the keys of the items it holds.

        Raises:
            DataError: it was made with other settings, is damaged, or cannot be written.
        """
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        found = {key for key, _, _ in self._entries()}
        whole = self._whole_size()
        if self.journal.exists() and self.journal.stat().st_size > whole:
            os.truncate(self.journal, whole)  # the line at which the last run was stopped
        self._file = self.journal.open("ab")
        if not whole:
            self._write({"given": self.given})
        return found

    def known(self) -> Iterator[tuple[str, list[Row]]]:
        """Yield (key, rows) of the items in the journal, one in memory at a time."""
        places = [(key, start, length) for key, start, length in self._entries()]
        if places:
            with self.journal.open("rb") as file:
                for key, start, length in places:
                    file.seek(start)
                    yield key, json.loads(file.read(length))["rows"]

    def append(self, key: str, rows: list[Row]) -> None:
        """Keep the rows of one finished item.

        Raises:
            DataError: the disk takes no more; what was kept before is whole.
        """
        self._write({"key": key, "rows": rows})

    def close(self) -> None:
        """Close the journal."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def finish(self, keys: Iterable[str]) -> int:
        """Write the Parquet file, rows in the order of `keys`, then the marker; return the number of rows.

        Raises:
            DataError: an item is missing, or the disk takes no more.
        """
        self.close()
        places = {key: (start, length) for key, start, length in self._entries()}
        names = list(keys)
        pyarrow, parquet = arrow(), arrow("pyarrow.parquet")
        schema = pyarrow.schema([(name, getattr(pyarrow, _TYPES[kind])()) for name, kind in self.columns.items()])
        draft, count = self.path.with_name(f".{self.path.name}.{os.getpid()}"), 0
        try:
            with parquet.ParquetWriter(draft, schema) as writer:
                for batch in _batches(self._in_order(names, places)):
                    writer.write_table(pyarrow.Table.from_pylist(batch, schema=schema))
                    count += len(batch)
            with draft.open("rb+") as file:
                os.fsync(file.fileno())  # the marker must not be on disk before the table
            draft.replace(self.path)
            marker = {"given": self.given, "keys": digest(names), "items": len(names), "rows": count}
            write_whole(self.marker, (json.dumps(marker) + "\n").encode())
        except OSError as error:
            raise DataError(
                f"{str(self.path)!r} cannot be written ({error.strerror}); free space and run again"
            ) from error
        finally:
            draft.unlink(missing_ok=True)
        return count

    def rows(self) -> Iterator[Row]:
        """Yield the rows of the finished table, a batch in memory at a time.

        Raises:
            DataError: the step is not done.
        """
        yield from read_rows(self.path)

    def _in_order(self, keys: list[str], places: dict[str, tuple[int, int]]) -> Iterator[Row]:
        with self.journal.open("rb") as file:
            for key in keys:
                if key not in places:
                    raise DataError(f"{str(self.journal)!r}: item {key!r} is missing; run the build again")
                file.seek(places[key][0])
                for row in json.loads(file.read(places[key][1]))["rows"]:
                    yield {name: row.get(name) for name in self.columns}

    def _write(self, entry: dict[str, Any]) -> None:
        assert self._file is not None  # opened before
        line = json.dumps(entry, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        before = self.journal.stat().st_size
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            self.close()
            os.truncate(self.journal, before)
            raise DataError(
                f"{str(self.journal)!r} cannot be written ({error.strerror}); free space and run again, "
                "finished items are kept"
            ) from error

    def _entries(self) -> Iterator[tuple[str, int, int]]:
        """Yield (key, place, length) of the whole lines, the header left out."""
        if not self.journal.is_file():
            return
        place = 0
        with self.journal.open("rb") as file:
            for number, line in enumerate(file):
                if not line.endswith(b"\n"):
                    return
                try:
                    entry = json.loads(line)
                    if number == 0:
                        self._check_given(entry["given"])
                    else:
                        yield entry["key"], place, len(line)
                except (ValueError, KeyError, TypeError) as error:
                    raise DataError(
                        f"{str(self.journal)!r}, line {number + 1}: no item ({error}); remove the line, or the file "
                        "to do the step again"
                    ) from error
                place += len(line)

    def _whole_size(self) -> int:
        if not self.journal.is_file():
            return 0
        size = 0
        with self.journal.open("rb") as file:
            for line in file:
                size += len(line) if line.endswith(b"\n") else 0
        return size

    def _check_given(self, found: str | None) -> None:
        if found != self.given:
            raise DataError(
                f"step {self.name!r} in {str(self.path.parent)!r} was done with other settings; give another output "
                f"folder, or remove {self.path.stem}.* and the files of the steps after it there"
            )


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a Parquet file, a batch in memory at a time.

    Raises:
        DataError: it is missing or damaged.
    """
    if not path.is_file():
        raise DataError(f"table {str(path)!r} does not exist; run emotion-qwen ver build to its end first")
    pyarrow, parquet = arrow(), arrow("pyarrow.parquet")
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH):
                yield from batch.to_pylist()
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise DataError(f"table {str(path)!r} cannot be read ({error}); remove it and run the build again") from error


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
