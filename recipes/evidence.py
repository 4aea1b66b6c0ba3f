"""Measure the gain of labelled examples and of the word table over nano alone on validation data, with intervals.

    python -m recipes.evidence features --data DATA --runs RUNS
    python -m recipes.evidence words --data DATA --to FOLDER
    python -m recipes.evidence gains --data DATA --runs RUNS --words FOLDER --output evidence.json

`features` has the model read training items (the examples) and validation items of faces, voices and words; every
task's answers are stored as soon as they are complete. `words` counts the word table. `gains` fits the number of
neighbours and the weight on one half of the validation items and measures on the other, and vice versa, so that every
item is measured once. Both are compared with controls: examples with shuffled labels, and the shipped verifier in place
of the word table.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import numpy as np
import pyarrow.parquet as pq
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save

from emotion_qwen.analysis.examples import fit_examples, fit_weight, neighbour_shares, spaced
from emotion_qwen.analysis.reader import label_reader
from emotion_qwen.console import run_command
from emotion_qwen.data.voices import decode_voice
from emotion_qwen.engine.calibration import combine
from emotion_qwen.engine.engine import Engine
from emotion_qwen.evaluation.scoring.bootstrap import mean_over_tasks
from emotion_qwen.evaluation.task import Item
from emotion_qwen.files import write_whole
from emotion_qwen.media.sound import SAMPLE_RATE
from emotion_qwen.media.voice_claims import level_measures
from emotion_qwen.taxonomy import label_set
from emotion_qwen.verify.sentences import labelled_sentences, read_columns, read_sentences
from emotion_qwen.verify.verifier import EMOTIONS, Verifier, emotion_of
from emotion_qwen.verify.word_table import WordTable
from recipes.options import folder_options
from recipes.reinforcement import task_items

CHANNELS = {"fer": "picture", "emodb": "sound", "ravdess_voices": "sound", "goemotions": "words",
            "meld_lines": "words"}  # fmt: skip
"""Task -> the one channel of its items."""
TEXTS = {"goemotions": "text_goemotions.parquet", "meld_lines": "text_dialogue_en.parquet"}
VOICES = {"speech_emodb.parquet": "", "speech_ravdess.parquet": "", "speech_more.parquet": "nEMO"}
"""File of voices -> its corpus that is used; "" for all."""
AT_ONCE = 64
Arrays = dict[str, np.ndarray]
"""The result of `read_items`."""


def read_items(engine: Engine, items: Sequence[Item], channel: str) -> Arrays:
    """Return the model's readings of N items of one channel over K labels.

    Returns:
        "shares" (N, K), calibrated; "pooled", "visual" and "audio" (N, H), "actions" (N, A), as in `ClipFeatures`, as
        far as the model has them; and "label" (N,), the column of the right label.
    """
    labels = label_set(items[0].label_set)
    reader = label_reader(engine, labels, "en")
    temperature = engine.calibration.temperature(channel) or 1.0
    biases = torch.from_numpy(engine.calibration.biases(channel, labels.labels))
    rows: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(items), AT_ONCE):
        for answer in reader.answers([list(item.parts) for item in items[start : start + AT_ONCE]]):
            shares = ((answer.scores.double() + biases) / temperature).softmax(-1)
            read = {"shares": shares, "pooled": answer.hidden, "visual": answer.visual, "audio": answer.audio,
                    "actions": answer.actions}  # fmt: skip
            for name, value in read.items():
                if value is not None:
                    rows.setdefault(name, []).append(value.float().numpy())
        reader.forget()
    columns = np.array([labels.labels.index(item.references[0]) for item in items])
    return {"label": columns, **{name: np.stack(values) for name, values in rows.items()}}


@click.group()
def main() -> None:
    """Measure the gain of examples and the word table."""


@main.command()
@folder_options
@click.option("--model", default="nano", show_default=True)
@click.option("--examples", type=int, default=3000, show_default=True, help="training items per task, at most")
@click.option("--items", type=int, default=1000, show_default=True, help="validation items per task, at most")
def features(data: Path, runs: Path, model: str, examples: int, items: int) -> None:
    """Have the model read the items of all tasks."""
    engine = Engine.load(model)
    for task, channel in CHANNELS.items():
        for split, limit in (("validation", items), ("train", examples)):
            path = runs / f"{task}.{split}.safetensors"
            if not path.exists():
                chosen = task_items(task, data, split, "en", limit)
                write_whole(path, save(read_items(engine, chosen, channel), {"ids": "\n".join(i.id for i in chosen)}))
                click.echo(f"{path}: {len(chosen)} items")


Fit = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Given the rows to fit on and the rows to answer, returns the factors of the latter's shares."""


