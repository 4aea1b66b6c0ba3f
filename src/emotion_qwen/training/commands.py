"""The commands `train` and `merge`. Imports are deferred until they run, which keeps their help fast."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

if TYPE_CHECKING:
    from emotion_qwen.training.plan import TrainSettings
    from emotion_qwen.training.run import Outcome

# Imported by peft; warns about an optional kernel even if nothing is quantised.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1)
@click.option("--resume", is_flag=True, help="Continue from the newest checkpoint in the output folder.")
@click.option("--dry-run", is_flag=True, help="Print the plan, the memory and the first batch without training.")
def train(config: Path, overrides: tuple[str, ...], resume: bool, dry_run: bool) -> int:
    """Train one stage: CONFIG is YAML, OVERRIDES are key=value (optim.learning_rate=2.0e-5).

    A dry run reads no weights. If the start or a data file does not exist yet, it says so and plans without it.
    """
    from emotion_qwen.training.dry_run import print_data, print_plan
    from emotion_qwen.training.plan import read_settings
    from emotion_qwen.training.run import run_stage

    settings = read_settings(config, overrides)
    console = Console(stderr=True)
    print_plan(settings, console)
    if dry_run:
        print_data(settings, console)
        return 0
    outcome = run_stage(settings, resume)
    return _tell(outcome, settings, console)


def _tell(outcome: Outcome, settings: TrainSettings, console: Console) -> int:
    if outcome.steps >= settings.optim.steps:
        console.print(f"trained {outcome.steps} steps: {outcome.folder}", markup=False, highlight=False)
        remedy = f"its shares are not calibrated yet: emotion-qwen calibrate {outcome.folder} --data DATA"
        console.print(remedy, markup=False, highlight=False)
        return 0
    name = signal.Signals(outcome.signal).name if outcome.signal else "a callback"
    console.print(
        f"stopped by {name} after step {outcome.steps} of {settings.optim.steps}, saved: {outcome.folder}; "
        "go on with --resume",
        markup=False,
        highlight=False,
    )
    return 128 + (outcome.signal or signal.SIGTERM)


@click.command()
@click.argument("adapter")
@click.argument("base")
@click.argument("target", type=click.Path(path_type=Path))
def merge(adapter: str, base: str, target: Path) -> None:
    """Merge ADAPTER into its BASE model, check the result, and save it as TARGET.

    BASE is nano, a model folder, or a hub name.
    """
    from emotion_qwen.training.adapters import merge_adapter

    difference = merge_adapter(adapter, base, target)
    console = Console(stderr=True, soft_wrap=True)
    console.print(f"merged into {target}; logits differ by {difference:.1e} of the largest", highlight=False)
