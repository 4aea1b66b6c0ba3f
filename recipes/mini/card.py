"""Measure mini and nano on validation parts, by label likelihood, and write the page of figures.

Models that are already in `mini.json` and are not named keep their figures, so that a single model can be measured
again.

Every picture is answered twice: as in `analyze`, where a face that is not detected counts as wrong, and as a whole
picture. Answers are stored, so that an interrupted run can be continued.

A model answers without its calibration. If it ships with biases per emotion, these are fitted on one half of the items
and used on the other, and vice versa, so that no item is evaluated with biases that it was used to fit. No biases are
fitted on RAF-DB. The shipped calibration (`--calibration`) is fitted on both halves.

    python -m recipes.mini.card --data DATA --predictions RUNS/predictions --results docs/results \\
        --model mini --model nano
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from sklearn.metrics import f1_score

from emotion_qwen.console import run_command
from emotion_qwen.engine.calibration import Calibration, ChannelFit
from emotion_qwen.engine.engine import Engine
from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.calibrate import fit_channel
from emotion_qwen.evaluation.run.answerers.local import LocalModel
from emotion_qwen.evaluation.run.predictions import Prediction
from emotion_qwen.evaluation.run.runner import answer_task
from emotion_qwen.evaluation.scoring.bootstrap import mean_over_tasks
from emotion_qwen.evaluation.tasks.files import read_json_file
from emotion_qwen.files import write_whole
from emotion_qwen.records import WHOLE
from emotion_qwen.taxonomy import concept_of_word
from recipes.mini.tasks import BY_NAME, MEASURED

FACES = ("ferplus_votes", "fer", "rafdb_aligned")
"""Tasks whose recalls are pooled."""
POOLED = ("anger", "sadness", "fear", "disgust")
CHANNELS = {
    "picture": ("ferplus_votes", "fer"), "sound": ("emodb", "ravdess_voices", "nemo6"), "words": ("goemotions", "clue"),
}  # fmt: skip
"""Channel -> tasks on which its biases are fitted."""
MEASURED_BY = {"rafdb_aligned": "picture"}
"""Task that is only used for evaluation -> channel whose biases it uses."""
CALIBRATED_SETS = ("dfew7", "fer7", "ekman", "ferplus8", "emodb7", "ravdess8")
DIVISIONS = 8
"""Divisions of the items into halves, over which the gain of biases is averaged."""
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


def helpful_fit(answers: Mapping[str, Sequence[Prediction]]) -> ChannelFit:
    """Fit a channel with biases, or without if they do not raise the accuracy on items that they are not fitted on.

    The tasks of a channel share their biases, and one bias cannot serve all if the frequencies of emotions differ
    between them. One division into halves is not enough to decide, so the gain is the mean over several.
    """
    gains = []
    for division in range(DIVISIONS):
        moved = {name: list(lines) for name, lines in answers.items()}
        _use_biases(moved, answers, tuple(answers), division)
        for name, lines in answers.items():
            gains.append(np.mean([a.predicted == a.answer for a in moved[name]]))
            gains[-1] -= np.mean([a.predicted == a.answer for a in lines])
    return fit_channel(answers, with_biases=bool(np.mean(gains) > 0))


def _use_biases(
    calibrated: dict[str, list[Prediction]], answers: Mapping[str, Sequence[Prediction]], fitted: Sequence[str],
    division: int = 0,
) -> None:  # fmt: skip
    """Apply to every answer the biases fitted on the other half of the tasks `fitted`."""
    for odd in (False, True):
        others = {name: [line for line in answers[name] if is_odd(line, division) != odd] for name in fitted}
        biases = fit_channel(others, with_biases=True).biases
        for name, lines in calibrated.items():
            lines[:] = [
                with_biases(given, biases) if is_odd(given, division) == odd else line
                for line, given in zip(lines, answers[name], strict=True)
            ]


def cross_fitted(answers: Mapping[str, Sequence[Prediction]]) -> dict[str, list[Prediction]]:
    """Return the answers of tasks with biases fitted on the other half of the items, where these help."""
    calibrated = {name: list(lines) for name, lines in answers.items()}
    for channel, names in CHANNELS.items():
        present = [name for name in names if name in answers]
        if present and helpful_fit({name: answers[name] for name in present}).biases:
            using = (*present, *(task for task, by in MEASURED_BY.items() if by == channel and task in answers))
            _use_biases({name: calibrated[name] for name in using}, answers, present)
    return calibrated


def is_odd(line: Prediction, division: int = 0) -> bool:
    """Return which half of the items a line is in, by a hash of its id; every division has different halves."""
    return bool(hashlib.sha256(line.id.encode()).digest()[division] % 2)


def with_biases(line: Prediction, biases: Mapping[str, float]) -> Prediction:
    """Return an answer with biases of emotions added to its scores; a missing answer stays missing."""
    if not line.scores:
        return line
    known = concept_of_word()
    moved = {name: math.log(max(share, 1e-6)) + biases.get(known.get(name.lower(), name), 0.0)
             for name, share in line.scores.items()}  # fmt: skip
    return replace(line, predicted=max(moved, key=lambda name: moved[name]))


def measure(
    model: str, data: Path, predictions: Path, limit: int | None, calibration: Path | None = None
) -> dict[str, Any]:
    """Have a model answer every task of `MEASURED`; a task for which the model has no input is left out.

    Args:
        model: name or folder.
        data: folder of the Parquet files.
        predictions: folder of the answers.
        limit: items of each task.
        calibration: folder into which the calibration of the model is written; None measures only.
    """
    engine = Engine.load(model)
    has_biases = calibration is not None or any(fit.biases for fit in engine.calibration.channels.values())
    engine.calibration = Calibration()
    figures: dict[str, Any] = {}
    answers: dict[str, dict[str, Sequence[Prediction]]] = {}
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
            answers.setdefault(way, {})[name] = answered.predictions
    for way, by_task in answers.items():
        for name, lines in (cross_fitted(by_task) if has_biases else by_task).items():
            plain = measured(by_task[name])
            figures.setdefault(BY_NAME[name].title, {})[way] = {
                **measured(lines), "without biases": plain["accuracy"], "recall without biases": plain["recall"]
            }  # fmt: skip
    faces = answers["as analyze"]
    figures["recall pooled over faces"] = pooled_recalls(cross_fitted(faces) if has_biases else faces)
    if calibration is not None:
        whole = answers["as analyze"]
        fits = {channel: helpful_fit({name: whole[name] for name in names})
                for channel, names in CHANNELS.items() if set(names) <= set(whole)}  # fmt: skip
        Calibration(fits, CALIBRATED_SETS).write(calibration)
    return figures


def page(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page of one or several models, as Markdown."""
    models = list(figures)
    lines = [
        f"# Accuracy of {' and '.join(models)}",
        "",
        "Made by `python -m recipes.mini.card`: validation parts only, label likelihood as `analyze` uses it, accuracy "
        "in percent with 95 % bootstrap intervals. A picture in which no face is detected counts as wrong; in the rows "
        "`whole picture`, the answer is for the whole picture instead. Biases per emotion (`calibration.json`) are "
        "fitted on one half of the items and evaluated on the other; none are fitted on RAF-DB, and a channel (faces, "
        "voices or words) has none if they do not raise its accuracy.",
        "",
        "| task | items | " + " | ".join(f"{model} | interval | macro F1" for model in models) + " |",
        "|---|---|" + "---|---|---|" * len(models),
    ]
    # Models that were measured at different times may differ in their tasks and in the number of items.
    for title, way in dict.fromkeys((title, way) for model in models for title, way in _measured_ways(figures[model])):
        rows = [figures[model].get(title, {}).get(way) for model in models]
        cells = [
            f"{row['accuracy']} | {row['interval'][0]}–{row['interval'][1]} | {row['macro F1']}" if row else "| |"
            for row in rows
        ]
        items = ", ".join(dict.fromkeys(str(row["items"]) for row in rows if row))
        name = title if way == "as analyze" else f"{title}, {way}"
        lines.append(f"| {name} | {items} | " + " | ".join(cells) + " |")
    lines += ["", "Recall of rare emotions, pooled over the three sets of faces, percent:", ""]
    lines += ["| model | " + " | ".join(POOLED) + " |", "|---|" + "---|" * len(POOLED)]
    for model in models:
        recalls = figures[model]["recall pooled over faces"]
        lines.append(f"| {model} | " + " | ".join(str(recalls[emotion]) for emotion in POOLED) + " |")
    for model in models:
        for title, way in _measured_ways(figures[model]):
            if way == "as analyze":
                recalls = figures[model][title][way]["recall"]
                named = ", ".join(f"{label} {share}" for label, share in recalls.items())
                lines += ["", f"Recall by class, {model}, {title} (%): {named}."]
    return "\n".join(lines) + "\n"