def example_fit(examples: Arrays, asked: Arrays, kind: str, columns: np.ndarray) -> Fit:
    """Return the fit of labelled examples by features of one kind, such as "pooled"; `columns` are their labels."""

    def fit(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        fitted = fit_examples(
            examples[kind], columns, asked[kind][rows], asked["shares"][rows].astype(float), asked["label"][rows]
        )
        nearest = np.argsort(spaced(examples[kind], asked[kind][others]), axis=1, kind="stable")
        return neighbour_shares(columns[nearest[:, : fitted.neighbours]], asked["shares"].shape[1]) ** fitted.weight

    return fit


def opinion_fit(opinions: np.ndarray, asked: Arrays) -> Fit:
    """Return the fit of the weight of (N, L) shares of another source."""

    def fit(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        weight, _ = fit_weight(asked["shares"][rows].astype(float), opinions[rows], asked["label"][rows])
        return opinions[others] ** weight

    return fit


def right_answers(asked: Arrays, fit: Fit) -> np.ndarray:
    """Return (N,) 100 where the model with the opinion is right, else 0; each half is answered by the other's fit."""
    rows = np.random.default_rng(0).permutation(len(asked["label"]))
    halves = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    together = np.empty(asked["shares"].shape)
    for fitted, measured in (halves, halves[::-1]):
        together[measured] = combine((asked["shares"][measured].astype(float), fit(fitted, measured)))
    return 100.0 * (together.argmax(axis=1) == asked["label"])


def gain(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Return both accuracies and their paired difference with its interval, in points."""
    difference = mean_over_tasks([after - before])
    return {
        "items": len(before), "before": round(float(before.mean()), 2), "after": round(float(after.mean()), 2),
        "difference": round(difference.value, 2), "low": round(difference.low, 2), "high": round(difference.high, 2),
    }  # fmt: skip


@main.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="folder of the Parquet files")
@click.option("--recordings", type=int, default=250, show_default=True, help="training recordings per corpus, at most")
def voices(data: Path, recordings: int) -> None:
    """Print quartiles of voices per corpus, and those of all corpora together, each corpus with the same weight."""
    together = []
    for name, corpus in VOICES.items():
        rows = [row for row in pq.read_table(data / name).to_pylist() if row["split"] == "train"]
        rows = [row for row in rows if not corpus or row["corpus"] == corpus]
        chosen = np.random.default_rng(0).permutation(len(rows))[:recordings]
        waves = [decode_voice(rows[row]["audio"]) for row in chosen]
        found = [measures for wave in waves if (measures := level_measures(wave, SAMPLE_RATE))]
        together += [{**measures, "weight": 1 / len(found)} for measures in found]
        click.echo(f"{corpus or name}: {len(found)} recordings, {_quartiles([{**m, 'weight': 1.0} for m in found])}")
    click.echo(f"together: {len(together)} recordings, {_quartiles(together)}")


def _quartiles(rows: Sequence[dict[str, float]]) -> dict[str, tuple[float, ...]]:
    """Return the first and third quartile of every measurement, by the rows' weights."""
    quartiles = {}
    for name in sorted({name for row in rows for name in row} - {"weight"}):
        pairs = sorted((row[name], row["weight"]) for row in rows if name in row)
        passed = np.cumsum([weight for _, weight in pairs])
        places = np.searchsorted(passed, np.array([0.25, 0.75]) * passed[-1])
        quartiles[name] = tuple(float(f"{pairs[place][0]:.3g}") for place in places)
    return quartiles


@main.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="folder of the Parquet files")
@click.option("--to", type=click.Path(path_type=Path), required=True, help="folder of the table")
def words(data: Path, to: Path) -> None:
    """Count the word table from the training part of GoEmotions."""
    rows = [row for row in read_sentences(data / TEXTS["goemotions"], label="ekman") if row.split == "train"]
    facts = {"source": "GoEmotions (Demszky et al., ACL 2020), training part", "licence": "Apache-2.0"}
    table = WordTable.count(labelled_sentences(rows)[0], facts)
    click.echo(f"{table.save(to)}: {len(table.words)} words of {table.texts.sum()} texts")


@main.command()
@folder_options
@click.option("--words", "folder", type=click.Path(path_type=Path), help="folder of the word table; default: shipped")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="JSON file of the figures")
def gains(data: Path, runs: Path, folder: Path | None, output: Path) -> None:
    """Measure the gain of examples and words, in points of accuracy."""
    table: dict[str, dict[str, float]] = {}
    for task, channel in CHANNELS.items():
        examples, asked = (load_file(runs / f"{task}.{split}.safetensors") for split in ("train", "validation"))
        alone = 100.0 * (asked["shares"].argmax(axis=1) == asked["label"])
        exchanged = np.random.default_rng(0).permutation(examples["label"])
        control = right_answers(asked, example_fit(examples, asked, "pooled", exchanged))
        kinds = {"picture": ("pooled", "visual"), "sound": ("pooled", "audio"), "words": ("pooled",)}[channel]
        for kind in kinds:
            right = right_answers(asked, example_fit(examples, asked, kind, examples["label"]))
            table[f"{task}, {len(examples['label'])} examples by {kind}"] = gain(alone, right)
            table[f"{task}, {kind}, from exchanged labels to right ones"] = gain(control, right)
    for task, name in TEXTS.items():
        texts = {row["id"]: row["text"] for row in read_columns(data / name)}
        with safe_open(str(runs / f"{task}.validation.safetensors"), "numpy") as file:
            written = [texts[identity] for identity in file.metadata()["ids"].split("\n")]
        asked = load_file(runs / f"{task}.validation.safetensors")
        order = [EMOTIONS.index(emotion_of(label) or "") for label in label_set("ekman").labels]
        for source, reader in (("word table", WordTable.load(folder)), ("verifier", Verifier.load())):
            right = right_answers(asked, opinion_fit(reader.shares(written)[:, order], asked))
            table[f"{task}, {source}"] = gain(100.0 * (asked["shares"].argmax(axis=1) == asked["label"]), right)
    write_whole(output, json.dumps(table, indent=1) + "\n")
    for name, row in table.items():
        click.echo(
            f"{name}: {row['before']:.1f} -> {row['after']:.1f}, {row['difference']:+.1f} "
            f"({row['low']:+.1f} to {row['high']:+.1f}), {row['items']} items"
        )


if __name__ == "__main__":
    sys.exit(run_command(main))
