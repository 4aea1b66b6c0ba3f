"""Tables of a build on disk: a journal that grows item by item, and the Parquet file made from it when a step is done.

A journal line contains one item with all its rows, so an interruption loses at most the items in progress. An
incomplete line is removed when the table is opened again. The Parquet file and the marker of completion are written
atomically; rows are in the order of the items, not of their completion.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from emotion_qwen.errors import DataError
from emotion_qwen.extras import optional
from emotion_qwen.files import append, json_line, read_journal, staged, truncate_partial_line, write_whole
from emotion_qwen.ver.store.columns import TYPES, Row

BATCH = 512
"""Number of rows in memory at the same time."""


class Postponed(DataError):
    """An item that could not be processed now and stays open for the next run."""


def value_digest(value: Any) -> str:
    """Hash a JSON value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def entries_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a JSON Lines file; none if it is missing."""
    for _, line in read_journal(path):
        yield json.loads(line)


class StepTable:
    """The rows of one step.

    Args:
        folder: folder of the build's tables.
        name: name of the step.
        columns: name -> "text", "number", "count" or "flag"; every column may be empty.
        given: what affects the rows besides the items: a digest of the settings of this step and of those before.
    """

    def __init__(self, folder: Path, name: str, columns: dict[str, str], given: str) -> None:
        self.name, self.columns, self.given = name, columns, given
        self.path, self.marker = folder / f"{name}.parquet", folder / f"{name}.done"
        self.journal = folder / f"{name}.jsonl"

    def is_done(self, keys: str) -> bool:
        """Return whether the table is complete for the items whose digest is `keys`.

        Raises:
            DataError: it was made with other settings.
        """
        if not self.marker.is_file() or not self.path.is_file():
            return False
        marker = json.loads(self.marker.read_text(encoding="utf-8"))
        self._check_given(marker.get("given"))
        return marker.get("keys") == keys

    def open(self) -> set[str]:
        """Prepare the journal for appending, and return the keys of the items in it.

        Raises:
            DataError: it was made with other settings, or is damaged.
            StorageError: it cannot be written.
        """
        truncate_partial_line(self.journal)  # the line at which the last run was interrupted
        keys = {key for key, _, _ in self._entries()}
        if not self.journal.exists() or not self.journal.stat().st_size:
            append(self.journal, json_line({"given": self.given}))
        return keys

    def known(self) -> Iterator[tuple[str, list[Row]]]:
        """Yield (key, rows) of the items in the journal, one in memory at a time."""
        yield from self._read(list(self._entries()))

    def append(self, key: str, rows: list[Row]) -> None:
        """Store the rows of one finished item.

        Raises:
            StorageError: the disk is full; earlier rows are complete.
        """
        append(self.journal, json_line({"key": key, "rows": rows}))

    def finish(self, keys: Iterable[str]) -> int:
        """Write the Parquet file, rows in the order of `keys`, then the marker; return the number of rows.

        Raises:
            DataError: an item is missing.
            StorageError: the disk is full.
        """
        places = {key: (start, length) for key, start, length in self._entries()}
        names = list(keys)
        # The table must be on disk before its marker.
        with staged(self.path) as draft:
            count = write_rows(draft, self._in_order(names, places), self.columns)
        marker = {"given": self.given, "keys": value_digest(names), "items": len(names), "rows": count}
        write_whole(self.marker, json_line(marker))
        return count

    def rows(self) -> Iterator[Row]:
        """Yield the rows of the finished table, one batch in memory at a time.

        Raises:
            DataError: the step is not done.
        """
        yield from read_rows(self.path)

    def _in_order(self, keys: list[str], places: dict[str, tuple[int, int]]) -> Iterator[Row]:
        missing = next((key for key in keys if key not in places), None)
        if missing is not None:
            raise DataError(f"{str(self.journal)!r}: item {missing!r} is missing; run the build again")
        for _, rows in self._read((key, *places[key]) for key in keys):
            yield from ({name: row.get(name) for name in self.columns} for row in rows)

    def _read(self, places: Iterable[tuple[str, int, int]]) -> Iterator[tuple[str, list[Row]]]:
        """Yield (key, rows) of the lines at (key, place, length)."""
        with self.journal.open("rb") as file:
            for key, start, length in places:
                file.seek(start)
                yield key, json.loads(file.read(length))["rows"]

    def _entries(self) -> Iterator[tuple[str, int, int]]:
        """Yield (key, place, length) of the complete lines, without the header."""
        for number, (place, line) in enumerate(read_journal(self.journal)):
            try:
                entry = json.loads(line)
                if number == 0:
                    self._check_given(entry["given"])
                else:
                    yield entry["key"], place, len(line)
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{str(self.journal)!r}, line {number + 1}: not an item ({error}); remove the line, or the file "
                    "to do the step again"
                ) from error

    def _check_given(self, given: str | None) -> None:
        if given != self.given:
            raise DataError(
                f"step {self.name!r} in {str(self.path.parent)!r} was done with other settings; give another output "
                f"folder, or remove {self.path.stem}.* and the files of the steps after it there"
            )


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a Parquet file, one batch in memory at a time.

    Raises:
        DataError: it is missing or damaged.
    """
    if not path.is_file():
        raise DataError(f"table {str(path)!r} does not exist; complete emotion-qwen ver build first")
    pyarrow, parquet = optional("pyarrow", "ver"), optional("pyarrow.parquet", "ver")
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH):
                yield from batch.to_pylist()
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise DataError(f"table {str(path)!r} cannot be read ({error}); remove it and run the build again") from error


def write_rows(path: Path, rows: Iterable[Row], columns: dict[str, str]) -> int:
    """Write rows as a Parquet file, one batch in memory at a time; return their number.

    Raises:
        OSError: the file cannot be written.
    """
    pyarrow, parquet = optional("pyarrow", "ver"), optional("pyarrow.parquet", "ver")
    schema = pyarrow.schema([(name, getattr(pyarrow, TYPES[kind])()) for name, kind in columns.items()])
    left, count = iter(rows), 0
    with parquet.ParquetWriter(path, schema) as writer:
        while batch := list(islice(left, BATCH)):
            writer.write_table(pyarrow.Table.from_pylist(batch, schema=schema))
            count += len(batch)
    return count
