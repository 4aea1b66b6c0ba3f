"""Measure a model's texts about validation faces and clips: claims, questions and reasoning; see `accounts`.

    python -m recipes.mini.measure --model FOLDER --data DATA --arrays RUNS/eyes/arrays --landmarks LANDMARKS \\
        --runs RUNS --output accounts.json

Every part of the figures is written as soon as it is measured, and existing parts are not measured again.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.console import run_command
from emotion_qwen.engine.engine import Engine
from emotion_qwen.taxonomy import concept, label_set
from recipes.mini.accounts import (
    LABELS,
    Made,
    descriptions,
    face_clip,
    keep,
    questions,
    reasoning_consistency,
    voice_clip,
)
from recipes.mini.banks import make_bank
from recipes.mini.clip_facts import FactBank, draw_clip
from recipes.mini.ears_voices import read_corpora
from recipes.mini.eyes_data import FERPLUS, LFW, LabelledFaces, read_faces
from recipes.mini.thinking import think

CORPORA = ("EmoDB", "RAVDESS")
TAUGHT = 3000
"""Number of rationales for training the verifier of reasoning."""


def _measured_faces(data: Path, arrays: Path, landmarks: Path, split: str) -> list[LabelledFaces]:
    return [read_faces(data, arrays, source, split, landmarks) for source in (FERPLUS, LFW)]


def _drawn(faces: LabelledFaces, count: int, seed: int) -> list[int]:
    """Return rows of faces that the landmarker detected and on whose emotion more than half of the votes agree."""
    known = np.flatnonzero(np.isfinite(faces.actions).all(1) & (faces.targets[:, :7].max(1) > 0.5))
    return [int(row) for row in np.random.default_rng(seed).choice(known, count, replace=False)]


def make_clips(faces: list[LabelledFaces], data: Path, cache: Path, pictures: int, clips: int) -> list[Made]:
    """Return pictures of one face, half of each source, and clips of two faces with a voice."""
    made = [face_clip(part, row) for n, part in enumerate(faces) for row in _drawn(part, pictures // len(faces), n)]
    read = read_corpora(data, cache)
    voices = [voice for voice in read if voice.corpus in CORPORA and voice.split == "validation"]
    generator = np.random.default_rng(2)
    rows = _drawn(faces[0], 2 * clips, 3)
    for number in range(clips):
        voice = voices[int(generator.integers(len(voices)))]
        made.append(voice_clip(faces[0], rows[2 * number : 2 * number + 2], voice))
    return made


def taught_rationales(bank: FactBank, count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return (rationale without conclusion, label) of composed clips of training material."""
    rng, labels = random.Random(seed), label_set(LABELS)
    taught: list[tuple[str, str]] = []
    meanings = [concept(name) for name in labels.labels]
    while len(taught) < count:
        facts = draw_clip(bank, "en", rng)
        if not facts.people or concept(facts.likeliest[0][0]) not in meanings:
            continue
        steps = json.loads(think(facts, "steps", labels, rng).answer)
        label = labels.labels[meanings.index(concept(facts.likeliest[0][0]))]
        taught.append((" ".join(text for name, text in steps.items() if name != "conclusion"), label))
    return taught


@click.command()
@click.option("--model", required=True, help="folder or name of the model")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="folder of the Parquet files")
@click.option("--arrays", type=click.Path(path_type=Path), required=True, help="folder of the decoded pictures")
@click.option("--landmarks", type=click.Path(path_type=Path), required=True, help="folder written by landmarker.py")
@click.option("--runs", type=click.Path(path_type=Path), required=True, help="folder of the measured voices")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="JSON file of the figures")
@click.option("--pictures", default=300, show_default=True, help="faces to describe")
@click.option("--clips", default=100, show_default=True, help="clips to describe")
@click.option("--asked", default=200, show_default=True, help="closed questions")
@click.option("--thought", default=100, show_default=True, help="faces and clips to reason about")
def measure(
    model: str, data: Path, arrays: Path, landmarks: Path, runs: Path, output: Path, pictures: int, clips: int,
    asked: int, thought: int,
) -> None:  # fmt: skip
    """Measure claims, questions and reasoning of a model, and write the figures as JSON."""
    engine = Engine.load(model)
    analyzer = Analyzer(engine)
    faces = _measured_faces(data, arrays, landmarks, "validation")
    made = make_clips(faces, data, runs / "ears/waves.npz", pictures, clips)
    bank = make_bank(faces, data, runs, "validation")
    mixed = made[:: max(len(made) // thought, 1)][:thought]

    def reasoning() -> dict[str, Any]:
        trained = make_bank(_measured_faces(data, arrays, landmarks, "train"), data, runs, "train")
        return reasoning_consistency(analyzer, mixed, taught_rationales(trained, TAUGHT))

    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "questions": lambda: questions(engine, bank, asked),
        "descriptions of faces": lambda: descriptions(analyzer, made[:pictures], "en"),
        "descriptions of clips": lambda: descriptions(analyzer, made[pictures:], "en"),
        "descriptions in Chinese": lambda: descriptions(analyzer, mixed, "zh"),
        "reasoning": reasoning,
    }
    figures = json.loads(output.read_text(encoding="utf-8")) if output.is_file() else {}
    for name, part in parts.items():
        if name not in figures:
            click.echo(f"measuring {name}", err=True)
            figures[name] = part()
            keep(output, figures)
    click.echo(json.dumps(figures, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(run_command(measure))
