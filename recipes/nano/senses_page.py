"""Measure single and combined channels of a model, and write the page.

First held-out voices and comments, each alone; then artificial moments (a face, a voice and a sentence with one
emotion) with every combination of channels; then moments in which one channel has another emotion, to see whether the
report's channel influence names that channel.

python -m recipes.nano.senses_page --data DATA --predictions RUNS/predictions --results docs/results
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import track

from emotion_qwen.analysis.reader import label_reader
from emotion_qwen.analysis.reading import ClipReading
from emotion_qwen.analysis.report import influence
from emotion_qwen.analysis.request import Request
from emotion_qwen.console import run_command
from emotion_qwen.data.pictures import Pictures, read_pictures
from emotion_qwen.data.texts import Texts, read_texts
from emotion_qwen.data.voices import Voices, read_voices
from emotion_qwen.engine.engine import Engine
from emotion_qwen.evaluation.pages.figures import AFTER, BEFORE
from emotion_qwen.evaluation.run.answerers.local import LocalModel, picture_side
from emotion_qwen.evaluation.run.predictions import Prediction
from emotion_qwen.evaluation.run.runner import answer_task
from emotion_qwen.evaluation.scoring.bootstrap import mean_over_tasks
from emotion_qwen.extras import optional
from emotion_qwen.faces import CenterFaceDetector, FaceDetector
from emotion_qwen.files import write_whole
from emotion_qwen.media.sound import SAMPLE_RATE
from emotion_qwen.prepare import ClipBudget, PreparedClip, prepare_clip
from emotion_qwen.questions import LANGUAGES
from emotion_qwen.records import Clip, Utterance
from emotion_qwen.taxonomy import label_set
from recipes.nano.tasks import BY_NAME, CHANNELS, CHOICES, moments_name

ALONE = ("emodb", "goemotions")
LABELS = label_set("fer7")
SHARED = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
"""Labels that all three channels have; chance is one in six, although seven labels may be chosen."""


def measure(engine: Engine, data: Path, predictions: Path, limit: int | None = None) -> dict[str, Any]:
    """Measure the tasks of single channels and of moments in both languages.

    Returns:
        For each task: items, and for each language accuracy with its 95 % bootstrap interval, macro F1 and UAR, all in
        percent.
    """
    figures = {}
    for name in (*ALONE, *map(moments_name, CHOICES)):
        answered = answer_task(
            LocalModel(engine), BY_NAME[name], predictions / name, data=data, languages=LANGUAGES, limit=limit
        ).predictions
        by_language = {
            language: [answer for answer in answered if answer.language == language] for language in LANGUAGES
        }
        figures[name] = {"title": BY_NAME[name].title, "items": len(by_language[LANGUAGES[0]])}
        figures[name] |= {language: _figures(lines) for language, lines in by_language.items()}
    return figures


def _figures(lines: Sequence[Prediction]) -> dict[str, Any]:
    metrics = optional("sklearn.metrics", "eval")
    answers, predictions = [line.answer for line in lines], [line.predicted or "" for line in lines]
    labels = sorted(set(answers))
    right = np.array([line.right for line in lines], dtype=float)
    sure = mean_over_tasks([right])
    return {
        "accuracy": _percent(right.mean()),
        "interval": [_percent(sure.low), _percent(sure.high)],
        "macro_f1": _percent(metrics.f1_score(answers, predictions, labels=labels, average="macro", zero_division=0)),
        "uar": _percent(metrics.recall_score(answers, predictions, labels=labels, average="macro", zero_division=0)),
    }


def _percent(share: Any) -> float:
    return round(float(share) * 100, 1)


def conflicts(engine: Engine, data: Path, count: int, console: Console | None = None) -> dict[str, Any]:
    """Build moments in which one channel has another emotion, and count which channels the report names as disagreeing.

    The moments are processed as for a report: face crops, sound and words of a clip, pooled, with each channel left out
    in turn.

    Args:
        engine: the model.
        data: folder of the Parquet files.
        count: number of moments; the odd channel alternates.

    Returns:
        The number of moments; the number in which the odd channel was named; and the same for those in which every
        channel alone was read as intended, because naming it can only be expected there.
    """
    validation = (
        read_pictures(data / "faces_fer_aligned.parquet", "validation", picture_side(engine)),
        read_voices(data / "speech_emodb.parquet", "validation"),
        read_texts(data / "text_goemotions.parquet", "validation"),
    )
    rng = np.random.default_rng(0)
    reader, detector = label_reader(engine, LABELS, "en"), CenterFaceDetector()
    named = readable = named_readable = false_alarms = 0
    for number in track(range(count), "conflicts", console=console or Console(stderr=True)):
        odd = CHANNELS[number % len(CHANNELS)]
        meant, other = rng.choice(SHARED, 2, replace=False)
        labels = {channel: other if channel == odd else meant for channel in CHANNELS}
        reading = ClipReading(reader, _moment(engine, validation, labels, rng, detector), Request(LABELS))
        pooled = reading.clip(reading.channels)
        influences = {effect.channel: effect for effect in influence(reading) if effect.label}
        disagree = {name for name, effect in influences.items() if not effect.agrees}
        read = all(
            name in influences and influences[name].label == label for name, label in labels.items()
        )  # a face may be missed
        with_most = LABELS.labels[int(pooled.argmax())] == meant
        named += odd in disagree
        readable += read and with_most
        named_readable += read and with_most and disagree == {odd}
        false_alarms += bool(disagree - {odd}) and with_most
    return {
        "moments": count, "named": named, "read_as_meant": readable, "named_of_these": named_readable,
        "others_named": false_alarms,
    }  # fmt: skip


def _moment(
    engine: Engine,
    validation: tuple[Pictures, Voices, Texts],
    meant: dict[str, str],
    rng: np.random.Generator,
    detector: FaceDetector,
) -> PreparedClip:
    """Build a prepared clip of 2 s whose channels have the given labels."""
    faces, voices, texts = validation
    rows = {}
    for channel, labels in zip(CHANNELS, (faces.labels, voices.labels, texts.labels), strict=True):
        rows[channel] = int(rng.choice([row for row, label in enumerate(labels) if label == meant[channel]]))
    pixels, wave = faces.pixels[rows["picture"]], voices.waves[rows["sound"]]
    length = len(wave) / SAMPLE_RATE
    utterances = (Utterance(0.0, length, texts.texts[rows["words"]]),)
    clip = Clip(
        np.stack([pixels, pixels]), np.array([0.0, length]), "artificial", duration=length, size=pixels.shape[:2],
        wave=wave, sample_rate=SAMPLE_RATE, utterances=utterances,
    )  # fmt: skip
    return prepare_clip(clip, detector, ClipBudget.of(engine.processor))


def draw(figures: dict[str, Any], path: Path) -> None:
    """Draw accuracy by combination of channels, in both languages, as one PNG."""
    figure = optional("matplotlib.figure", "eval").Figure(figsize=(9, 3.8), layout="constrained")
    axes = figure.subplots()
    names = [" + ".join(channels) for channels in CHOICES]
    for offset, (language, colour) in enumerate(zip(LANGUAGES, (AFTER, BEFORE), strict=True)):
        rows = [figures[moments_name(channels)][language] for channels in CHOICES]
        places = np.arange(len(rows)) + (offset - 0.5) * 0.38
        values = np.array([row["accuracy"] for row in rows])
        errors = np.abs(np.array([row["interval"] for row in rows]).T - values)
        axes.bar(places, values, 0.36, yerr=errors, color=colour, label=language.upper(), capsize=2)
    axes.axhline(100 / len(LABELS.labels), color="0.5", linewidth=0.8, linestyle=":")
    axes.set_xticks(range(len(names)), names, rotation=20, ha="right")
    axes.set_ylabel("accuracy, %")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def write_results(figures: dict[str, Any], conflict: dict[str, Any], folder: Path) -> None:
    """Write `senses.json`, `senses.md` and `senses.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    results = {"tasks": figures, "conflicts": conflict}
    write_whole(folder / "senses.json", json.dumps(results, indent=2) + "\n")
    draw(figures, folder / "senses.png")
    lines = [
        "# Accuracy of nano on voices and texts",
        "",
        "Made by `python -m recipes.nano.senses_page`; validation parts only, label likelihood, "
        "95 % bootstrap intervals over items. The voices are of two speakers who do not occur in training, so the "
        "interval of EmoDB does not extend to other speakers. [The audio encoder alone](hearing.md).",
        "",
        "| question | items | EN | interval | macro F1 | ZH | macro F1 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in ALONE:
        lines.append(_row(figures[name], figures[name]["title"]))
    lines += [
        "",
        "## Combinations of channels",
        "",
        "Artificial moments: a face (FER2013), a voice (EmoDB) and a comment (GoEmotions) of one of six emotions, "
        "drawn independently; they never belong to the same person. Every row uses the same moments. "
        "Channels are weighted by their reliability on voices and lines from sources that the model was not trained "
        "on. EmoDB's voices resemble its training voices, so the sound is more reliable here than its weight suggests.",
        "",
        "| channels | moments | EN | interval | macro F1 | ZH | macro F1 |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_row(figures[moments_name(channels)], " + ".join(channels)) for channels in CHOICES]
    lines += ["", "![Accuracy by channels](senses.png)", "", *_gains(figures), "", "## Channels that disagree", ""]
    lines.append(
        f"{conflict['moments']} moments in which one channel has another emotion. The report named that channel as "
        f"disagreeing in {conflict['named']}. In {conflict['read_as_meant']}, every channel alone was read as "
        f"intended and the clip's label was that of the two; of these, it named that channel and no other in "
        f"{conflict['named_of_these']}. In {conflict['others_named']}, it also named another one, because the model "
        "had misread it."
    )
    write_whole(folder / "senses.md", "\n".join(lines) + "\n")


def _row(row: dict[str, Any], title: str) -> str:
    en, zh = row["en"], row["zh"]
    low, high = en["interval"]
    return (
        f"| {title} | {row['items']} | {en['accuracy']} % | {low}–{high} | {en['macro_f1']} % "
        f"| {zh['accuracy']} % | {zh['macro_f1']} % |"
    )


def _gains(figures: dict[str, Any]) -> list[str]:
    """Describe the gain of all channels over the best one, and the loss when each is left out."""
    right = {channels: figures[moments_name(channels)]["en"]["accuracy"] for channels in CHOICES}
    best = max(((channel,) for channel in CHANNELS), key=right.__getitem__)
    chance = 100 / len(LABELS.labels)
    gain = right[CHANNELS] - right[best]
    size = f"{gain:+.1f} points above" if gain >= 0 else f"{-gain:.1f} points below"
    sentences = [f"All channels together are {size} the best one ({best[0]})."]
    for channel in CHANNELS:
        rest = tuple(name for name in CHANNELS if name != channel)
        sentences.append(
            f"Without {channel}: {right[rest] - right[CHANNELS]:+.1f} points; alone, it is "
            f"{right[channel,] - chance:.1f} above chance."
        )
    return sentences


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="folder of the Parquet files")
@click.option("--model", default=None, help="model folder; the shipped nano if not given")
@click.option("--predictions", type=click.Path(path_type=Path), required=True, help="folder of the answers, to go on")
@click.option("--results", type=click.Path(path_type=Path), required=True, help="folder of the page")
@click.option("--limit", type=int, default=None, help="number of items of each task")
@click.option("--conflicting", default=300, show_default=True, help="moments with one odd channel")
def senses(
    data: Path, model: str | None, predictions: Path, results: Path, limit: int | None, conflicting: int
) -> None:
    """Measure single and combined channels of a model, and write the page."""
    engine = Engine.load(model)
    write_results(measure(engine, data, predictions, limit), conflicts(engine, data, conflicting), results)


if __name__ == "__main__":
    sys.exit(run_command(senses))