def _measured_ways(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return title of the task and way of asking of every measurement of a model."""
    return [(title, way) for title, ways in figures.items() if not title.startswith("recall") for way in ways]


def with_earlier(figures: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the figures of the file, with those of newly measured models replacing their earlier ones.

    Args:
        figures: model -> its new figures; models that are not in the file come after those that are.
        path: `mini.json`; without it, there are no earlier figures.

    Raises:
        DataError: the file is not a table of models.
    """
    if not path.is_file():
        return dict(figures)
    earlier = read_json_file(path)
    if not isinstance(earlier, dict) or not all(isinstance(ways, dict) for ways in earlier.values()):
        raise DataError(f"{path}: contains no figures per model; remove it, or give another --results")
    return {**earlier, **figures}


@click.command()
@click.option("--model", "models", multiple=True, required=True, help="name or folder; several times")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="folder of the Parquet files")
@click.option("--predictions", type=click.Path(path_type=Path), required=True, help="folder of the answers")
@click.option("--results", type=click.Path(path_type=Path), required=True, help="folder of the page")
@click.option("--limit", type=int, default=None, help="items of each task, evenly spaced")
@click.option("--calibration", type=click.Path(path_type=Path), default=None, help="folder for the first model's fits")
def card(
    models: tuple[str, ...], data: Path, predictions: Path, results: Path, limit: int | None, calibration: Path | None
) -> None:
    """Measure models on the validation parts and write `mini.json` and `mini.md`.

    Models of an existing `mini.json` that are not named keep their figures.
    """
    with_earlier({}, results / "mini.json")  # fail now rather than after hours of answers
    figures = {
        Path(model).name: measure(model, data, predictions, limit, None if n else calibration)
        for n, model in enumerate(models)
    }
    figures = with_earlier(figures, results / "mini.json")
    results.mkdir(parents=True, exist_ok=True)
    write_whole(results / "mini.json", json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    write_whole(results / "mini.md", page(figures))
    click.echo(page(figures))


if __name__ == "__main__":
    sys.exit(run_command(card))
