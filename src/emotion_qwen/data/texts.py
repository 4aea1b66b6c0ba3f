"""Labelled comments from a Parquet file: `id`, `text`, `ekman` (one of seven emotions, or several) and `split`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from emotion_qwen.data.questions import FEELINGS
from emotion_qwen.errors import DataError

COLUMNS = ("id", "text", "ekman", "split")
_CONCEPTS = {"joy": "happiness"}


@dataclass(frozen=True)
class Texts:
    """Comments that have exactly one label, a key of `FEELINGS`."""

    name: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def read_texts(path: Path, split: str) -> Texts:
    """Read the comments of one split; those with several labels are left out.

    Raises:
        DataError: the file is missing, lacks a column, or holds no such comment.
    """
    if not path.is_file():
        raise DataError(f"text file {str(path)!r} does not exist; give a Parquet file with {', '.join(COLUMNS)}")
    missing = sorted(set(COLUMNS) - set(pq.read_schema(path).names))
    if missing:
        raise DataError(f"{path.name}: missing column(s) {missing}; it has {pq.read_schema(path).names}")
    rows = []
    for row in pq.read_table(path, columns=list(COLUMNS)).to_pylist():
        told = [row["ekman"]] if isinstance(row["ekman"], str) else list(row["ekman"])
        label = _CONCEPTS.get(told[0], told[0]) if len(told) == 1 else ""
        if row["split"] == split and label in FEELINGS:
            rows.append((row["text"], label, row["id"]))
    if not rows:
        raise DataError(f"{path.name}: no text has split {split!r} and one of the labels {', '.join(FEELINGS)}")
    texts, labels, ids = zip(*rows, strict=True)
    return Texts(path.stem, texts, labels, ids)
