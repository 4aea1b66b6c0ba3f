"""Let a model answer a task, by label likelihood, one line of `predictions.jsonl` an item.

A run that was interrupted goes on where it stopped. `task.json` beside the lines says which model answered under which
settings; lines of another model, or of another question, are never mixed in.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.task import Item, Task
from emotion_qwen.inference.engine import Engine, View
from emotion_qwen.inference.scoring import less_blank
from emotion_qwen.prepare import crop_side, person_views
from emotion_qwen.settings import ClipSettings

LINES, HEADER = "predictions.jsonl", "task.json"
BATCH = 64
"""Items that are answered together and written at once; what an interruption can cost."""
DIGITS = 5
Key = tuple[str, str]
"""(id, language) of an item."""


@dataclass(frozen=True)
class Prediction:
    """What a model answered to one item.

    Attributes:
        id: of the item; `language`, `group` and `answer` (the right one) likewise.
        predicted: the likeliest allowed choice.
        scores: choice -> share; they sum to 1 up to rounding.
        gate: weights of the general and of the emotion expert, mean over the views of the picture.
        options: how many choices were allowed; guessing is right once in so many times.
        asked: hash of question and choices.
    """

    id: str
    language: str
    group: str
    answer: str
    predicted: str
    scores: dict[str, float]
    gate: tuple[float, float]
    options: int
    asked: str

    @property
    def key(self) -> Key:
        """What tells this line from the others of its file."""
        return self.id, self.language


def predict(
    engine: Engine,
    task: Task,
    output: Path,
    *,
    data: Path | None = None,
    languages: Sequence[str] = ("en",),
    split: str = "validation",
    limit: int | None = None,
) -> list[Prediction]:
    """Answer every item of a task that has no line yet, and return the predictions of all items asked for.

    Args:
        engine: the model.
        task: what to answer.
        output: folder of this model's predictions; the task gets a folder in it.
        data: folder of the Parquet files.
        languages: of question and choices.
        split: "validation" or "test".
        limit: answer so many items, evenly spaced. Lines beyond them stay in the file and are not returned.

    Raises:
        DataError: the folder holds predictions of another model or question, a line is broken, or data is missing.
        SettingsError: an unknown split or language.
    """
    items = task.items(data, side=picture_side(engine), languages=languages, split=split, limit=limit)
    folder = output / task.name
    _claim(folder, header(engine, task, split))
    known = {prediction.key: prediction for prediction in read_predictions(folder, mend=True)}
    _check_questions(folder, items, known)
    waiting = [item for item in items if (item.id, item.language) not in known]
    batches = _batches(waiting, one_question=task.less_blank)
    bar = Progress(*Progress.get_default_columns(), console=Console(stderr=True), transient=True)
    with bar, (folder / LINES).open("a", encoding="utf-8") as file:
        step = bar.add_task(f"{engine.name}: {task.name}", total=len(items), completed=len(items) - len(waiting))
        for batch in batches:
            answered = _answer(engine, task, batch)
            file.writelines(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in answered)
            file.flush()
            known.update({one.key: one for one in answered})
            bar.advance(step, len(batch))
    return [known[item.id, item.language] for item in items]


def picture_side(engine: Engine) -> int:
    """Return the side in pixels to which this model's still pictures are brought: that of its person crops."""
    image = engine.processor.image_processor
    return crop_side(engine.processor.settings, image.patch_size * image.merge_size)


def header(engine: Engine, task: Task, split: str) -> dict[str, Any]:
    """Say what decides over an answer besides the item: model, number type, chat template, budgets, way of scoring."""
    return {
        "task": task.name,
        "split": split,
        "scoring": "likelihood less blank per token" if task.less_blank else "likelihood",
        **engine.provenance(),
        "prompt": _digest(engine.processor.chat_template),
        "settings": engine.processor.settings.model_dump(),
    }


def read_header(folder: Path) -> dict[str, Any]:
    """Read `task.json` of a task's folder.

    Raises:
        DataError: there is none, or it is not JSON.
    """
    path = folder / HEADER
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected the file that `predict` writes") from error


