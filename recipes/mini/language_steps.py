"""The steps of mini's language side that are not training stages, each separately resumable.

    emotion-qwen convert SMOLLM2.gguf RUNS/words --vision nano --dtype float32
    emotion-qwen convert RUNS/words RUNS/base --whisper WHISPER --whisper-layers 2 \\
        --whisper-seconds 2 --frames-per-token 20 --group-features statistics
    python -m recipes.mini.language_steps start --runs RUNS --data DATA --landmarks LANDMARKS    RUNS/base -> RUNS/start
    python -m recipes.mini.language_steps answers --runs RUNS --data DATA    answers of the original model
    python -m recipes.mini.language_steps pack --runs RUNS --base SMOLLM2.gguf --target src/emotion_qwen/mini

RUNS/eyes and RUNS/ears contain the results of `steps` and `ears_steps`.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
import pyarrow.parquet as pq
import torch
from rich.progress import Progress, TaskID, track
from safetensors.torch import load_file
from torch import nn
from transformers import set_seed

from emotion_qwen.console import run_command
from emotion_qwen.convert.overlay_making import write_overlay
from emotion_qwen.engine.engine import Engine
from emotion_qwen.files import write_whole
from emotion_qwen.model.actions import FacialActionHead
from emotion_qwen.model.folder import staged_folder
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.processing.chat import QUESTION_FIRST_TEMPLATE
from emotion_qwen.records import HEAD_ANGLES
from recipes.mini.actions import ACTIONS
from recipes.mini.ears_voices import LABELS
from recipes.mini.eyes_data import ALIGNED, CIFAR10, FERPLUS, LFW, EyesStream, read_faces
from recipes.mini.word_start import (
    WORDS,
    all_anchors,
    joined,
    nearest_words,
    point_to_words,
    shown_faces,
    train_expert,
    word_anchors,
)
from recipes.options import folder_options

SEED = 7
RANK = 32
"""Rank of the stored change to a matrix: the sum of the ranks of both tuning stages."""
TRAINING_FACTS = {
    "label_sets": ["dfew7", "fer7", "ekman", "ferplus8", "emodb7", "ravdess8"],
    "channels": ["picture", "sound", "words", "context"],
    "reads_facts": True,
    "scores": "likelihood",
    "default": False,  # docs/results/mini.md: FER2013, RAF-DB and GoEmotions' macro F1 are below nano's
    "data": [
        "faces_fer_aligned.parquet",
        "faces_ferplus.parquet",
        "faces_lfw_expressions.parquet",
        "pictures_cifar10.parquet",
        "speech_emodb.parquet",
        "speech_ravdess.parquet",
        "speech_more.parquet:nEMO",
        "speech_more.parquet:emotiontts",
        "text_goemotions.parquet",
        "text_dialogue_en.parquet",
        "text_emotion_zh.parquet",  # the sentences of composed clips are of all its sources
        "text_isear.parquet",
        "text_instructions.parquet",
    ],
}
"""Facts about the training for reports and commands; `data` are files, or FILE:SOURCE for some of their rows."""

CLIP_SETTINGS = {"person_gray": False, "person_frames": 24, "person_mirrored": False}
"""Differences from nano's: the vision transformer was trained on colours, and mirrored crops would double the cost."""
ANSWERED = 120
"""Tokens of an answer of the original model."""


@click.group()
def language() -> None:
    """Make the start of mini's language side, and its training data."""


@language.command()
@folder_options
@click.option("--landmarks", type=click.Path(path_type=Path), required=True, help="folder written by landmarker.py")
@click.option("--passes", default=8, show_default=True, help="over the pictures, for each expert")
def start(runs: Path, data: Path, landmarks: Path, passes: int) -> None:
    """Combine the trained vision and audio sides with the language model, and align their tokens with words."""
    set_seed(SEED)
    engine = Engine.load(runs / "base")
    model, processor = engine.model, engine.processor
    model.config.facial_actions = [*ACTIONS, *HEAD_ANGLES]
    model.model.actions = FacialActionHead(model.config.vision_config.hidden_size, len(model.config.facial_actions))
    model.model.visual.load_state_dict(load_file(runs / "eyes/vision.safetensors"))
    model.model.actions.load_state_dict(load_file(runs / "eyes/head.safetensors"))
    model.model.audio.load_state_dict(load_file(runs / "ears/model.safetensors"))
    hearing = json.loads((runs / "ears/tower.json").read_text(encoding="utf-8"))["hearing_settings"]
    figures = _start_experts(engine, data, runs / "eyes/arrays", landmarks, passes)
    _start_ears(engine, runs)
    settings = {**processor.clip_settings, **CLIP_SETTINGS}
    chat = EmotionQwenProcessor(
        processor.image_processor, processor.tokenizer, QUESTION_FIRST_TEMPLATE, settings, hearing
    )
    with staged_folder(runs / "start") as folder:
        model.save_pretrained(folder)
        chat.save_pretrained(folder)
    write_whole(runs / "start.json", json.dumps(figures) + "\n")
    click.echo(json.dumps(figures))


