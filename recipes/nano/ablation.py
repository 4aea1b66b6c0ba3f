"""Compare six methods of emotion training by how much general skill they preserve, under equal conditions.

Every method starts from the same general model (stage 1), makes the same number of steps with the same batches of the
same data, and never trains more parameters at once than one expert has; the learning rate is the best of the same
search. The methods differ in the trained parts, the gate mode, and the share of general replay.

python -m recipes.nano.ablation --base MODEL --data DATA --runs RUNS --results docs/results
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console

from emotion_qwen.console import run_command
from emotion_qwen.engine.engine import Engine
from emotion_qwen.evaluation.run.answerers.local import LocalModel
from emotion_qwen.evaluation.run.runner import answer_task
from emotion_qwen.evaluation.scoring.bootstrap import IntervalEstimate, mean_over_tasks
from emotion_qwen.files import write_whole
from emotion_qwen.training.plan import TrainSettings
from emotion_qwen.training.run import run_stage
from recipes.nano.tasks import BY_NAME

SEEDS = (0, 1, 2)
RATES = (1e-3, 4e-3)
GENERAL = ("cifar", "shapes")
PARTS = Path(__file__).with_name("parts.py")


@dataclass(frozen=True)
class Phase:
    """A share of an arm's steps with one stage; `changes` replace the stage's own values."""

    share: float
    stage: str
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class Arm:
    """One training method; `task` is its emotion task, `data` its emotional training part."""

    name: str
    title: str
    phases: tuple[Phase, ...]
    task: str = "fer"
    data: str = "faces"


_TWO_STAGES = (
    Phase(0.6, "emotion", {}),
    Phase(0.4, "hybrid", {"trains": ["gate"], "replay": 0.5}),
)
_SINGLE = {"trains": ["general"], "gate_mode": "general"}
ARMS = (
    Arm("single", "(b) one compressor, emotion only", (Phase(1.0, "general", {**_SINGLE, "replay": 0.0}),)),
    Arm("replayed", "(c) one compressor, half replay", (Phase(1.0, "general", {**_SINGLE, "replay": 0.5}),)),
    Arm("ungated", "(d) emotion expert, no gate", (Phase(1.0, "emotion", {}),)),
    Arm("ours", "(e) emotion expert, then gate", _TWO_STAGES),
    Arm("captured", "(e) the same, faces in scenes, captured", _TWO_STAGES, "captured", "captured"),
    Arm("plain", "(f) the same, faces in scenes, not captured", _TWO_STAGES, "scenes", "scenes"),
)
DATA: dict[str, dict[str, Any]] = {
    "faces": {"kind": f"{PARTS}:pictures", "path": "faces_fer_aligned.parquet", "options": {"strength": 0.5}},
    "captured": {
        "kind": f"{PARTS}:scenes",
        "path": "faces_fer_aligned.parquet",
        "options": {"backgrounds": "pictures_cifar10.parquet", "captured": True},
    },
    "scenes": {
        "kind": f"{PARTS}:scenes",
        "path": "faces_fer_aligned.parquet",
        "options": {"backgrounds": "pictures_cifar10.parquet"},
    },
}


NOTES = (
    "Without a gate, every picture goes through the emotion expert, so (d) is the same as (b), with the same figures.",
    "The language model is frozen in every method. The comparison shows which parts learn emotion and what they lose "
    "in a few steps; for the final figures of nano, see [forgetting](forgetting.md).",
    "Faces in scenes are a different task from cropped faces; compare (e) and (f) there only with each other.",
    "Questions are asked in English.",
)
"""Notes for readers of the table."""


@dataclass(frozen=True)
class Budget:
    """The budget, equal for all arms."""

    steps: int = 100
    samples: int = 32
    limit: int | None = None
    """Number of items of each task; None uses all."""
    search: int = 800
    """Number of emotion items by which the learning rate is chosen."""
    jobs: int = 1
    """Number of processes, with one thread each if there are several."""


def phase_settings(
    arm: Arm, place: int, start: str, output: Path, rate: float, seed: int, budget: Budget, data: Path
) -> TrainSettings:
    """Write the settings of one phase of an arm."""
    phase = arm.phases[place]
    general = {"name": "objects", "kind": f"{PARTS}:pictures", "domain": "general", "path": "pictures_cifar10.parquet"}
    shapes = {
        "name": "shapes",
        "kind": f"{PARTS}:shapes",
        "domain": "general",
        "options": {"size": 50000, "questions": 4},
    }
    return TrainSettings.of(
        {
            "stage": phase.stage,
            "start": start,
            "output": output,
            "folder": data,
            "data": [
                general | {"options": {"strength": 0.5}},
                shapes | {"options": {"size": 50000, "questions": 4}},
                {"name": "e", "domain": "emotion"} | DATA[arm.data],
            ],
            "batch": {"samples": budget.samples, "pack": 512},
            "optim": {"name": "muon", "learning_rate": rate, "steps": max(round(budget.steps * phase.share), 1)},
            "capture": False,
            "save_every": 50,
            "keep": 1,
            "seed": seed,
            **phase.changes,
        },
        f"ablation arm {arm.name!r}",
    )


def train_arm(arm: Arm, base: str, folder: Path, rate: float, seed: int, budget: Budget, data: Path) -> Path:
    """Run the phases of an arm, continuing an earlier run; return the folder of the model."""
    start = base
    for place in range(len(arm.phases)):
        output = folder / f"phase{place}"
        if not (output / "model" / "stage.json").is_file():
            run_stage(phase_settings(arm, place, start, output, rate, seed, budget, data), resume=True)
        start = str(output / "model")
    return Path(start)


def answers(
    model: str | None, folder: Path, tasks: Sequence[str], data: Path, limit: int | None
) -> dict[str, np.ndarray]:
    """Have a model answer tasks; return for each task (N,) 1 where the answer is correct."""
    engine = Engine.load(model)
    right = {}
    for name in tasks:
        predictions = answer_task(LocalModel(engine), BY_NAME[name], folder / name, data=data, limit=limit).predictions
        right[name] = np.array([line.right for line in predictions], dtype=float)
    return right


def mean_over_seeds(runs: Sequence[Mapping[str, np.ndarray]], tasks: Sequence[str]) -> list[np.ndarray]:
    """Average the correctness of every item over the seeds, for each task."""
    return [np.mean([run[name] for run in runs], axis=0) for name in tasks]


def compare_arm(arm: Arm, base: Mapping[str, np.ndarray], runs: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Compare an arm with the base model: emotion skill, and the paired loss of general skill, in points."""
    before = [base[name] for name in GENERAL]
    lost = mean_over_tasks([b - a for b, a in zip(before, mean_over_seeds(runs, GENERAL), strict=True)])
    emotion = mean_over_tasks(mean_over_seeds(runs, (arm.task,)))
    by_seed = [100 * float(np.mean([np.mean(base[n] - run[n]) for n in GENERAL])) for run in runs]
    return {
        "title": arm.title,
        "emotion": _points(emotion),
        "general_loss": _points(lost),
        "general_loss_by_seed": [round(value, 2) for value in by_seed],
        "emotion_by_seed": [round(100 * float(np.mean(run[arm.task])), 2) for run in runs],
        "general": {name: round(100 * float(np.mean(mean_over_seeds(runs, (name,))[0])), 2) for name in GENERAL},
    }


