"""Train a network and keep the moving average of its weights, in one line of batches that can be resumed anywhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainerCallback, TrainingArguments

from emotion_qwen.training.checkpoint import STAGING, finish_checkpoint, latest_checkpoint
from emotion_qwen.training.plan import native_dtype

WARMUP = 100


class Averaged(nn.Module):
    """The network that learns, and the moving average of it that is used; a checkpoint of Trainer holds both."""

    live: nn.Module
    average: AveragedModel

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.live = network
        self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        self.average.requires_grad_(False)

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Return the output of the learning network in training, and that of the average otherwise."""
        return (self.live if self.training else self.average)(*inputs)


class _FollowAverage(TrainerCallback):
    def on_step_end(self, args, state, control, model=None, **kwargs):
        model.average.update_parameters(model.live)


class _LineTrainer(Trainer):
    """transformers' Trainer over pictures in line, with a loss given from outside."""

    loss: Callable[[Averaged, dict[str, torch.Tensor]], torch.Tensor]

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss = self.loss(model, inputs)
        return (loss, {}) if return_outputs else loss

    def _save_checkpoint(self, model, trial) -> None:
        """Write the checkpoint elsewhere and give it its name in one move, so that a kill leaves none half-written."""
        final, name = Path(self.args.output_dir), f"checkpoint-{self.state.global_step}"
        staging = final / STAGING
        shutil.rmtree(staging, ignore_errors=True)
        self.args.output_dir = str(staging)
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.output_dir = str(final)
        finish_checkpoint(staging / name, final / name, {"step": self.state.global_step}, keep=2)


def train_averaged(
    model: Averaged,
    stream: Dataset,
    collate: Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]],
    loss: Callable[[Averaged, dict[str, torch.Tensor]], torch.Tensor],
    *,
    output: Path,
    batch_size: int,
    optimizer: torch.optim.Optimizer,
    seed: int,
    decay: float = 1.0,
) -> None:
    """Train `model.live` in place over the whole stream and update `model.average` after every step.

    Continues from the last checkpoint in `output` if there is one. The rate rises over 100 steps, stays, and falls as a
    cosine over the last share `decay` of the run; until it falls, a run may be made longer and continued.
    """
    steps = len(stream) // batch_size  # type: ignore[arg-type]
    arguments = TrainingArguments(
        output_dir=str(output),
        max_steps=steps,
        per_device_train_batch_size=batch_size,
        learning_rate=optimizer.param_groups[0]["lr"],
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={
            "num_decay_steps": min(round(steps * decay), max(steps - WARMUP, 0)),
            "decay_type": "cosine",
        },
        warmup_steps=WARMUP,
        max_grad_norm=1.0,
        bf16=native_dtype() == torch.bfloat16,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=20,
        save_strategy="steps",
        save_steps=25,
        report_to=[],
        remove_unused_columns=False,
        disable_tqdm=True,
        seed=seed,
    )
    trainer = _LineTrainer(
        model=model,
        args=arguments,
        train_dataset=stream,
        data_collator=collate,
        callbacks=[_FollowAverage()],
        optimizers=(optimizer, None),
    )
    trainer.loss = loss
    checkpoint = latest_checkpoint(output)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
