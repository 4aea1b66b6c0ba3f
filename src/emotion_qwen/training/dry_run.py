"""Print the plan of a training run (`train --dry-run`): trained and frozen parts, memory, data and the first batch."""

from __future__ import annotations

import torch
from rich.console import Console
from rich.table import Table

from emotion_qwen.data.collate import SampleCollator
from emotion_qwen.model.modeling import IGNORE
from emotion_qwen.training.answers import PromptCollator
from emotion_qwen.training.memory import TAUGHT_SHARE, memory_plan, plan_rows, tokens_per_pass
from emotion_qwen.training.plan import (
    GIB,
    TrainSettings,
    absent_data,
    empty_model,
    make_mixture,
    start_config,
    start_is_there,
)
from emotion_qwen.training.precision import frozen_dtype, stored_dtype
from emotion_qwen.training.run import start_processor
from emotion_qwen.training.stages import REINFORCEMENT, enter_stage, trainable_counts

STRATEGIES = (("ddp", 1), ("ddp", 8), ("zero2", 8), ("zero3", 8), ("fsdp", 8))


def print_plan(settings: TrainSettings, console: Console) -> None:
    """Print the trained and frozen parts, and the memory they need."""
    plan, model = settings.plan, empty_model(start_config(settings))
    if not start_is_there(settings):
        console.print(f"start {settings.start} is not there yet; planned by size {settings.size}", markup=False)
    enter_stage(model, plan, copy=False)
    console.print(f"stage {plan.number} {settings.stage}: sees {plan.sees}; gate {plan.gate}", highlight=False)
    table = Table("part", "learns", "of", "learning rate")
    rate = f"{plan.learning_rate:g}"
    for part, (learning, whole) in trainable_counts(model).items():
        part_rate = settings.optim.rates.get(part)
        learns = ("adapters" if settings.adapter and part == "language" else f"{learning:,}") if learning else "frozen"
        table.add_row(part, learns, f"{whole:,}", (f"{part_rate:g}" if part_rate else rate) if learning else "")
    console.print(table)
    frozen = frozen_dtype(settings, stored_dtype(settings))
    needed = Table("GiB per device", *(f"{kind} x{devices}" for kind, devices in STRATEGIES))
    plans = [memory_plan(model, settings, frozen, devices, kind) for kind, devices in STRATEGIES]
    for rows in zip(*map(plan_rows, plans), strict=True):
        needed.add_row(rows[0][0], *(f"{size:.1f}" for _, size in rows))
    needed.add_row("total", *(f"{memory.total / GIB:.1f}" for memory in plans), style="bold")
    console.print(needed)
    trained = "float32" if frozen == torch.float32 else "float32, frozen parts bfloat16"
    console.print(
        f"weights: {trained}; {tokens_per_pass(settings)} tokens per pass, of which {TAUGHT_SHARE:.0%} supervised; "
        f"attention {settings.attention}; activations {'recomputed' if settings.checkpointing else 'kept'}",
        highlight=False,
    )
    if settings.copies_start:
        size = 4 * sum(parameter.numel() for parameter in model.parameters()) / GIB
        console.print(f"and {size:.1f} for the frozen copy of the start; an adapter needs none", highlight=False)


def print_data(settings: TrainSettings, console: Console) -> None:
    """Print the parts of the data, and the shapes of the first batch."""
    absent = absent_data(settings)
    if absent:
        console.print(f"data not there yet: {', '.join(absent)}; give folder=DATA", markup=False, highlight=False)
        return
    mixture = make_mixture(settings, 1)
    table = Table("data", "samples", "share", "seen in this run", "turns")
    for row in mixture.position(mixture.length or 0)["parts"]:
        turns = f"{row['seen'] / row['samples']:.2f}"
        cells = ("as many as fit", "") if mixture.length is None else (f"{row['seen']:,}", turns)
        table.add_row(row["name"], f"{row['samples']:,}", f"{row['share']:.1%}", *cells)
    console.print(table)
    if settings.processor is None and (settings.start.startswith("preset:") or not start_is_there(settings)):
        console.print("no processor there: the first batch is not shown", highlight=False)
        return
    first = [mixture[place] for place in range(min(settings.batch.samples, len(mixture.owner), 8))]
    if settings.learns_from_answers:
        batch = PromptCollator(start_processor(settings))(first)["batch"]
    else:
        batch = SampleCollator(start_processor(settings))(first)
    for key, value in batch.items():
        console.print(f"  {key} {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}", highlight=False)
    if settings.stage == REINFORCEMENT:
        chosen = settings.rewarded
        rewards = ", ".join(f"{reward.weight:g} x {reward.key}" for reward in chosen.rewards)
        console.print(f"  {chosen.answers} answers per prompt; rewards: {rewards}", markup=False, highlight=False)
    if settings.learns_from_answers:
        return
    taught = int((batch["labels"] != IGNORE).sum())
    console.print(f"  {taught} of {int(batch['attention_mask'].sum())} tokens are taught", highlight=False)
