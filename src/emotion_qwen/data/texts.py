"""Read labelled texts from a Parquet file with `id`, `text`, `split`, and `ekman` or `label`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from emotion_qwen.data.tables import read_own_rows
from emotion_qwen.errors import DataError
from emotion_qwen.taxonomy import label_set

COLUMNS = ("id", "text", "ekman", "split")
LABELS = ("ekman", "label")  # the first of these columns is used
KNOWN = label_set("fer7").labels
_CONCEPTS = {"joy": "happiness"}


@dataclass(frozen=True)
class Texts:
    """Texts with exactly one label, which is in `KNOWN`."""

    name: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def read_texts(path: Path, split: str, source: str = "") -> Texts:
    """Read the texts of one split, without those with several labels or a label that is not in `KNOWN`.

    Args:
        path: Parquet file with `COLUMNS`; `label` may replace `ekman`.
        split: "train" or "validation".
        source: only rows whose column `source` starts with this; "" reads all.

    Raises:
        DataError: the file is missing, lacks a column, or has no such text.
    """
    if not path.is_file():
        raise DataError(f"text file {str(path)!r} does not exist; give a Parquet file with {', '.join(COLUMNS)}")
    try:
        columns = pq.read_schema(path).names
    except (pa.ArrowException, OSError):
        columns = []  # the error of the reader below names the file
    column = next((name for name in LABELS if name in columns), LABELS[0])
    texts_of_row = ("id", "text", "split", *(("source",) if source else ()))
    rows = []
    for row in read_own_rows(path, (*texts_of_row, column), texts_of_row):
        if source and not row["source"].startswith(source):
            continue
        labels_of_row = row[column] if isinstance(row[column], list) else [row[column]]
        label = _CONCEPTS.get(labels_of_row[0], labels_of_row[0]) if len(labels_of_row) == 1 else ""
        if row["split"] == split and label in KNOWN:
            rows.append((row["text"], label, row["id"]))
    if not rows:
        raise DataError(f"{path.name}: no text has split {split!r} and one of the labels {', '.join(KNOWN)}")
    texts, labels, ids = zip(*rows, strict=True)
    return Texts(path.stem, texts, labels, ids)
