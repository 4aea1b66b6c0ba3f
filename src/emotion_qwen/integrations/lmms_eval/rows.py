"""The items of our tasks as rows of the harness's data sets, and back.

The harness insists on loading a data set itself. Every task file lets it load `nothing.jsonl`, under a split that names
one of our tasks and a language ("dfew_en"); `read_rows` then puts the items that our readers find in its place. A row
carries the whole item, so that our model answers it, and our scorers score it, exactly as under `emotion-qwen eval`.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emotion_qwen.errors import DataError, MediaError, SettingsError, unknown_choice
from emotion_qwen.evaluation.run.runner import usable
from emotion_qwen.evaluation.task import Item, Task
from emotion_qwen.evaluation.tasks import TASKS

DATA = "EMOTION_QWEN_DATA"
"""Environment variable with the folder that `emotion-qwen eval --data` takes."""
WHEELS = "EMOTION_QWEN_WHEELS"
"""Environment variable with the folder of the emotion wheels, for the tasks that have the option wheels."""
OFFERED = (
    *("dfew", "mer2024_semi", "mer2024_noise", "emer", "emoset", "mafw", "ravdess", "goemotions"),
    *("mer2023_multi", "mer2023_noise", "mer2023_semi", "mer2025_track1", "mer2025_track2"),
    *("mer2026_cross", "mer2026_fg", "mer2026_prefer", "meld", "mosi", "mosei", "sims", "simsv2", "emobank"),
    *("mer_unibench", "unibench_mer2023", "unibench_mer2024", "unibench_meld"),
    *("unibench_mosi", "unibench_mosei", "unibench_sims", "unibench_simsv2"),
    *("affectnet", "affectnet_va", "rafdb", "ferplus", "ckplus", "cremad", "afew_va", "affwild2"),
    *("artphoto", "fi", "emotion6", "mme_emotion", "emobench_m", "emobench_m_smile"),
)
"""Our emotion tasks in the harness. Left out are recordings without a picture and parts of longer videos, which its
models do not take, and the Parquet files of our own layout but for GoEmotions.
"""
ITEM = "emotion_qwen"
"""Column with the whole item, by which our model recognizes our rows."""
SIDE = 64
"""Pixels of small stored pictures; none of these tasks reads such pictures."""
Row = Mapping[str, Any]
LOG = logging.getLogger(__name__)  # the harness silences warnings


def harness_rows(dataset: Any) -> Any:
    """Put the items of one task in the place of the rows that the harness has loaded (`process_docs`).

    Args:
        dataset: a `datasets.Dataset` whose split is the name of a task and a language.

    Raises:
        DataError: no folder is set, or the task's files are not there.
        SettingsError: no such task.
    """
    folder = os.environ.get(DATA)
    if not folder:
        raise DataError(f"{DATA} is not set; expected the folder of the tasks' files, as for emotion-qwen eval --data")
    return type(dataset).from_list(rows_of(str(dataset.split), Path(folder)), split=dataset.split)


def rows_of(split: str, data: Path) -> list[dict[str, str]]:
    """Return one row per item of the task's first split, as in `emotion-qwen eval`; findings are logged as warnings.

    Raises:
        DataError: the task's files are missing, or contain media that cannot be put into a row.
        SettingsError: no such task or language.
    """
    name, _, language = split.rpartition("_")
    if name not in OFFERED:
        raise SettingsError(unknown_choice("task", name, OFFERED))
    task = offered_task(name)
    if language not in task.languages:
        raise SettingsError(unknown_choice("language", language, task.languages))
    for finding in task.check(data, None, (language,)):
        LOG.warning(f"{split}: {finding.kind}: {finding.text}")
    items, rejected = usable(task.items(data, side=SIDE, languages=(language,)), task.answered)
    for identity, why in rejected.items():
        LOG.warning(f"{split}: item {identity!r} cannot be asked: {why}")
    return [_row(task, item) for item in items]


def offered_task(name: str) -> Task:
    """Return a task, with the emotion wheels of the environment variable `WHEELS` if it needs them."""
    task, folder = TASKS[name], os.environ.get(WHEELS)
    return task.with_options(wheels=folder) if folder and "wheels" in task.options else task


def _row(task: Task, item: Item) -> dict[str, str]:
    fields = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
    fields["parts"] = [{**part, part["type"]: _plain(part[part["type"]], item)} for part in item.parts]
    whole = json.dumps({"task": task.name, "item": fields}, ensure_ascii=False)
    identity = {"id": item.id, "language": item.language, "group": item.group, "answer": item.answer}
    return {**identity, "question": item.question, ITEM: whole}


def _plain(medium: Any, item: Item) -> str:
    if isinstance(medium, str | Path):
        return str(medium)
    raise DataError(f"item {item.id!r} holds a {type(medium).__name__}; a row of the harness carries files and words")


def item_of(row: Row) -> tuple[Task, Item]:
    """Return the task and the item of one of our rows."""
    whole = json.loads(row[ITEM])
    return offered_task(whole["task"]), Item(**with_tuples(whole["item"]))


def with_tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a record as they were before JSON made lists of tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def question(row: Row) -> str:
    """Return the text of a row, context before question (`doc_to_text`)."""
    _, item = item_of(row)
    return "\n".join([*(part["text"] for part in item.parts if part["type"] == "text"), item.question])


def visuals(row: Row) -> list[Any]:
    """Return the picture, or the path of the video, of a row as other models of the harness take them.

    Raises:
        MediaError: the file is not there. Our own model gives no answer then; others would stop somewhere inside.
    """
    from PIL import Image

    _, item = item_of(row)
    media: list[Any] = []
    for part in item.parts:
        if part["type"] == "text":
            continue
        path = Path(part[part["type"]])
        if not path.is_file():
            raise MediaError(f"{str(path)!r} of item {item.id!r} is not there; models of others need every file")
        media.append(Image.open(path).convert("RGB") if part["type"] == "image" else str(path))
    return media


def messages(row: Row) -> list[dict[str, Any]]:
    """Return a row as the harness's messages (`doc_to_messages`), parts in their order.

    Raises:
        MediaError: a file is not there.
    """
    task, item = item_of(row)
    shown = iter(visuals(row))
    content: list[dict[str, Any]] = []
    for part in item.parts:
        content.append(part if part["type"] == "text" else {"type": part["type"], "url": next(shown)})
    messages = [{"role": "user", "content": [*content, {"type": "text", "text": item.question}]}]
    if task.system:
        messages.insert(0, {"role": "system", "content": [{"type": "text", "text": task.system}]})
    return messages