def _points(estimate: IntervalEstimate) -> dict[str, float]:
    return {key: round(100 * getattr(estimate, key), 2) for key in ("value", "low", "high")}


@dataclass(frozen=True)
class Piece:
    """One arm with one rate and one seed: the unit of work of a process.

    Attributes:
        arm: name of the arm.
        rate: learning rate.
        seed: of data order, augmentation and fresh weights.
        tasks: tasks that the trained model answers.
        limit: number of items of each task; None uses all.
    """

    arm: str
    rate: float
    seed: int
    tasks: tuple[str, ...]
    limit: int | None


def run_piece(piece: Piece, base: str, data: Path, runs: Path, budget: Budget) -> dict[str, np.ndarray]:
    """Run the missing training and evaluation of a piece; return for each task (N,) 1 for correct answers."""
    arm = next(arm for arm in ARMS if arm.name == piece.arm)
    folder = runs / arm.name / f"{piece.rate:g}" / str(piece.seed)
    model = train_arm(arm, base, folder, piece.rate, piece.seed, budget, data)
    return answers(str(model), folder / "answers", piece.tasks, data, piece.limit)


def run_pieces(
    pieces: Sequence[Piece], base: str, data: Path, runs: Path, budget: Budget, console: Console
) -> list[dict[str, np.ndarray]]:
    """Run pieces, `budget.jobs` at a time; return their results in the order of the pieces."""
    correct: dict[int, dict[str, np.ndarray]] = {}

    def note(number: int, right: dict[str, np.ndarray]) -> None:
        correct[number] = right
        piece = pieces[number]
        summary = ", ".join(f"{name} {100 * values.mean():.1f}" for name, values in right.items())
        console.print(f"{len(correct)} of {len(pieces)}: {piece.arm} {piece.rate:g} seed {piece.seed}: {summary}")

    if budget.jobs == 1:
        for number, piece in enumerate(pieces):
            note(number, run_piece(piece, base, data, runs, budget))
    else:
        # With small matrices, two processes use two cores better than two threads of one process.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(budget.jobs, context, torch.set_num_threads, (1,)) as pool:
            waiting = {pool.submit(run_piece, piece, base, data, runs, budget): n for n, piece in enumerate(pieces)}
            for future in as_completed(waiting):
                note(waiting[future], future.result())
    return [correct[number] for number in range(len(pieces))]


