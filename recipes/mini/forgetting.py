"""Measure the cost of each method of emotion training for the language model, in one row per method and seed, compared
with the original model.

Every model answers the same items: the suites of `skills`, plain text, general prompts, pictures of other things, and
emotion. Answers are stored immediately, so an interrupted run can be continued within each model and suite.

    python -m recipes.mini.forgetting --data DATA --runs RUNS --results docs/results --untouched MODEL \\
        --model whole/0=FOLDER --model ours/0=FOLDER --items-per-suite 50
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console

from emotion_qwen.console import run_command
from emotion_qwen.errors import DataError, SettingsError, unknown_choice
from emotion_qwen.evaluation.run.plan import make_answerer
from emotion_qwen.evaluation.run.runner import answer_task
from emotion_qwen.evaluation.run.score import score_folder
from emotion_qwen.evaluation.scoring.bootstrap import IntervalEstimate, mean_over_tasks
from emotion_qwen.evaluation.scoring.paired import check_same_items, compare
from emotion_qwen.evaluation.scoring.records import Result
from emotion_qwen.evaluation.scoring.skills import IFEVAL_MEAN, LAST_WORD, PERPLEXITY, RIGHT, TRAINED
from emotion_qwen.evaluation.task import Task
from emotion_qwen.evaluation.tasks import TASKS, load_tasks
from emotion_qwen.evaluation.tasks.skills import SEED
from emotion_qwen.files import write_whole
from recipes.mini.forgetting_page import page

UNTOUCHED = "untouched"
WAYS = {
    "whole": "whole model fine-tuned, one compressor",
    "lora": "LoRA, one compressor",
    "replay": "LoRA, one compressor, with replay",
    "expert": "emotion expert without gate",
    "ours": "ours, three stages",
}
"""Compared training methods, in the order of the page."""
TEXTS = ("skills", "text_perplexity", "general_prompts")
PICTURES = ("cifar", "shapes")
DRAWN = Path(__file__).parents[1] / "nano" / "tasks.py"
"""Defines further tasks, the drawn shapes among them."""
EMOTION = ("fer", "emodb", "goemotions")
SCORES = {
    "accuracy": ("skills", "accuracy"),
    "mean of suites": ("skills", "accuracy, mean of suites"),
    "IFEval": ("skills", IFEVAL_MEAN),
    LAST_WORD: ("skills", LAST_WORD),
    PERPLEXITY: ("text_perplexity", PERPLEXITY),
    RIGHT: ("general_prompts", RIGHT),
    TRAINED: ("general_prompts", TRAINED),
}
"""Figure of a row -> task and score."""
SUITE = "accuracy of "
"""Prefix of the names of the scores of single suites."""


@dataclass(frozen=True)
class TrainedModel:
    """A model of the comparison: a way of `WAYS` or `UNTOUCHED`, the seed of its training, and its folder or name."""

    way: str
    seed: int
    folder: str

    @property
    def key(self) -> str:
        """Name of its folder of answers and of its row."""
        return self.way if self.way == UNTOUCHED else f"{self.way}-{self.seed}"


def read_model(text: str) -> TrainedModel:
    """Read WAY/SEED=FOLDER.

    Raises:
        SettingsError: it has another form, or the way is unknown.
    """
    place, sign, folder = text.partition("=")
    way, _, seed = place.partition("/")
    if not sign or not folder or not seed.isdecimal():
        raise SettingsError(f"--model {text!r}; expected WAY/SEED=FOLDER, such as ours/0=runs/ours/model")
    if way not in WAYS:
        raise SettingsError(unknown_choice("way", way, WAYS))
    return TrainedModel(way, int(seed), folder)


def chosen_tasks(each: int | None, seed: int, pictures: Sequence[str], emotion: Sequence[str]) -> list[Task]:
    """Return the tasks that every model answers; `each` items per suite and kind of prompt, None for all."""
    options = {"each": str(each), "seed": str(seed)} if each else {}
    return [TASKS[name].with_options(**options) for name in TEXTS] + [TASKS[name] for name in (*pictures, *emotion)]


def answer_all(model: TrainedModel, tasks: Sequence[Task], data: Path, runs: Path, limit: int | None) -> None:
    """Have a model answer every task that it has not answered yet.

    Raises:
        DataError: an item could not be asked or answered; its line says why, and the next run asks it again.
    """
    answerer = make_answerer(model.folder)
    for task in tasks:
        bound = None if task.name in TEXTS else limit
        done = answer_task(answerer, task, runs / model.key / task.name, data=data, split="validation", limit=bound)
        if not done.whole:
            counts = f"{done.failures} failed, {done.missing} without answer, {len(done.rejected)} rejected"
            raise DataError(f"{model.key}, {task.name}: {counts}; see the lines in {runs / model.key / task.name}")


def read_results(model: TrainedModel, tasks: Sequence[Task], runs: Path) -> dict[str, Result]:
    """Score the answers of a model, by task."""
    return {task.name: score_folder(runs / model.key / task.name)[0].result for task in tasks}


def row_of(
    model: TrainedModel,
    results: Mapping[str, Result],
    untouched: Mapping[str, Result],
    groups: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Return the figures of a model with their paired differences from the original one, as plain values.

    Args:
        model: the model.
        results: by task.
        untouched: those of the original model on the same items.
        groups: "pictures" and "emotion" -> tasks whose mean accuracy is a figure.

    Raises:
        DataError: the items are not the same.
    """
    figures: dict[str, Any] = {}
    suites: dict[str, Any] = {}
    compared = {name: compare(untouched[name], results[name]).differences for name in TEXTS}
    moved = {(name, d.name): d for name, differences in compared.items() for d in differences}
    for name, (task, score) in SCORES.items():
        if (task, score) in moved:
            figures[name] = _figure(results[task][score].value, moved[task, score].difference)
    for (_, score), difference in moved.items():
        if score.startswith(SUITE):
            suites[score.removeprefix(SUITE)] = _figure(difference.second, difference.difference)
    for name, tasks in groups.items():
        if tasks:
            figures[name] = _mean_figure([(untouched[task], results[task]) for task in tasks])
    return {"way": model.way, "seed": model.seed, "figures": figures, "suites": suites}


