"""The append-only file `predictions.jsonl`, with one line per answer; needs neither a model nor torch.

`task.json` in the same folder records the model and its settings; lines of another model or another question are never
mixed in. `items.jsonl` holds the questions, so that scores can be computed without the data. An item that failed may be
asked again: the first of its lines without an error counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emotion_qwen import files
from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.task import Item
from emotion_qwen.files import json_line, read_journal, write_whole

LINES, HEADER, ITEMS = "predictions.jsonl", "task.json", "items.jsonl"
REJECTED, FINDINGS, SURPLUS = "rejected.jsonl", "findings.json", "surplus.json"
SHARDS = "predictions.part*.jsonl"
"""Files of several processes before they are merged."""
Key = tuple[str, str]
"""(id, language) of an item."""


@dataclass(frozen=True)
class Prediction:
    """The answer of a model to one item.

    Attributes:
        id: of the item.
        language: of the item.
        group: of the item.
        answer: the correct answer.
        predicted: the likeliest allowed choice; None if the answer is text or there is none.
        scores: choice -> probability; the sum is 1 up to rounding. None if the answer is text.
        gate: weights of the general and the emotion expert, averaged over the views; None for models without a gate.
        options: number of allowed choices, the inverse of the chance of guessing; 0 for a free answer.
        asked: hash of the prompt: question, choices and text parts.
        text: the reply, if the answer is text.
        frames: number of pictures shown.
        seconds: time for the item, as its share of a batch.
        error: what failed, if there is no answer; such an item is asked again.
        unanswered: why there is no answer although nothing failed, such as that there is no face or voice.
        answerer: name of the answerer.
        continuation: log-likelihood of the correct answer as a continuation of the question, its number of tokens, and
            whether greedy decoding produces it; None if that was not requested.
    """

    id: str
    language: str
    group: str
    answer: str
    predicted: str | None
    scores: dict[str, float] | None
    gate: tuple[float, float] | None
    options: int
    asked: str
    text: str | None = None
    frames: int = 0
    seconds: float = 0.0
    error: str = ""
    unanswered: str = ""
    answerer: str = ""
    continuation: tuple[float, int, bool] | None = None

    @property
    def key(self) -> Key:
        """The key that identifies the line within its file."""
        return self.id, self.language

    @property
    def right(self) -> bool:
        """Whether the likeliest choice is the correct answer."""
        return self.predicted == self.answer

    def same_as(self, other: Prediction) -> bool:
        """Return whether both are equal apart from the time taken."""
        return {**asdict(self), "seconds": 0} == {**asdict(other), "seconds": 0}


def prediction(item: Item, **fields: Any) -> Prediction:
    """Return the prediction for an item; `fields` are those of the answer."""
    values = {"predicted": None, "scores": None, "gate": None, "options": len(item.allowed or item.choices)}
    return Prediction(
        item.id, item.language, item.group, item.answer, asked=question_digest(item), **{**values, **fields}
    )


def question_digest(item: Item) -> str:
    """Return the hash of a prompt: question, choices and text parts."""
    texts = [part["text"] for part in item.parts if part["type"] == "text"]
    return text_digest("\n".join([*texts, item.question, *item.choices, *item.allowed]))


def medium_name(part: Mapping[str, Any]) -> str:
    """Return the file of a message part, or the key of a stored picture; empty for arrays and texts."""
    medium = part.get(part["type"])
    if part["type"] == "text" or medium is None:
        return ""
    if isinstance(medium, str | Path):
        return str(medium)
    return getattr(medium, "key", "")  # `stored.Stored`


def part_span(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return "start" and "end", seconds, of a message part that is a part of a video; empty for all of it."""
    return {name: part[name] for name in ("start", "end") if name in part}


