"""Measure nano on validation pictures and drawn scenes, by likelihood in both languages and by generated text.

The figures are written to `docs/results/nano.json` and, as a page, to `docs/results/nano.md`; README and model card
quote them. Only validation parts are read.

python -m recipes.nano.card --data DATA --predictions RUNS/predictions --results docs/results
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from emotion_qwen.analysis.reading import ClipReading
from emotion_qwen.console import run_command
from emotion_qwen.engine.engine import Engine
from emotion_qwen.evaluation.run.answerers.local import LocalModel
from emotion_qwen.evaluation.run.predictions import Prediction
from emotion_qwen.evaluation.run.runner import answer_task
from emotion_qwen.evaluation.scoring.bootstrap import mean_over_tasks
from emotion_qwen.evaluation.task import Task
from emotion_qwen.files import write_whole
from emotion_qwen.matching.answer import match_label
from emotion_qwen.questions import LANGUAGES, QUESTIONS
from emotion_qwen.taxonomy import label_set
from recipes.nano.tasks import BY_NAME

MEASURED = tuple(BY_NAME[name] for name in ("fer", "lfw", "cifar", "shapes"))
WRITTEN = label_set("fer7")


def measure(engine: Engine, data: Path, predictions: Path, limit: int | None = None) -> dict[str, Any]:
    """Measure every task of `MEASURED`.

    Args:
        engine: the model.
        data: folder of the Parquet files.
        predictions: folder of this model's predictions, from which an interrupted run continues.
        limit: number of items of each task.

    Returns:
        For each task title: items, accuracy by language with a 95 % bootstrap interval, recall by class, and for faces
        the share of generated sentences that name the likeliest label. All shares in percent.
    """
    return {task.title: _measure_one(engine, task, data, predictions, limit) for task in MEASURED}


def _measure_one(engine: Engine, task: Task, data: Path, predictions: Path, limit: int | None) -> dict[str, Any]:
    folder = predictions / task.name
    answered = answer_task(LocalModel(engine), task, folder, data=data, languages=LANGUAGES, limit=limit).predictions
    result: dict[str, Any] = {"items": len(answered) // len(LANGUAGES)}
    for language in LANGUAGES:
        answers = [answer for answer in answered if answer.language == language]
        right, groups = (
            np.array([answer.right for answer in answers], dtype=float),
            np.array([answer.group for answer in answers]),
        )
        sure = mean_over_tasks([right])
        figures = {
            "accuracy": _percent(right.mean()),
            "interval": [_percent(sure.low), _percent(sure.high)],
            "recall": {str(name): _percent(right[groups == name].mean()) for name in np.unique(groups)},
        }
        if task.domain == "emotion":
            figures |= _read_back(engine, task, data, answers, limit)
        for name, value in figures.items():
            result.setdefault(name, {})[language] = value
    return result


def _read_back(
    engine: Engine, task: Task, data: Path, answered: Sequence[Prediction], limit: int | None
) -> dict[str, float]:
    """Have the model write about every face, and compare the named emotion with the likeliest label."""
    model, language = LocalModel(engine, workers=0), answered[0].language
    items = task.items(data, side=model.side_of(task), languages=(language,), limit=limit)
    given = [(item, answer.predicted) for item, answer in zip(items, answered, strict=True) if answer.predicted]
    readings = model.readings(task, [item for item, _ in given])
    for reader in {
        id(reading.reader): reading.reader for reading in readings if isinstance(reading, ClipReading)
    }.values():
        reader.answers(  # all at once; the shares below reuse these answers
            [
                v
                for reading in readings
                if isinstance(reading, ClipReading) and reading.reader is reader
                for v in reading.needed_views(reading.channels)
            ]
        )
    shown, likely = [], []
    for reading, (item, predicted) in zip(readings, given, strict=True):
        if isinstance(reading, ClipReading) and predicted:
            # The glimpse with the highest share of the likeliest label, about which `analyze` writes, too.
            best = int(reading.shares(reading.channels)[:, item.choices.index(predicted)].argmax())
            shown.append(reading.glimpses[best].view(reading.channels, language) or [])
            likely.append(item.options[item.choices.index(predicted)])
    written = engine.write(shown, QUESTIONS["describe"][language])
    named = [match_label(text, WRITTEN, language) for text in written]
    agree = np.mean([n == k for n, k in zip(named, likely, strict=True)])
    return {"written_agrees": _percent(agree), "written_parses": _percent(np.mean([n is not None for n in named]))}


def _percent(share: Any) -> float:
    return round(float(share) * 100, 1)


def write_results(figures: dict[str, Any], folder: Path) -> None:
    """Write `nano.json` and the page `nano.md` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "nano.json", json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    lines = [
        "# Accuracy of nano",
        "",
        "Made by the last step of `recipes/train_nano.sh`; validation parts only, label likelihood, "
        "95 % bootstrap intervals.",
        "",
        "| question | items | EN | interval | ZH | interval | generated text names the likeliest label, EN / ZH |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in figures.items():
        (low_en, high_en), (low_zh, high_zh) = row["interval"]["en"], row["interval"]["zh"]
        agrees = row.get("written_agrees")
        agreement = f"{agrees['en']} % / {agrees['zh']} %" if agrees else "not measured"
        lines.append(
            f"| {name} | {row['items']} | {row['accuracy']['en']} % | {low_en}–{high_en} "
            f"| {row['accuracy']['zh']} % | {low_zh}–{high_zh} | {agreement} |"
        )
    for name, row in figures.items():
        for language in LANGUAGES:
            recalled = ", ".join(f"{label} {share}" for label, share in row["recall"][language].items())
            lines += ["", f"Recall by class, {name} ({language.upper()}, %): {recalled}."]
    write_whole(folder / "nano.md", "\n".join(lines) + "\n")


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="folder of the Parquet files")
@click.option("--model", default=None, help="model folder; the shipped nano if not given")
@click.option(
    "--predictions", type=click.Path(path_type=Path), required=True, help="folder of the answers, for resuming"
)
@click.option("--results", type=click.Path(path_type=Path), required=True, help="folder of the page")
@click.option("--limit", type=int, default=None, help="number of items of each task")
def card(data: Path, model: str | None, predictions: Path, results: Path, limit: int | None) -> None:
    """Measure a model on the validation pictures and write the page."""
    write_results(measure(Engine.load(model), data, predictions, limit), results)


if __name__ == "__main__":
    sys.exit(run_command(card))
