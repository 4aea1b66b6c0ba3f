"""Measure mini beside nano on validation parts, by label likelihood, and write the page of its figures.

Every picture is answered twice: as `analyze` answers it, where a face that is not detected counts as wrong, and as a
whole picture. Answers are kept, so an interrupted run continues.

    python -m recipes.mini.card --data DATA --predictions RUNS/predictions --results docs/results \\
        --model mini --model nano
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from sklearn.metrics import f1_score

from emotion_qwen.console import run_command
from emotion_qwen.engine.engine import Engine
from emotion_qwen.evaluation.run.answerers.local import LocalModel
from emotion_qwen.evaluation.run.predictions import Prediction
from emotion_qwen.evaluation.run.runner import answer_task
from emotion_qwen.evaluation.scoring.bootstrap import mean_over_tasks
from emotion_qwen.files import write_whole
from emotion_qwen.records import WHOLE
from recipes.mini.tasks import BY_NAME, MEASURED

FACES = ("ferplus", "fer", "rafdb")
"""Tasks whose recalls are pooled."""
POOLED = ("anger", "sadness", "fear", "disgust")
LANGUAGE = {"clue": "zh"}
"""Task -> language of the question, where it is not English."""


def measured(answers: Sequence[Prediction]) -> dict[str, Any]:
    """Return items, accuracy with its 95 % interval, macro F1 and recalls, in percent; no answer counts as wrong."""
    right = np.array([bool(each.right) for each in answers], dtype=float)
    sure = mean_over_tasks([right])
    truth = [each.answer for each in answers]
    chosen = [each.predicted or "" for each in answers]
    groups = np.array([each.group for each in answers])
    return {
        "items": len(answers),
        "accuracy": percent(right.mean()),
        "interval": [percent(sure.low), percent(sure.high)],
        "macro F1": percent(f1_score(truth, chosen, labels=sorted(set(truth)), average="macro", zero_division=0)),
        "unanswered": percent(float(np.mean([each.predicted is None for each in answers]))),
        "recall": {str(name): percent(right[groups == name].mean()) for name in np.unique(groups)},
    }


def percent(share: Any) -> float:
    """Return a share in percent, with one decimal."""
    return round(float(share) * 100, 1)


def pooled_recalls(by_task: Mapping[str, Sequence[Prediction]]) -> dict[str, float]:
    """Return the recall of each emotion of `POOLED` over all faces together."""
    faces = [each for name in FACES for each in by_task.get(name, ())]
    right = {emotion: [bool(each.right) for each in faces if each.group == emotion] for emotion in POOLED}
    return {emotion: percent(np.mean(found)) if found else 0.0 for emotion, found in right.items()}


def measure(model: str, data: Path, predictions: Path, limit: int | None) -> dict[str, Any]:
    """Answer every task of `MEASURED` by one model; a task that the model has no input for is left out."""
    engine = Engine.load(model)
    figures: dict[str, Any] = {}
    kept: dict[str, Sequence[Prediction]] = {}
    for name in MEASURED:
        task = BY_NAME[name]
        language = LANGUAGE.get(name, "en")
        ways = {"as analyze": task}
        if name in FACES:
            ways["whole picture"] = replace(task, about=WHOLE)
        for way, variant in ways.items():
            click.echo(f"{model}: {name}, {way}", err=True)
            folder = predictions / Path(model).name / f"{name}_{way.replace(' ', '_')}"
            answered = answer_task(
                LocalModel(engine), variant, folder, data=data, languages=(language,), split="validation", limit=limit
            )
            figures.setdefault(task.title, {})[way] = measured(answered.predictions)
            if way == "as analyze":
                kept[name] = answered.predictions
    figures["recall pooled over faces"] = pooled_recalls(kept)
    return figures


def page(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page of one or several models, as Markdown."""
    models = list(figures)
    lines = [
        f"# Accuracy of {' and '.join(models)}",
        "",
        "Made by `python -m recipes.mini.card`: validation parts only, label likelihood as `analyze` uses it, accuracy "
        "in percent with 95 % bootstrap intervals. A picture in which no face is detected counts as wrong; the rows "
        "`whole picture` answer from the whole picture instead.",
        "",
        "| task | items | " + " | ".join(f"{model} | interval | macro F1" for model in models) + " |",
        "|---|---|" + "---|---|---|" * len(models),
    ]
    first = figures[models[0]]
    for title, ways in first.items():
        if title.startswith("recall"):
            continue
        for way in ways:
            cells = []
            for model in models:
                row = figures[model][title][way]
                low, high = row["interval"]
                cells.append(f"{row['accuracy']} | {low}–{high} | {row['macro F1']}")
            name = title if way == "as analyze" else f"{title}, {way}"
            lines.append(f"| {name} | {ways[way]['items']} | " + " | ".join(cells) + " |")
    lines += ["", "Recall of rare emotions, pooled over the three sets of faces, percent:", ""]
    lines += ["| model | " + " | ".join(POOLED) + " |", "|---|" + "---|" * len(POOLED)]
    for model in models:
        recalls = figures[model]["recall pooled over faces"]
        lines.append(f"| {model} | " + " | ".join(str(recalls[emotion]) for emotion in POOLED) + " |")
    for model in models:
        for title, ways in figures[model].items():
            if not title.startswith("recall"):
                named = ", ".join(f"{label} {share}" for label, share in ways["as analyze"]["recall"].items())
                lines += ["", f"Recall by class, {model}, {title} (%): {named}."]
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--model", "models", multiple=True, required=True, help="name or folder; several are compared")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="folder of the Parquet files")
@click.option("--predictions", type=click.Path(path_type=Path), required=True, help="folder of the answers")
@click.option("--results", type=click.Path(path_type=Path), required=True, help="folder of the page")
@click.option("--limit", type=int, default=None, help="items of each task, evenly spaced")
def card(models: tuple[str, ...], data: Path, predictions: Path, results: Path, limit: int | None) -> None:
    """Measure models on the validation parts and write `mini.json` and `mini.md`."""
    figures = {Path(model).name: measure(model, data, predictions, limit) for model in models}
    results.mkdir(parents=True, exist_ok=True)
    write_whole(results / "mini.json", json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    write_whole(results / "mini.md", page(figures))
    click.echo(page(figures))


if __name__ == "__main__":
    sys.exit(run_command(card))
