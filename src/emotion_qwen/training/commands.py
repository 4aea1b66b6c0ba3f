"""The commands `train` and `merge`."""

from __future__ import annotations

import signal
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from emotion_qwen.data.collate import SampleBatches
from emotion_qwen.training.adapters import merge_adapter
from emotion_qwen.training.plan import (
    TrainSettings,
    empty_model,
    make_mixture,
    memory_estimate,
    read_config,
    read_settings,
)
from emotion_qwen.training.run import Outcome, load_start, run_stage
from emotion_qwen.training.stages import enter_stage, trainable_counts

STRATEGIES = (("ddp", 1), ("ddp", 8), ("zero2", 8), ("zero3", 8), ("fsdp", 8))


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1)
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint in the output folder.")
@click.option("--dry-run", is_flag=True, help="Check everything, print the plan and the first batch, train nothing.")
def train(config: Path, overrides: tuple[str, ...], resume: bool, dry_run: bool) -> int:
    """Train one stage: CONFIG is YAML, OVERRIDES are key=value (optim.learning_rate=2.0e-5)."""
    settings = read_settings(config, overrides)
    console = Console(stderr=True)
    print_plan(settings, console)
    if dry_run:
        _print_data(settings, console)
        return 0
    outcome = run_stage(settings, resume)
    return _tell(outcome, settings, console)


def _tell(outcome: Outcome, settings: TrainSettings, console: Console) -> int:
    if outcome.steps >= settings.optim.steps:
        console.print(f"trained {outcome.steps} steps: {outcome.folder}", markup=False, highlight=False)
        return 0
    name = signal.Signals(outcome.signal).name if outcome.signal else "a callback"
    console.print(
        f"stopped by {name} after step {outcome.steps} of {settings.optim.steps}, saved: {outcome.folder}; "
        "go on with --resume",
        markup=False,
        highlight=False,
    )
    return 128 + (outcome.signal or signal.SIGTERM)


def print_plan(settings: TrainSettings, console: Console) -> None:
    """Print what learns, what is frozen, and the memory it takes."""
    plan, model = settings.plan, empty_model(read_config(settings.start))
    enter_stage(model, plan, copy=False)
    console.print(f"stage {plan.number} {settings.stage}: sees {plan.sees}; gate {plan.gate}", highlight=False)
    table = Table("part", "learns", "of", "learning rate")
    rate = f"{plan.learning_rate:g}"
    for part, (learning, whole) in trainable_counts(model).items():
        own = settings.optim.rates.get(part)
        told = ("adapters" if settings.adapter and part == "language" else f"{learning:,}") if learning else "frozen"
        table.add_row(part, told, f"{whole:,}", (f"{own:g}" if own else rate) if learning else "")
    console.print(table)
    needed = ", ".join(
        f"{kind} x{devices} {memory_estimate(model, devices, kind, settings.adapter):.1f}"
        for kind, devices in STRATEGIES
    )
    console.print(f"GiB a device for weights, gradients and moments: {needed}", highlight=False)


def _print_data(settings: TrainSettings, console: Console) -> None:
    mixture = make_mixture(settings, 1)
    table = Table("data", "samples", "share", "seen in this run", "turns")
    for row in mixture.position(len(mixture))["parts"]:
        turns = f"{row['seen'] / row['samples']:.2f}"
        table.add_row(row["name"], f"{row['samples']:,}", f"{row['share']:.1%}", f"{row['seen']:,}", turns)
    console.print(table)
    if settings.start.startswith("preset:") and settings.processor is None:
        console.print("no processor given: the first batch is not shown", highlight=False)
        return
    processor = load_start(settings)[1]
    first = [mixture[place] for place in range(min(settings.batch.samples, len(mixture), 8))]
    batch = SampleBatches(processor)(first)
    for key, value in batch.items():
        console.print(f"  {key} {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}", highlight=False)
    taught = int((batch["labels"] != -100).sum())
    console.print(f"  {taught} of {int(batch['attention_mask'].sum())} tokens are taught", highlight=False)


@click.command()
@click.argument("adapter", type=click.Path(path_type=Path))
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
def merge(adapter: Path, base: Path, target: Path) -> None:
    """Merge ADAPTER into its BASE model and save TARGET, once both answer alike."""
    difference = merge_adapter(adapter, base, target)
    Console(stderr=True).print(f"merged into {target}; logits differ by {difference:.1e}", highlight=False)