def text_digest(text: str) -> str:
    """Return 16 hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_run_header(folder: Path) -> dict[str, Any]:
    """Read `task.json` of a task's folder.

    Raises:
        DataError: the file does not exist or is not JSON.
    """
    path = folder / HEADER
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); expected the file that `emotion-qwen eval` writes"
        ) from error


def claim(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Write the header into a new folder; in an existing one, check that it is the same.

    Options of the task may change, such as the folder of the wheels: `check_questions` detects changes in questions.

    Raises:
        DataError: the folder holds predictions that were made with other settings.
    """
    path = folder / HEADER
    if not path.is_file():
        write_whole(path, json.dumps(wanted, indent=2, ensure_ascii=False) + "\n")
        return
    header = read_run_header(folder)
    # The same weights may have two paths, and what they were trained on is a note; all else affects the answers.
    unaffected = ("model", "options", "trained_on")
    other = [key for key in wanted if key not in unaffected and header.get(key) != wanted[key]]
    if other:
        differences = "; ".join(
            key if key == "settings" else f"{key} {header.get(key)}, now {wanted[key]}" for key in other
        )
        raise DataError(
            f"{folder}: holds predictions made with other settings ({differences}); give another output folder "
            "or remove this one"
        )


def keep_options(folder: Path, options: Mapping[str, str]) -> None:
    """Write the task's options into the header, so that scoring can set them again; no options change nothing."""
    header = read_run_header(folder)
    if options and header.get("options") != options:
        write_whole(
            folder / HEADER, json.dumps({**header, "options": dict(options)}, indent=2, ensure_ascii=False) + "\n"
        )


def read_lines(path: Path, *, repair: bool = False) -> list[Prediction]:
    """Read every line of one file; an incomplete last line is left out.

    Args:
        path: may be missing if there are no predictions yet.
        repair: remove the incomplete line from the file, so that lines can be appended.

    Raises:
        DataError: a complete line is not a prediction.
    """
    if repair:
        files.truncate_partial_line(path)
    predictions = []
    for number, (_, line) in enumerate(read_journal(path), 1):
        try:
            fields = json.loads(line)
            for name in ("gate", "continuation"):  # lines of older versions have no continuation
                fields[name] = None if fields.get(name) is None else tuple(fields[name])
            predictions.append(Prediction(**fields))
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path}, line {number}: not a prediction ({error}); remove the line or file") from error
    return predictions


def read_all(folder: Path) -> list[Prediction]:
    """Read every line in a task's folder, including those of other processes that are not merged yet."""
    return [prediction for path in (folder / LINES, *sorted(folder.glob(SHARDS))) for prediction in read_lines(path)]


def read_predictions(folder: Path, *, repair: bool = False) -> list[Prediction]:
    """Read the prediction that counts for every item in a task's folder.

    Args:
        folder: holds `predictions.jsonl`; without that file there are no predictions.
        repair: remove an incomplete last line from the file, so that lines can be appended.

    Raises:
        DataError: a complete line is not a prediction.
    """
    if repair:
        read_lines(folder / LINES, repair=True)
    return list(that_count(read_all(folder)).values())


def that_count(lines: Iterable[Prediction]) -> dict[Key, Prediction]:
    """Return the line that counts for each key: the first without an error, else the last."""
    counting: dict[Key, Prediction] = {}
    for line in lines:
        if line.key not in counting or counting[line.key].error:
            counting[line.key] = line
    return counting


def as_line(answer: Prediction) -> str:
    """Return the line of a prediction as written to the file."""
    return json_line(asdict(answer))


def check_questions(folder: Path, items: Sequence[Item], predictions: Mapping[Key, Prediction]) -> None:
    """Check that lines answer the current questions.

    Raises:
        DataError: the question or the answer of an item has changed.
    """
    for item in items:
        old = predictions.get((item.id, item.language))
        if old and (old.asked, old.answer) != (question_digest(item), item.answer):
            raise DataError(
                f"{folder / LINES}: the question or the answer of item {item.id!r} has changed; "
                "give another output folder or remove this one"
            )
