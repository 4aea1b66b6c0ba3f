"""Small picture files and prediction folders, made on the spot."""

import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from emotion_qwen.evaluation.run.predictions import HEADER, ITEMS, LINES, Prediction
from emotion_qwen.evaluation.task import Item


def write_pictures(path: Path, labels: list[str], side: int = 32, splits: list[str] | None = None) -> Path:
    rng = np.random.default_rng(len(labels))
    images = []
    for _ in labels:
        data = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (side, side, 3), dtype=np.uint8)).save(data, "PNG")
        images.append(data.getvalue())
    ids = [f"{path.stem}/{number}" for number in range(len(labels))]
    columns = {"id": ids, "image": images, "label": labels, "split": splits or ["validation"] * len(labels)}
    pq.write_table(pa.table(columns), path)
    return path


CHOICES = dict.fromkeys(("cat", "dog"), ("cat", "dog")) | dict.fromkeys(("anger", "fear"), ("anger", "fear"))
"""Group -> the choices of its items."""


def header(task: str = "cifar", weights: str = "aaaa", **changed) -> dict:
    fields = {"task": task, "split": "validation", "scoring": "likelihood", "model": "nano", "weights": weights}
    return {**fields, "dtype": "float32", "prompt": "pppp", "settings": {}, **changed}


def line(name: str, right: bool, group: str = "cat", language: str = "en", gate: float = 0.25) -> Prediction:
    predicted = group if right else next(choice for choice in CHOICES[group] if choice != group)
    scores = {choice: 0.75 if choice == predicted else 0.25 for choice in CHOICES[group]}
    return Prediction(name, language, group, group, predicted, scores, (1 - gate, gate), 2, "asked")


def write_folder(folder: Path, lines: list[Prediction], items: list[Item] | None = None, **changed) -> Path:
    """Write the predictions of one task as `answer_task` does; the folder's name is the task."""
    folder.mkdir(parents=True)
    items = [asked_item(one) for one in lines] if items is None else items
    (folder / HEADER).write_text(json.dumps(header(folder.name, **changed)), encoding="utf-8")
    (folder / ITEMS).write_text("".join(json.dumps(asdict(one)) + "\n" for one in items), encoding="utf-8")
    (folder / LINES).write_text("".join(json.dumps(asdict(one)) + "\n" for one in lines), encoding="utf-8")
    return folder


def asked_item(one: Prediction) -> Item:
    return Item(one.id, one.language, (), "Which?", CHOICES[one.group], one.answer, one.group)


def answered(right: np.ndarray, gate: float = 0.25, groups: tuple[str, str] = ("cat", "dog")) -> list[Prediction]:
    """Return one line an item, of the two groups in turn."""
    return [line(f"i{n}", bool(one), groups[n % 2], gate=gate) for n, one in enumerate(right)]


def without_seconds(path: Path) -> list[dict]:
    """Return the lines of a file in their order, but for how long they took."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{**fields, "seconds": 0} for fields in lines]
