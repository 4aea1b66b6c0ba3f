"""The teacher of the vision transformer: EfficientNet-Lite0 from ImageNet, trained on people's votes on faces.

The stem and the first blocks keep their ImageNet weights, because their maps are the largest and would cost half of a
step. The network starts on pictures of 64 pixels and ends on 96.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from emotion_qwen.training.optimizer import split_parameters
from recipes.mini.averaged import Averaged, train_averaged
from recipes.mini.efficientnet import FEATURES, EfficientNetLite0
from recipes.mini.eyes_data import EMOTIONS, SIDE, EyesBatches, EyesStream

FROZEN = 3
"""Blocks that keep ImageNet's weights, after the stem."""
SMOOTHING = 0.04


class EyesTeacher(nn.Module):
    """EfficientNet-Lite0 with one linear layer for the eight emotions of FER+."""

    def __init__(self) -> None:
        super().__init__()
        self.network = EfficientNetLite0()
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(FEATURES, len(EMOTIONS))
        for part in self.fixed_parts():
            part.requires_grad_(False)

    def fixed_parts(self) -> list[nn.Module]:
        """Return the modules that keep ImageNet's weights."""
        return [self.network.stem, *self.network.blocks[:FROZEN]]

    def train(self, mode: bool = True) -> EyesTeacher:
        """Switch the mode; the fixed part's batch norms always use their stored statistics."""
        super().train(mode)
        for part in self.fixed_parts():
            part.eval()
        return self

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return logits (B, 8) and maps of four scales for pixels (B, 3, S, S) in 0..1."""
        features, maps = self.network((pixels * 255 - 127) / 128)
        return self.head(self.drop(features)), maps


def vote_loss(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the cross-entropy with the shares of votes, slightly smoothed."""
    shares = batch["targets"] / batch["targets"].sum(1, keepdim=True)
    shares = shares * (1 - SMOOTHING) + SMOOTHING / len(EMOTIONS)
    return F.cross_entropy(model(batch["pixels"])[0], shares)


@dataclass(frozen=True)
class TeacherRun:
    """One run. `small` is the share of it that is spent on pictures of 64 pixels."""

    output: Path
    passes: int = 3
    learning_rate: float = 1e-3
    batch_size: int = 64
    weight_decay: float = 0.02
    small: float = 0.3
    seed: int = 7


def train_teacher(run: TeacherRun, teacher: EyesTeacher, parts: Sequence) -> EyesTeacher:
    """Train the teacher, continuing from the last checkpoint in `run.output` if there is one.

    Returns:
        The averaged teacher, in evaluation mode and frozen.
    """
    stream = EyesStream(parts, passes=run.passes, seed=run.seed)
    last = int(len(stream) // run.batch_size * run.small) * run.batch_size
    model = Averaged(teacher, decay=0.995)
    groups = split_parameters(model.live, {}, run.learning_rate, run.weight_decay)
    train_averaged(
        model,
        stream,
        EyesBatches(len(stream) // run.passes // 2, run.seed, ((0, 64), (last, SIDE)), mixed=0.3, strength=0.6),
        vote_loss,
        output=run.output,
        batch_size=run.batch_size,
        optimizer=torch.optim.AdamW(groups, lr=run.learning_rate),
        seed=run.seed,
        decay=0.5,
    )
    return cast(EyesTeacher, model.average.module.eval().requires_grad_(False))