def read_predictions(folder: Path, *, mend: bool = False) -> list[Prediction]:
    """Read the predictions of a task's folder; a half-written last line is left out.

    Args:
        folder: holds `predictions.jsonl`; without that file nothing has been predicted.
        mend: cut the half-written line off the file, so that lines can be appended.

    Raises:
        DataError: a whole line is no prediction.
    """
    path = folder / LINES
    if not path.is_file():
        return []
    whole, _, rest = path.read_bytes().rpartition(b"\n")
    if rest and mend:
        os.truncate(path, path.stat().st_size - len(rest))
    predictions = []
    for number, line in enumerate(whole.decode("utf-8").splitlines(), 1):
        try:
            fields = json.loads(line)
            predictions.append(Prediction(**{**fields, "gate": tuple(fields["gate"])}))
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path}, line {number}: no prediction ({error}); remove the line or the file") from error
    return predictions


def _claim(folder: Path, wanted: dict[str, Any]) -> None:
    """Write the header into a new folder; in an old one, check that it is the same."""
    path = folder / HEADER
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")  # so that an interruption leaves no half header
        fresh.write_text(json.dumps(wanted, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        fresh.replace(path)
        return
    found = read_header(folder)
    # The same weights may be called by two paths; everything else decides over the answers.
    other = [key for key in wanted if key != "model" and found.get(key) != wanted[key]]
    if other:
        told = "; ".join(key if key == "settings" else f"{key} {found.get(key)}, now {wanted[key]}" for key in other)
        raise DataError(
            f"{folder}: holds predictions made otherwise ({told}); give another output folder or remove this one"
        )


def _check_questions(folder: Path, items: Sequence[Item], known: dict[Key, Prediction]) -> None:
    for item in items:
        old = known.get((item.id, item.language))
        if old and (old.asked, old.answer) != (_asked(item), item.answer):
            raise DataError(
                f"{folder / LINES}: item {item.id!r} was asked in other words or has another answer now; "
                "the task has changed since: give another output folder or remove this one"
            )


def _batches(items: Sequence[Item], one_question: bool) -> Iterator[list[Item]]:
    """Yield batches of items that are scored together: those of one question and its choices, or else of one group."""
    alike: dict[tuple[str, ...], list[Item]] = {}
    for item in items:
        alike.setdefault((item.question, *item.choices) if one_question else (item.language, item.group), []).append(
            item
        )
    for group in alike.values():
        for start in range(0, len(group), BATCH):
            yield group[start : start + BATCH]


def _answer(engine: Engine, task: Task, items: Sequence[Item]) -> list[Prediction]:
    settings, side = engine.processor.settings, picture_side(engine)
    views: list[View] = []
    for item in items:
        views += _crops(item, side, settings) if task.faces else [item.parts]
    repeats = len(views) // len(items)
    # Choices may differ within a batch: all of them are scored for every visual, and each item looks at its own.
    words = list(dict.fromkeys(word for item in items for word in item.choices))
    if task.less_blank:
        scores, gates = less_blank(engine, views, items[0].question, words)
    else:
        seen = engine.score(views, [item.question for item in items for _ in range(repeats)], words)
        scores, gates = seen.log_likelihood, seen.gate
    predictions = []
    for number, item in enumerate(items):
        rows = slice(number * repeats, (number + 1) * repeats)
        own = scores[rows, [words.index(choice) for choice in item.choices]].double()
        shares = own.softmax(-1).mean(dim=0)  # the views of one face are pooled as `analyze` pools a person's crops
        predictions.append(_prediction(item, shares.numpy(), gates[rows].double().mean(dim=0).numpy()))
    return predictions


def _crops(item: Item, side: int, settings: ClipSettings) -> list[View]:
    """Return the views by which a face is read, each with whatever else the item tells."""
    picture, *others = item.parts
    crops = person_views(picture["image"], side, settings)
    return [({"type": "image", "image": np.ascontiguousarray(crop)}, *others) for crop in crops]


def _prediction(item: Item, shares: np.ndarray, gate: np.ndarray) -> Prediction:
    allowed = item.allowed or item.choices
    return Prediction(
        id=item.id,
        language=item.language,
        group=item.group,
        answer=item.answer,
        predicted=max(allowed, key=lambda name: shares[item.choices.index(name)]),
        scores={name: round(float(share), DIGITS) for name, share in zip(item.choices, shares, strict=True)},
        gate=(round(float(gate[0]), DIGITS), round(float(gate[1]), DIGITS)),
        options=len(allowed),
        asked=_asked(item),
    )


def _asked(item: Item) -> str:
    return _digest("\n".join([item.question, *item.choices, *item.allowed]))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
