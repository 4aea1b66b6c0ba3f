"""Labelled sentences for a verifier: read from CSV, JSON lines or Parquet, and turned into shares of emotions."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.errors import DataError, listed
from emotion_qwen.extras import optional
from emotion_qwen.verify.verifier import EMOTIONS, emotion_of

LABELS = ("ekman", "label", "emotion", "labels")
"""Columns that may contain the labels; the first that a file has is read."""
TRAIN, VALIDATION, TEST = "train", "validation", "test"
_SPLITS = {
    "train": TRAIN,
    "validation": VALIDATION,
    "valid": VALIDATION,
    "val": VALIDATION,
    "dev": VALIDATION,
    "test": TEST,
}


@dataclass(frozen=True, eq=False)
class Sentences:
    """Labelled sentences.

    Attributes:
        texts: N texts.
        targets: (N, K) share of each class; a row adds up to 1.
        weights: (N,) how much each sentence counts.
        emotions: for each of the K classes, which of `verifier.EMOTIONS` it belongs to. Finer classes than these, such
            as annoyance in addition to anger, make it easier to distinguish the emotions.
    """

    texts: Sequence[str]
    targets: np.ndarray
    weights: np.ndarray
    emotions: tuple[int, ...] = tuple(range(len(EMOTIONS)))

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, rows: np.ndarray) -> Sentences:
        texts = [self.texts[row] for row in np.arange(len(self))[rows]]
        return Sentences(texts, self.targets[rows], self.weights[rows], self.emotions)

    def by_emotion(self) -> np.ndarray:
        """Return the (N, 7) share of each emotion."""
        return self.targets @ np.eye(len(EMOTIONS))[list(self.emotions)]


@dataclass(frozen=True)
class LabelledText:
    """One row of a file: a text, the names of its labels, and its split ("" if the file has none)."""

    text: str
    labels: tuple[str, ...]
    split: str = ""


def read_sentences(path: Path, text: str = "text", label: str | None = None) -> list[LabelledText]:
    """Read labelled texts.

    Args:
        path: `.csv`, `.tsv`, `.jsonl` or `.parquet`, with a column of texts, one of labels (a name, several separated
            by commas, or a list of names), and perhaps `split`.
        text: name of the column of texts.
        label: name of the column of labels; None takes the first of `LABELS` that the file has.

    Raises:
        DataError: the file does not exist, cannot be read, is of another kind, or lacks a column.
        MissingPackage: pyarrow is not installed, for Parquet.
    """
    rows = list(read_columns(path))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    chosen = label or next((name for name in LABELS if name in columns), LABELS[1])
    missing = [name for name in (text, chosen) if name not in columns]
    if missing:
        raise DataError(
            f"{str(path)!r} has the columns {listed(columns, 8) or 'none'}, but not {', '.join(map(repr, missing))}; "
            "name the columns with --text and --label"
        )
    read = []
    for row in rows:
        if isinstance(row.get(text), str) and row[text].strip():
            split = _SPLITS.get(str(row.get("split") or "").lower(), "")
            read.append(LabelledText(row[text], _names(row.get(chosen)), split))
    return read


def labelled_as(texts: Sequence[str], labels: Sequence[str | Sequence[str]], weight: float = 1.0) -> Sentences:
    """Turn texts and their labels into sentences to train on; see `labelled_sentences` for what is left out."""
    rows = [LabelledText(text, (name,) if isinstance(name, str) else tuple(name))
            for text, name in zip(texts, labels, strict=True)]  # fmt: skip
    return labelled_sentences(rows, weight)[0]


def labelled_sentences(rows: Sequence[LabelledText], weight: float = 1.0) -> tuple[Sentences, Counter[str]]:
    """Turn labelled texts into shares of emotions; several labels share a text equally.

    Args:
        rows: texts with their labels.
        weight: how much each counts in training.

    Returns:
        The sentences, and the labels that are none of `verifier.EMOTIONS`, with the number of texts that were left out
        because they have no other.
    """
    texts, targets, unknown = [], [], Counter[str]()
    for row in rows:
        emotions = {emotion for name in row.labels if (emotion := emotion_of(name))}
        if not emotions:
            unknown[", ".join(row.labels) or "no label"] += 1
            continue
        texts.append(row.text)
        targets.append([(name in emotions) / len(emotions) for name in EMOTIONS])
    shares = np.array(targets, dtype=np.float32).reshape(-1, len(EMOTIONS))
    return Sentences(texts, shares, np.full(len(texts), weight, dtype=np.float32)), unknown


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, float) and math.isnan(value):
        return ()
    names = value.replace(";", ",").split(",") if isinstance(value, str) else value or ()
    return tuple(str(name).strip() for name in names if str(name).strip()) if not isinstance(names, int | float) else ()


def read_columns(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a CSV, TSV, JSON-lines or Parquet file; columns of pictures and sounds are left out.

    Raises:
        DataError, MissingPackage: see `read_sentences`.
    """
    expected = "expected a .csv, .tsv, .jsonl or .parquet file with texts and labels"
    if not path.is_file():
        raise DataError(f"{str(path)!r} does not exist; {expected}")
    try:
        if path.suffix == ".parquet":
            table = optional("pyarrow.parquet", "train").ParquetFile(path)
            names = [name for name in table.schema_arrow.names if name not in ("image", "audio")]
            for batch in table.iter_batches(columns=names):
                yield from batch.to_pylist()
        elif path.suffix in (".csv", ".tsv"):
            with path.open(encoding="utf-8-sig", newline="") as file:
                yield from csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        elif path.suffix in (".jsonl", ".ndjson"):
            for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise DataError(f"{str(path)!r}, line {number}: {line[:40]!r} is no object; {expected}")
                    yield row
        else:
            raise DataError(f"{str(path)!r} ends in {path.suffix!r}; {expected}")
    except (OSError, ValueError, csv.Error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{str(path)!r} cannot be read ({error}); {expected}") from error