def _mean_figure(pairs: Sequence[tuple[Result, Result]]) -> dict[str, Any]:
    """Return the mean accuracy over tasks; items are drawn within tasks."""
    for before, after in pairs:
        check_same_items(before, after)
    points = [[np.array([judged.points for judged in result.judged]) for result in pair] for pair in pairs]
    value = float(np.mean([after.mean() for _, after in points]))
    return _figure(value, mean_over_tasks([after - before for before, after in points]))


def _figure(value: float, difference: IntervalEstimate) -> dict[str, Any]:
    numbers = {"value": value, **{k: getattr(difference, v) for k, v in _DIFFERENCE.items()}}
    return {name: round(number, 6) if np.isfinite(number) else None for name, number in numbers.items()}


_DIFFERENCE = {"difference": "value", "low": "low", "high": "high"}


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the Parquet files.")
@click.option("--runs", type=click.Path(path_type=Path), required=True, help="Folder of all answers.")
@click.option("--results", type=click.Path(path_type=Path), required=True, help="Folder of the page.")
@click.option("--untouched", required=True, help="Model folder before emotion training.")
@click.option("--model", "models", multiple=True, metavar="WAY/SEED=FOLDER", help=f"Ways: {', '.join(WAYS)}.")
@click.option("--items-per-suite", type=click.IntRange(min=1), default=None, help="Drawn; default: all items.")
@click.option("--seed", type=click.IntRange(min=0), default=SEED, show_default=True, help="Of the draw of items.")
@click.option("--limit", type=click.IntRange(min=1), default=None, help="Items per task with pictures or sound.")
@click.option("--pictures", default=",".join(PICTURES), show_default=True, help="Tasks about other things.")
@click.option("--emotion", default=",".join(EMOTION), show_default=True, help="Tasks about emotion.")
def forgetting(data: Path, runs: Path, results: Path, untouched: str, models: tuple[str, ...], **given: Any) -> None:
    """Compare ways of emotion training by what the language model lost; the untouched model comes first."""
    groups = {kind: [name for name in given[kind].split(",") if name] for kind in ("pictures", "emotion")}
    load_tasks(str(DRAWN))
    for name in (*groups["pictures"], *groups["emotion"]):
        if name not in TASKS:
            raise SettingsError(unknown_choice("task", name, TASKS))
    compared = [TrainedModel(UNTOUCHED, 0, untouched), *map(read_model, models)]
    tasks = chosen_tasks(given["items_per_suite"], given["seed"], groups["pictures"], groups["emotion"])
    for model in compared:
        answer_all(model, tasks, data, runs, given["limit"])
    scored = {model.key: read_results(model, tasks, runs) for model in compared}
    rows = [row_of(model, scored[model.key], scored[UNTOUCHED], groups) for model in compared]
    record = {
        "rows": sorted(rows, key=lambda row: ([UNTOUCHED, *WAYS].index(row["way"]), row["seed"])),
        "ways": WAYS,
        "items": {name: result.tally.items for name, result in scored[UNTOUCHED].items()},
        "items_per_suite": given["items_per_suite"],
        "seed": given["seed"],
        "groups": groups,
        "notes": {key: [note for result in each.values() for note in result.notes] for key, each in scored.items()},
    }
    write_whole(results / "forgetting_mini.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    write_whole(results / "forgetting_mini.md", page(record, results))
    Console(stderr=True).print(f"read {results / 'forgetting_mini.md'}")


if __name__ == "__main__":
    sys.exit(run_command(forgetting))
