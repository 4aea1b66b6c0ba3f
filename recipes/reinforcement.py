"""Learning from rewards: the questions of evaluation tasks as prompts, and the paired gains of the training.

    python -m recipes.reinforcement --data DATA --before nano --after runs/nano/reinforcement/model --output gains.json

The part `taught` asks the training halves of the tasks exactly as evaluation asks their validation halves, so that a
gain is not that of an unfamiliar wording. With `shuffled`, the labels are shuffled among the items, as a control with
uninformative rewards.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from emotion_qwen.console import run_command
from emotion_qwen.data.mixture import SampleList
from emotion_qwen.engine.engine import Engine
from emotion_qwen.engine.sampling import Sampling
from emotion_qwen.errors import DataError, unknown_choice
from emotion_qwen.evaluation.scoring.bootstrap import mean_over_tasks
from emotion_qwen.evaluation.task import Item
from emotion_qwen.evaluation.tasks import TASKS
from emotion_qwen.files import write_whole
from emotion_qwen.matching.answer import match_label
from emotion_qwen.records import Sample
from emotion_qwen.taxonomy import label_set

FACE_SIDE = 48
"""Side of a face picture, in pixels."""
MEASURED = ("fer", "emodb", "goemotions", "lfw")
"""Faces, voices and words that may be used for training, and faces that never are."""
WAYS = {"greedy": Sampling(), "sampled": Sampling(temperature=1.0, seed=0)}
MOST_TOKENS = 12


def taught(
    name: str, domain: str, split: str, path: Path, *, task: str, language: str = "en", shuffled: bool = False,
    limit: int | None = None, seed: int = 0,
) -> SampleList:  # fmt: skip
    """Read the items of a task as samples: the question of evaluation, and the label as the reference answer.

    Args:
        name: of the part.
        domain: "emotion" or "general".
        split: "train" or "validation".
        path: the file of the task, next to any others that it needs.
        task: name of a task with one closed question over a label set.
        language: of question and answer.
        shuffled: shuffle the labels among the items.
        limit: number of items, evenly spaced.
        seed: of the shuffling.

    Raises:
        DataError: unknown task, or one without a label set.
    """
    items = task_items(task, path.parent, split, language, limit)
    answers = [(item.answer, item.references[0]) for item in items]
    if shuffled:
        random.Random(f"{seed}/{name}").shuffle(answers)
    samples = [
        sample_of(f"{name}/{item.id}", item, *answer, split) for item, answer in zip(items, answers, strict=True)
    ]
    return SampleList(name, domain, samples)


def task_items(task: str, data: Path, split: str, language: str, limit: int | None = None) -> list[Item]:
    """Return the items of a task over a label set; errors are those of `taught`."""
    if task not in TASKS:
        raise DataError(unknown_choice("task", task, TASKS))
    items = TASKS[task].source.items(data, split, (language,), FACE_SIDE, limit)
    if not all(item.label_set for item in items):
        raise DataError(f"task {task!r} has no label set; expected one whose answers are labels, such as fer")
    return items


def sample_of(name: str, item: Item, answer: str, label: str, split: str) -> Sample:
    """Return a sample with the question of an item and a label that may be another item's."""
    content: list[dict[str, Any]] = [*item.parts, {"type": "text", "text": item.question}]
    messages = ({"role": "user", "content": content}, {"role": "assistant", "content": answer})
    return Sample(name, messages, {"emotion": label, "set": item.label_set}, split)


def right_answers(engine: Engine, items: Sequence[Item], sampling: Sampling) -> list[bool]:
    """Return whether a generated answer gives the label of each item."""
    texts = engine.write([item.parts for item in items], [item.question for item in items], MOST_TOKENS,
                         sampling=sampling)  # fmt: skip
    return [
        match_label(text, label_set(item.label_set)) == item.references[0]
        for text, item in zip(texts, items, strict=True)
    ]


def gains(before: dict[str, list[bool]], after: dict[str, list[bool]]) -> dict[str, dict[str, float]]:
    """Return per way of answering both accuracies, and their paired difference with its 95 % interval, in points."""
    table = {}
    for way in before:
        first, second = (100.0 * np.asarray(answers[way], dtype=float) for answers in (before, after))
        difference = mean_over_tasks([second - first])
        table[way] = {
            "items": len(first), "before": float(first.mean()), "after": float(second.mean()),
            "difference": difference.value, "low": difference.low, "high": difference.high,
        }  # fmt: skip
    return table


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="folder of the Parquet files")
@click.option("--before", required=True, help="model at the start of the training")
@click.option("--after", required=True, help="trained model or adapter")
@click.option("--tasks", default=",".join(MEASURED), show_default=True, help="names, separated by commas")
@click.option("--limit", type=int, help="items per task, evenly spaced")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="JSON file of the figures")
def main(data: Path, before: str, after: str, tasks: str, limit: int | None, output: Path) -> None:
    """Compare greedy and sampled answers before and after, on the same validation items."""
    by_task = {task: task_items(task, data, "validation", "en", limit) for task in tasks.split(",")}
    right: list[dict[str, dict[str, list[bool]]]] = []
    for name in (before, after):
        engine = Engine.load(name)
        right.append({
            task: {way: right_answers(engine, items, sampling) for way, sampling in WAYS.items()}
            for task, items in by_task.items()
        })  # fmt: skip
    table = {task: gains(right[0][task], right[1][task]) for task in by_task}
    pooled = [{way: [a for task in by_task for a in each[task][way]] for way in WAYS} for each in right]
    table["pooled"] = gains(*pooled)
    write_whole(output, json.dumps(table, indent=1) + "\n")
    for task, ways in table.items():
        for way, row in ways.items():
            click.echo(
                f"{task} {way}: {row['before']:.1f} -> {row['after']:.1f}, {row['difference']:+.1f} "
                f"({row['low']:+.1f} to {row['high']:+.1f}), {row['items']} items"
            )


if __name__ == "__main__":
    sys.exit(run_command(main))
