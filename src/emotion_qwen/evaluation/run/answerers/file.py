"""Answers from a file of predictions: whatever system made them, they are parsed and scored like all others.

JSON lines with `id` and `text` (or `scores`, or `error`), and `language` if an item is asked in two languages; or a CSV
table with these columns. The `predictions.jsonl` files of this package have this form, too.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.run.predictions import Prediction, prediction
from emotion_qwen.evaluation.task import Item, Task

BATCH = 512
SIDE = 48


class PredictionFile:
    """See `Answerer`. Items without a line get no prediction: this lowers coverage and is not a failure.

    Args:
        path: `.csv` is read as a table with a header, any other file as JSON lines.

    Raises:
        DataError: the file is missing, or a line has no `id` or no answer.
    """

    whole_batches = False

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        try:
            data = path.read_bytes()
            rows = _table(data.decode("utf-8-sig")) if path.suffix.lower() == ".csv" else _lines(path, data)
            self.torn = path.suffix.lower() != ".csv" and _is_torn(data)
            """Whether the last line is incomplete; if so, it is left out."""
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path}: cannot be read ({error}); expected JSON lines or a CSV table") from error
        self._digest = hashlib.sha256(data).hexdigest()[:16]
        self._rows: dict[tuple[str, str], Mapping[str, Any]] = {}
        self.repeated: list[str] = []
        """Ids with more than one answer; the first counts."""
        self._used: set[tuple[str, str]] = set()
        for number, row in enumerate(rows, 1):
            self._keep(row, f"{path}, line {number}")

    def _keep(self, row: Any, place: str) -> None:
        answer_keys = ("text", "scores", "error")
        if (
            not isinstance(row, dict)
            or row.get("id") in (None, "")
            or not any(row.get(name) is not None for name in answer_keys)
        ):
            raise DataError(f"{place}: no answer; expected the keys id and one of {', '.join(answer_keys)}")
        key = str(row["id"]), row.get("language") or ""
        if key not in self._rows or self._rows[key].get("error"):
            self._rows[key] = row
        elif not row.get("error"):
            self.repeated.append(key[0])

    @property
    def strays(self) -> list[str]:
        """Ids for which no item has been requested so far."""
        return [key[0] for key in self._rows if key not in self._used]

    def side_of(self, task: Task) -> int:
        """See `Answerer`."""
        return SIDE

    def ahead(self, task: Task, items: Sequence[Item]) -> AbstractContextManager[None]:
        """See `Answerer`; nothing is prepared ahead."""
        return nullcontext()

    def header(self, task: Task, split: str) -> dict[str, Any]:
        """Identify the file's content; the model that wrote it is unknown."""
        made = {"model": self.name, "weights": self._digest, "dtype": ""}
        return {"task": task.column, "split": split, "scoring": "a file of predictions", **made}

    def batches(self, task: Task, items: Sequence[Item]) -> list[list[Item]]:
        """Divide in the order of the items."""
        return [list(items[start : start + BATCH]) for start in range(0, len(items), BATCH)]

    def answer(self, task: Task, items: Sequence[Item]) -> Iterator[Prediction]:
        """Yield the predictions of the items that have a line."""
        for item in items:
            key = next((key for key in ((item.id, item.language), (item.id, "")) if key in self._rows), None)
            if key is None:
                continue
            row = self._rows[key]
            self._used.add(key)
            error, text, scores = str(row.get("error") or ""), row.get("text"), row.get("scores")
            fields: dict[str, Any] = {"error": error}
            if not error and isinstance(scores, dict):
                fields |= _choice(item, scores)
            elif not error:
                fields["text"] = "" if text is None else str(text)
            yield prediction(item, **fields, answerer=self.name)


def _choice(item: Item, scores: Mapping[str, Any]) -> dict[str, Any]:
    names = dict(zip(item.options, item.choices, strict=True)) if len(item.options) == len(item.choices) else {}
    try:
        shares = {names.get(name, name): float(share) for name, share in scores.items()}
    except (TypeError, ValueError):
        return {"error": f"scores {scores!r} are not numbers; expected choice -> number"}
    allowed = [name for name in item.allowed or item.choices if name in shares]
    if not allowed:
        return {"error": f"scores of {', '.join(map(str, scores))}; expected those of {', '.join(item.choices)}"}
    return {"scores": shares, "predicted": max(allowed, key=shares.__getitem__)}


def _table(text: str) -> list[dict[str, Any]]:
    return [{**row, "scores": None} for row in csv.DictReader(io.StringIO(text, newline=""))]


def _is_torn(data: bytes) -> bool:
    """Return whether the last line is incomplete: without a line break, and not JSON."""
    last = data.rpartition(b"\n")[2].strip()
    try:
        json.loads(last or b"0")
    except ValueError:
        return True
    return False


def _lines(path: Path, data: bytes) -> Iterator[Any]:
    whole = data.split(b"\n")
    for number, line in enumerate(whole[:-1] if _is_torn(data) else whole, 1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error}); remove the line or the file") from error
