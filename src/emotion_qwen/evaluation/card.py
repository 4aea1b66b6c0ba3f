"""Measure nano on validation pictures: by label likelihood in both languages, and what it writes freely.

The figures go to `docs/results/nano.json` and, as a page, to `docs/results/nano.md`; README and model card quote them
from there. Only validation parts are read.

python -m emotion_qwen.evaluation.card --data DATA --results docs/results
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from emotion_qwen.data.pictures import read_pictures
from emotion_qwen.data.questions import OBJECT_CLOSED, OBJECT_SET
from emotion_qwen.inference.engine import Engine
from emotion_qwen.inference.scoring import label_scores, less_blank
from emotion_qwen.prepare import person_views
from emotion_qwen.processing.chat import LANGUAGES, QUESTIONS
from emotion_qwen.settings import ClipSettings
from emotion_qwen.taxonomy import LabelSet, label_set, match_label

INTERVAL_DRAWS = 2000
SIDE = 48


@dataclass(frozen=True)
class Question:
    """A closed question about one file of validation pictures."""

    name: str
    file: str
    labels: LabelSet
    crop: float = 1.0
    keep: tuple[str, ...] | None = None


QUESTIONS_ASKED = (
    Question("FER2013, 7 emotions", "faces_fer_aligned.parquet", label_set("fer7")),
    Question(
        "LFW, happiness or neutral", "faces_lfw_expressions.parquet", label_set("fer7"), 0.85, ("happiness", "neutral")
    ),
    Question("CIFAR-10, 10 objects", "pictures_cifar10.parquet", OBJECT_SET),
)


def measure(engine: Engine, data: Path, limit: int | None = None) -> dict[str, Any]:
    """Measure every question of `QUESTIONS_ASKED`.

    Args:
        engine: the model.
        data: folder of the Parquet files.
        limit: look at about so many pictures of each file, evenly spaced.

    Returns:
        Per question: pictures, accuracy by language with a 95 % bootstrap interval, per-class recall, and for faces the
        share of freely written sentences that name the likeliest label.
    """
    return {question.name: _measure_one(engine, question, data, limit) for question in QUESTIONS_ASKED}


def _measure_one(engine: Engine, question: Question, data: Path, limit: int | None) -> dict[str, Any]:
    pictures = read_pictures(data / question.file, "validation", SIDE, crop=question.crop)
    kept = question.keep or question.labels.labels
    rows = [i for i, name in enumerate(pictures.labels) if name in kept]
    rows = rows[:: max(1, len(rows) // limit)] if limit else rows  # the files stand in the order of their labels
    settings = engine.processor.settings
    views = [_views(pictures.pixels[i], question, settings) for i in rows]
    truth = np.array([question.labels.labels.index(pictures.labels[i]) for i in rows])
    result: dict[str, Any] = {"pictures": len(rows), "accuracy": {}, "interval": {}, "recall": {}}
    for language in LANGUAGES:
        chosen, telling = _choose(engine, views, question, language)
        right = chosen == truth
        result["accuracy"][language] = _percent(right.mean())
        result["interval"][language] = _interval(right)
        result["recall"][language] = {
            name: _percent(right[truth == k].mean()) for k, name in enumerate(question.labels.labels) if name in kept
        }
        if question.labels is not OBJECT_SET:
            shown = [_part(views[i][telling[i]]) for i in range(len(rows))]
            written = engine.write(shown, QUESTIONS["describe"][language])
            named = [match_label(text, question.labels, language) for text in written]
            likely = [question.labels.labels[k] for k in chosen]
            agree = np.mean([n == k for n, k in zip(named, likely, strict=True)])
            result.setdefault("written_agrees", {})[language] = _percent(agree)
            result.setdefault("written_parses", {})[language] = _percent(np.mean([n is not None for n in named]))
    return result


def _choose(
    engine: Engine, views: Sequence[np.ndarray], question: Question, language: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return per picture the likeliest allowed label and the view that shows it best, as `analyze` pools a person."""
    parts = [_part(view) for one in views for view in one]
    if question.labels is OBJECT_SET:
        names = question.labels.names(language)
        asked = OBJECT_CLOSED[language][0].format(labels=(", " if language == "en" else "、").join(names))
        scores, _ = less_blank(engine, parts, asked, names)
    else:
        scores, _ = label_scores(engine, parts, question.labels, language)
    shares = scores.softmax(-1).numpy().reshape(len(views), -1, scores.shape[-1])  # (pictures, views, labels)
    allowed = [question.labels.labels.index(name) for name in question.keep or question.labels.labels]
    chosen = np.array(allowed)[shares.mean(axis=1)[:, allowed].argmax(axis=-1)]
    return chosen, np.take_along_axis(shares, chosen[:, None, None], axis=2)[..., 0].argmax(axis=1)


def _views(picture: np.ndarray, question: Question, settings: ClipSettings) -> np.ndarray:
    return picture[None] if question.labels is OBJECT_SET else person_views(picture, SIDE, settings)


def _part(picture: np.ndarray) -> dict[str, Any]:
    return {"type": "image", "image": np.ascontiguousarray(picture)}


def _interval(right: np.ndarray) -> list[float]:
    draws = np.random.default_rng(0).choice(right, (INTERVAL_DRAWS, len(right))).mean(axis=1)
    return [_percent(share) for share in np.quantile(draws, [0.025, 0.975])]


def _percent(share: Any) -> float:
    return round(float(share) * 100, 1)


def write_results(figures: dict[str, Any], folder: Path) -> None:
    """Write `nano.json` and the page `nano.md` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nano.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = [
        "# What nano measures",
        "",
        "Made by the last step of `recipes/train_nano.sh`; validation parts only, label likelihood, "
        "95 % bootstrap intervals.",
        "",
        "| question | pictures | EN | interval | ZH | interval | written text names the likeliest label, EN / ZH |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in figures.items():
        (low_en, high_en), (low_zh, high_zh) = row["interval"]["en"], row["interval"]["zh"]
        agrees = row.get("written_agrees")
        told = f"{agrees['en']} % / {agrees['zh']} %" if agrees else "not asked"
        lines.append(
            f"| {name} | {row['pictures']} | {row['accuracy']['en']} % | {low_en}–{high_en} "
            f"| {row['accuracy']['zh']} % | {low_zh}–{high_zh} | {told} |"
        )
    for name, row in figures.items():
        recalls = ", ".join(f"{label} {share}" for label, share in row["recall"]["en"].items())
        lines += ["", f"Recall by class, {name} (EN, %): {recalls}."]
    (folder / "nano.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="folder of the Parquet files")
@click.option("--model", default=None, help="model folder; the shipped nano if not given")
@click.option("--results", type=click.Path(path_type=Path), required=True, help="folder of the page")
@click.option("--limit", type=int, default=None, help="about so many pictures of each file")
def card(data: Path, model: str | None, results: Path, limit: int | None) -> None:
    """Measure a model on the validation pictures and write the page."""
    write_results(measure(Engine.load(model), data, limit), results)


if __name__ == "__main__":
    card()
