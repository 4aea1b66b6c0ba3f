"""The steps that make mini's audio side, each resumable on its own.

python -m recipes.mini.ears_steps frames|validate|train|words|page --data DATA --runs RUNS --whisper WHISPER

WHISPER is a folder of Whisper tiny.en in CTranslate2's format; `words` needs `pip install 'emotion-qwen[asr]'`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from safetensors.torch import load_file

from emotion_qwen.console import run_command
from emotion_qwen.convert.whisper import EncoderCut
from emotion_qwen.model.audio import EmotionQwenAudioTower
from emotion_qwen.settings import HearingSettings
from recipes.mini.ears import (
    FOLDS,
    WIDTH,
    EarsRun,
    EarsStudent,
    Lesson,
    answers,
    cross_validate,
    lesson,
    summaries,
    summary,
    train_ears,
)
from recipes.mini.ears_features import LEVEL, Features, features, read_encoder
from recipes.mini.ears_page import write_page
from recipes.mini.ears_shipping import finished_tower, other_lengths, other_levels, write_tower
from recipes.mini.ears_voices import CORPORA, TRAINING, Voice, folds, read_corpora
from recipes.mini.ears_words import recognise

CUT = EncoderCut(frames_per_token=20, layers=2, seconds=2.0, group_features="statistics")
FRAMES = f"frames_{CUT.layers}_layers_{CUT.seconds:g}_s_{LEVEL:g}_dB"
"""Folder of the cache; other settings use a different one."""
RENDERINGS = 4
"""The unchanged voices, and random renderings."""


def _folders(command: Callable[..., None]) -> Callable[..., None]:
    texts = {
        "runs": "folder of caches and weights, to go on",
        "data": "folder of the Parquet files",
        "whisper": "folder of Whisper tiny.en in CTranslate2's format",
    }
    for name, text in texts.items():
        command = click.option(f"--{name}", type=click.Path(path_type=Path), required=True, help=text)(command)
    return command


def _tower(whisper: Path) -> tuple[EmotionQwenAudioTower, HearingSettings]:
    torch.manual_seed(0)
    return read_encoder(whisper, CUT, WIDTH)


def _material(
    data: Path, runs: Path, tower: EmotionQwenAudioTower, hearing: HearingSettings
) -> tuple[list[Voice], Lesson]:
    voices = read_corpora(data, runs / "waves.npz")
    parts: list[Features] = [
        features(runs / FRAMES, rendering, voices, tower, hearing) for rendering in range(RENDERINGS)
    ]
    return voices, lesson(voices, parts, hearing.frames_per_token)


@click.group()
def ears() -> None:
    """Make mini's audio side, step by step."""


@ears.command()
@_folders
def frames(data: Path, runs: Path, whisper: Path) -> None:
    """Compute and store the frozen encoder's output for every voice and its random renderings."""
    _material(data, runs, *_tower(whisper))


@ears.command()
@_folders
def validate(data: Path, runs: Path, whisper: Path) -> None:
    """Leave every speaker out once, and one language."""
    tower, hearing = _tower(whisper)
    voices, material = _material(data, runs, tower, hearing)
    lines = cross_validate(material, folds(voices, FOLDS), tower.config, EarsRun(), runs / "validated.jsonl")
    figures = {head: summaries(material, lines, head) for head in ("pooled", "read")}
    _keep(runs / "validated.json", figures)


@ears.command()
@_folders
def train(data: Path, runs: Path, whisper: Path) -> None:
    """Train on the training speakers, write the audio side, and measure it on the validation speakers."""
    tower, hearing = _tower(whisper)
    voices, material = _material(data, runs, tower, hearing)
    training = np.array([voice.split == "train" for voice in voices])
    student = train_ears(
        material, np.flatnonzero(training & np.isin(material.corpora, TRAINING)), tower.config, EarsRun()
    )
    factor = finished_tower(tower, student, material)
    figures: dict[str, Any] = {"pooled": {}, "read": {}}
    for corpus in CORPORA:
        rows = np.flatnonzero(~training & (material.corpora == corpus))
        for head, named in zip(figures, answers(student, material, rows), strict=True):
            figures[head][corpus] = summary(material, rows, named)
    held_out = [voice for voice in voices if voice.split == "validation" and voice.corpus in TRAINING]
    write_tower(runs, tower, hearing, student, {"token_factor": factor, "embedding_norm_reached": True})
    kept = {
        "shipped": figures,
        "levels": other_levels(student, tower, hearing, held_out),
        "lengths": other_lengths(student, tower, hearing, held_out),
    }
    _keep(runs / "shipped.json", kept)


@ears.command()
@_folders
def words(data: Path, runs: Path, whisper: Path) -> None:
    """Measure the word error rate of the whole Whisper on the validation speakers of RAVDESS."""
    _keep(runs / "words.json", recognise(data, whisper))


@ears.command()
@click.option("--runs", type=click.Path(path_type=Path), required=True, help="folder of the other steps")
@click.option("--results", type=click.Path(path_type=Path), required=True, help="folder of the page")
def page(runs: Path, results: Path) -> None:
    """Write the page of figures."""
    figures = {
        "tower": {"layers": CUT.layers, "seconds": CUT.seconds, "tokens_per_second": 50 / CUT.frames_per_token},
        "folds": FOLDS,
        "cross_validated": json.loads((runs / "validated.json").read_text(encoding="utf-8")),
        **json.loads((runs / "shipped.json").read_text(encoding="utf-8")),
        "words": json.loads((runs / "words.json").read_text(encoding="utf-8")),
    }
    windows = runs / "windows.json"
    if windows.is_file():
        figures["windows"] = json.loads(windows.read_text(encoding="utf-8"))
    write_page(figures, results)


def _keep(path: Path, figures: dict[str, Any]) -> None:
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(figures))


def read_student(runs: Path, tower: EmotionQwenAudioTower) -> EarsStudent:
    """Load the student whose tower the step `train` left, for further measurements."""
    student = EarsStudent(tower.config).eval()
    student.load_state_dict({**student.state_dict(), **load_file(runs / "heads.safetensors")})
    return student


if __name__ == "__main__":
    sys.exit(run_command(ears))
