"""What labelled examples and the word table add to nano alone, measured on validation data, with intervals.

    python -m recipes.evidence features --data DATA --runs RUNS
    python -m recipes.evidence gains --runs RUNS --output evidence.json

`features` lets the model read training items (the examples) and validation items of faces, voices and words; every
task's answers are stored as soon as they are complete. `gains` fits the weight on the first half of the validation
items and measures on the second half.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import torch
from safetensors.numpy import save

from emotion_qwen.analysis.reader import label_reader
from emotion_qwen.console import run_command
from emotion_qwen.engine.engine import Engine
from emotion_qwen.evaluation.task import Item
from emotion_qwen.files import write_whole
from emotion_qwen.taxonomy import label_set
from recipes.options import folder_options
from recipes.reinforcement import task_items

CHANNELS = {"fer": "picture", "emodb": "sound", "ravdess_voices": "sound", "goemotions": "words"}
"""Task -> the one channel of its items."""
AT_ONCE = 64


def read_items(engine: Engine, items: Sequence[Item], channel: str) -> dict[str, np.ndarray]:
    """Return what the model reads in N items of one channel over K labels.

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
    """Measure what examples and the word table add."""


@main.command()
@folder_options
@click.option("--model", default="nano", show_default=True)
@click.option("--examples", type=int, default=3000, show_default=True, help="training items per task, at most")
@click.option("--items", type=int, default=1000, show_default=True, help="validation items per task, at most")
def features(data: Path, runs: Path, model: str, examples: int, items: int) -> None:
    """Let the model read the items of all tasks."""
    engine = Engine.load(model)
    for task, channel in CHANNELS.items():
        for split, limit in (("validation", items), ("train", examples)):
            path = runs / f"{task}.{split}.safetensors"
            if not path.exists():
                chosen = task_items(task, data, split, "en", limit)
                write_whole(path, save(read_items(engine, chosen, channel), {"ids": "\n".join(i.id for i in chosen)}))
                click.echo(f"{path}: {len(chosen)} items")


if __name__ == "__main__":
    sys.exit(run_command(main))
