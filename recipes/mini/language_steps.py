"""The steps of mini's language side that are not stages of training, each resumable on its own.

    emotion-qwen convert SMOLLM2.gguf RUNS/words --vision nano --dtype float32
    emotion-qwen convert RUNS/words RUNS/base --whisper WHISPER --whisper-layers 2 \\
        --whisper-seconds 2 --frames-per-token 20 --group-features statistics
    python -m recipes.mini.language_steps start --runs RUNS     eyes and ears put into RUNS/base -> RUNS/start
    python -m recipes.mini.language_steps answers --runs RUNS --data DATA   what the untouched model answers

RUNS/eyes and RUNS/ears hold what `steps` and `ears_steps` made.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
import pyarrow.parquet as pq
import torch
from rich.progress import track
from safetensors.torch import load_file

from emotion_qwen.console import run_command
from emotion_qwen.engine.engine import Engine
from emotion_qwen.model.folder import staged_folder
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.processing.chat import QUESTION_FIRST_TEMPLATE
from recipes.options import folder_options

CLIP_SETTINGS = {"person_gray": False, "person_frames": 24, "person_mirrored": False}
"""What differs from nano's: the eyes saw colours, and a mirrored copy of each crop would double the cost."""
ANSWERED = 120
"""Tokens of an answer of the untouched model."""


@click.group()
def language() -> None:
    """Make the start of mini's language side, and what it is taught from."""


@language.command()
@click.option("--runs", type=click.Path(path_type=Path), required=True, help="folder of checkpoints and logs")
def start(runs: Path) -> None:
    """Put the trained eyes and ears beside the language model."""
    engine = Engine.load(runs / "base")
    model, processor = engine.model, engine.processor
    model.model.visual.load_state_dict(load_file(runs / "eyes/vision.safetensors"))
    tower = json.loads((runs / "ears/tower.json").read_text(encoding="utf-8"))
    model.model.audio.load_state_dict(load_file(runs / "ears/model.safetensors"))
    settings = {**processor.clip_settings, **CLIP_SETTINGS}
    chat = EmotionQwenProcessor(
        processor.image_processor, processor.tokenizer, QUESTION_FIRST_TEMPLATE, settings, tower["hearing_settings"]
    )
    with staged_folder(runs / "start") as folder:
        model.save_pretrained(folder)
        chat.save_pretrained(folder)


@language.command()
@folder_options
@click.option("--count", default=600, show_default=True, help="prompts to answer")
@torch.inference_mode()
def answers(runs: Path, data: Path, count: int) -> None:
    """Let the untouched model answer general prompts, which are replayed so that it keeps its way of answering."""
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


def _cut(text: str) -> str:
    """Return a text up to its last sentence or line that is whole."""
    end = max(text.rfind(mark) for mark in (". ", ".\n", "! ", "? ", "\n"))
    return text[: end + 1].strip()


if __name__ == "__main__":
    sys.exit(run_command(language))
