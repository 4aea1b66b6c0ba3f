"""The command `forgetting`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from emotion_qwen.errors import SettingsError, unknown_choice

if TYPE_CHECKING:
    from emotion_qwen.evaluation.predict import Key
    from emotion_qwen.evaluation.task import Task

LOST = 1
"""Exit code when more general skill was lost than allowed."""
LANGUAGE_CHOICES = {"en": ("en",), "zh": ("zh",), "both": ("en", "zh")}


@click.command()
@click.argument("before")
@click.argument("after")
@click.option(
    "--tasks", default="fer,lfw,cifar,shapes", show_default=True, help="Names and Python files, separated by commas."
)
@click.option("--data", type=click.Path(path_type=Path), default=None, help="Folder of the Parquet files.")
@click.option("--allow", type=float, default=1.5, show_default=True, help="General loss allowed, percentage points.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder for predictions and page.")
@click.option("--language", type=click.Choice(list(LANGUAGE_CHOICES)), default="en", show_default=True)
@click.option("--limit", type=click.IntRange(min=1), default=None, help="So many items a task, evenly spaced.")
@click.option("--split", default="validation", show_default=True, help="validation or test")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps")
def forgetting(
    before: str,
    after: str,
    tasks: str,
    data: Path | None,
    allow: float,
    output: Path,
    language: str,
    limit: int | None,
    split: str,
    device: str,
) -> int:
    """Compare two models: did emotion training cost general skill?

    BEFORE and AFTER are nano, model or adapter folders, or hub names. Answers are kept in OUTPUT, so an
    interrupted run goes on. Exit code 1: more general skill was lost than allowed.
    """
    from emotion_qwen.evaluation.extras import optional
    from emotion_qwen.evaluation.forgetting import check_domains, compare
    from emotion_qwen.evaluation.pages.forgetting_page import PAGE, show, write_page
    from emotion_qwen.evaluation.task import SPLITS
    from emotion_qwen.evaluation.tasks import load_tasks
    from emotion_qwen.model.source import find_model

    chosen = load_tasks(tasks)
    check_domains(chosen)
    if split not in SPLITS:
        raise SettingsError(unknown_choice("split", split, SPLITS))
    for task in chosen:
        task.source.check(data)
    optional("matplotlib.figure")  # better missed now than after an hour of answers
    for name in (before, after):
        find_model(name)
    from emotion_qwen.evaluation.pages.figures import draw_figures

    wanted = {"data": data, "languages": LANGUAGE_CHOICES[language], "split": split, "limit": limit}
    asked = _answer_all(before, output / "before", chosen, device, wanted)
    _answer_all(after, output / "after", chosen, device, wanted)
    found = compare(output / "before", output / "after", [task.name for task in chosen], allow, asked)
    write_page(found, output, draw_figures(found, output))
    show(found, Console())
    print(f"read {output / PAGE}")
    return LOST if found.failed else 0


def _answer_all(
    model: str, folder: Path, tasks: Sequence[Task], device: str, wanted: dict[str, Any]
) -> dict[str, list[Key]]:
    """Let one model answer every task and be forgotten; return the keys of the items by task."""
    from transformers.utils import logging

    from emotion_qwen.engine.engine import Engine
    from emotion_qwen.evaluation.predict import predict

    logging.disable_progress_bar()  # our own progress is over items
    logging.set_verbosity_error()
    engine = Engine.load(model, device)
    return {task.name: [one.key for one in predict(engine, task, folder, **wanted)] for task in tasks}
