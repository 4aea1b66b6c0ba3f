"""Let a model of ours answer a task, by label likelihood or in words: the runner with a loaded engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emotion_qwen.engine.engine import Engine
from emotion_qwen.evaluation.run.answerers.local import BATCH, LocalModel, picture_side
from emotion_qwen.evaluation.run.predictions import (
    HEADER,
    LINES,
    Key,
    Prediction,
    read_header,
    read_predictions,
)
from emotion_qwen.evaluation.run.runner import answer_task
from emotion_qwen.evaluation.task import Task

__all__ = [
    "BATCH",
    "HEADER",
    "LINES",
    "Key",
    "Prediction",
    "picture_side",
    "predict",
    "read_header",
    "read_predictions",
]


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
        DataError: see `runner.answer_task`.
        SettingsError: an unknown split or language.
    """
    answerer, folder = LocalModel(engine, BATCH), output / task.column
    done = answer_task(answerer, task, folder, data=data, languages=languages, split=split, limit=limit)
    return list(done.predictions)