def _start_experts(engine: Engine, data: Path, arrays: Path, landmarks: Path, passes: int) -> dict[str, float]:
    """Train the general expert on objects and the emotion expert on faces; return the accuracy by nearest words."""
    anchors, vision = all_anchors(engine), engine.model.model.visual
    compressor = engine.model.model.compressor
    figures = {}
    for name, expert, sources in (
        ("general", compressor.general, (CIFAR10,)),
        ("emotion", compressor.emotion, (FERPLUS, ALIGNED, LFW)),
    ):
        parts = [read_faces(data, arrays, source, "train", landmarks) for source in sources]
        stream = EyesStream(list(zip(sources, parts, strict=True)), passes=1, seed=SEED).order
        shown = joined([shown_faces(vision, part, stream[stream[:, 0] == n, 1], SEED) for n, part in enumerate(parts)])
        with Progress() as bar:
            task = bar.add_task(name, total=None)
            train_expert(
                expert, shown, anchors, passes=passes, merge=compressor.merge_unit,
                watch=partial(_advance, bar, task),
            )  # fmt: skip
        held_out = read_faces(data, arrays, sources[0], "validation")
        figures[name] = nearest_words(vision, expert, held_out, anchors, compressor.merge_unit)
    return figures


def _advance(bar: Progress, task: TaskID, step: int, loss: float) -> None:
    bar.update(task, completed=step, description=f"loss {loss:.2f}")


def _start_ears(engine: Engine, runs: Path) -> None:
    """Transform the last layer of the audio side so that the directions of its linear head are those of words."""
    heads = load_file(runs / "ears/heads.safetensors")
    common = heads["reader.weight"][: len(LABELS)] * heads["norm.weight"]
    layer = engine.model.model.audio.compressor.mlp[2]
    assert isinstance(layer, nn.Linear)
    point_to_words(layer, common, word_anchors(engine, {label: WORDS[label] for label in LABELS}))


@language.command()
@folder_options
@click.option("--count", default=600, show_default=True, help="prompts to answer")
@torch.inference_mode()
def answers(runs: Path, data: Path, count: int) -> None:
    """Have the original model answer general prompts, which are replayed so that it keeps its way of answering."""
    rows = pq.read_table(data / "text_instructions.parquet").to_pylist()
    human = [row for row in rows if row["split"] == "train" and row["kind"].startswith(("human", "prompt only"))]
    prompts = sorted((row for row in human if len(row["prompt"]) < 400), key=lambda row: row["id"])[:count]
    path = runs / "own_answers.jsonl"
    done = (
        {json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()} if path.is_file() else set()
    )
    engine = Engine.load(runs / "base")
    left = sorted((row for row in prompts if row["id"] not in done), key=lambda row: len(row["prompt"]))
    for first in track(range(0, len(left), 16), "answers"):
        batch = left[first : first + 16]
        texts = engine.write([[] for _ in batch], [row["prompt"] for row in batch], ANSWERED)
        with path.open("a", encoding="utf-8") as file:
            for row, text in zip(batch, texts, strict=True):
                whole = text if len(engine.processor.tokenizer(text)["input_ids"]) < ANSWERED - 1 else _cut(text)
                if whole:
                    file.write(json.dumps({"id": row["id"], "response": whole}, ensure_ascii=False) + "\n")


@language.command()
@click.option("--runs", type=click.Path(path_type=Path), required=True, help="folder of checkpoints and logs")
@click.option("--base", type=click.Path(path_type=Path), required=True, help="file of the language model")
@click.option("--trained", type=click.Path(path_type=Path), help="default: RUNS/accounts/merged")
@click.option("--target", type=click.Path(path_type=Path), required=True, help="folder of what ships")
def pack(runs: Path, base: Path, trained: Path | None, target: Path) -> None:
    """Write the changes that training made to the language model as an overlay, with the training facts."""
    folder = trained or runs / "accounts/merged"
    errors = action_errors(json.loads((runs / "eyes/eyes.json").read_text(encoding="utf-8"))["actions"]["lfw"])
    facts = TRAINING_FACTS | {"facial_actions": errors}
    write_whole(folder / "training_facts.json", json.dumps(facts, indent=1) + "\n")
    draft = runs / "overlay"
    shutil.rmtree(draft, ignore_errors=True)
    left_out = write_overlay(base, folder, draft, name="mini", rank=RANK)
    for file in draft.iterdir():
        shutil.copyfile(file, target / file.name)
    size = sum(file.stat().st_size for file in draft.iterdir())
    click.echo(f"{size / 1e6:.1f} MB; a pair leaves out at most {max(left_out.values(), default=0):.2%} of a change")


def action_errors(measured: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return R2 and mean absolute error of each facial action, from its figures on people who were never trained on."""
    return {name: {"r2": r2, "mean_absolute_error": measured["mae"][name]} for name, r2 in measured["r2"].items()}


def _cut(text: str) -> str:
    """Return a text up to its last complete sentence or line."""
    end = max(text.rfind(mark) for mark in (". ", ".\n", "! ", "? ", "\n"))
    return text[: end + 1].strip()


if __name__ == "__main__":
    sys.exit(run_command(language))