def run_ablation(base: str, data: Path, runs: Path, budget: Budget, console: Console) -> dict[str, Any]:
    """Search learning rates, train all arms with all seeds, and compare; every finished piece is kept in `runs`."""
    first = answers(base, runs / "base" / "answers", (*GENERAL, "fer", "scenes", "captured"), data, budget.limit)
    few = min(budget.search, budget.limit or budget.search)
    search = [Piece(arm.name, rate, SEEDS[0], (arm.task,), few) for arm in ARMS for rate in RATES]
    finished = run_pieces(search, base, data, runs, budget, console)
    reached: dict[str, dict[float, float]] = {arm.name: {} for arm in ARMS}
    for piece, right in zip(search, finished, strict=True):
        reached[piece.arm][piece.rate] = float(right[piece.tasks[0]].mean())
    rates = {name: max(tried, key=tried.__getitem__) for name, tried in reached.items()}
    whole = [
        Piece(arm.name, rates[arm.name], seed, (*GENERAL, arm.task), budget.limit) for arm in ARMS for seed in SEEDS
    ]
    answered = run_pieces(whole, base, data, runs, budget, console)
    results: dict[str, Any] = {"budget": budget.__dict__, "seeds": list(SEEDS), "arms": {}}
    results["before"] = {name: round(100 * float(right.mean()), 2) for name, right in first.items()}
    for place, arm in enumerate(ARMS):
        mine = answered[place * len(SEEDS) : (place + 1) * len(SEEDS)]
        searched = {f"{rate:g}": round(100 * share, 2) for rate, share in reached[arm.name].items()}
        results["arms"][arm.name] = compare_arm(arm, first, mine) | {"rate": rates[arm.name], "searched": searched}
    return results


def write_table(results: Mapping[str, Any], folder: Path) -> None:
    """Write `ablation.json` and the page `ablation.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "ablation.json", json.dumps(results, indent=2) + "\n")
    before, budget = results["before"], results["budget"]
    lines = [
        "# Which method preserves general skill?",
        "",
        f"Made by `recipes/ablation.sh`: {len(results['seeds'])} seeds, {budget['steps']} steps of {budget['samples']} "
        "samples, the better of the same two learning rates for every method. Validation parts; 95 % paired bootstrap "
        "over items, correctness averaged over seeds. General is the mean of CIFAR-10 and drawn shapes.",
        "",
        "| method | emotion, % | general lost, points | by seed | CIFAR-10, % | shapes, % |",
        "| --- | --- | --- | --- | --- | --- |",
        f"| (a) before | {before['fer']} | | | {before['cifar']} | {before['shapes']} |",
    ]
    for arm in results["arms"].values():
        emotion, lost = arm["emotion"], arm["general_loss"]
        lines.append(
            f"| {arm['title']} | {emotion['value']} ({emotion['low']} to {emotion['high']}) "
            f"| {lost['value']} ({lost['low']} to {lost['high']}) | {', '.join(map(str, arm['general_loss_by_seed']))} "
            f"| {arm['general']['cifar']} | {arm['general']['shapes']} |"
        )
    lines += ["", *(f"- {note}" for note in NOTES)]
    write_whole(folder / "ablation.md", "\n".join(lines) + "\n")


@click.command()
@click.option("--base", required=True, help="the general model, before any emotion training")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="folder of the Parquet files")
@click.option("--runs", type=click.Path(path_type=Path), required=True, help="folder of models and answers")
@click.option("--results", type=click.Path(path_type=Path), required=True, help="folder of the page")
@click.option("--steps", default=Budget.steps, show_default=True)
@click.option("--limit", type=int, default=None, help="number of items of each task")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="number of parallel processes")
def ablation(base: str, data: Path, runs: Path, results: Path, steps: int, limit: int | None, jobs: int) -> None:
    """Compare methods of emotion training; an interrupted comparison is continued."""
    budget = Budget(steps=steps, limit=limit, jobs=jobs)
    write_table(run_ablation(base, data, runs, budget, Console(stderr=True)), results)


if __name__ == "__main__":
    sys.exit(run_command(ablation))
