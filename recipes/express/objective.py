"""The training loss of the expression generator, and how its batches are drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from emotion_qwen.express.generator import ExpressionGenerator
from emotion_qwen.express.generator.configuration import region_of
from emotion_qwen.express.generator.learned import shares_and_intensity
from emotion_qwen.express.generator.modeling import divergence_of
from emotion_qwen.express.track import CHANNELS, EMOTIONS
from recipes.express.faces import NEUTRAL, TAUGHT, MeasuredFaces

EXPRESSED = [place for place in range(len(EMOTIONS)) if place != NEUTRAL]
"""The emotions that have an expert of their own in the first phase, in the order of the experts."""
MOUTH = np.array([region_of(name) in ("mouth", "jaw") for name in CHANNELS])


@dataclass(frozen=True)
class Objective:
    """Weights of the parts of the loss, and the shares of special rows in a batch.

    Attributes:
        free_bits: divergence per latent dimension, in nats, that costs nothing (Kingma et al., 2016).
        warm: share of the steps over which the weight of the divergence rises from 0 to 1.
        bank: weight of the bank's loss.
        judge: weight of the cross-entropy of the training judge on faces drawn from the prior.
        target: weight of the target-guided term: draws from the prior alone must have the distribution of the
            data. It is the energy score (Gneiting and Raftery, 2007), whose least value only the right distribution
            reaches; the mean distance to the target, as CTEG has it, would reward drawing the same face every time.
        vertices: weight of the distance of the vertices of a head that the actions move.
        expert_share: share of the steps in which emotions are sent to experts of their own.
        other_share: share of the rows of these steps that go to the expert of another emotion.
        masked_share: share of the rows in which mouth and jaw are hidden from the loss.
        routing: weight of the loss by which the global gate learns where emotions were sent.
        dropped_share: share of the rows without a condition.
        blended_share: share of the rows that are blends of two faces and of their emotions.
    """

    free_bits: float = 0.05
    warm: float = 0.3
    bank: float = 1.0
    judge: float = 0.03
    target: float = 1.0
    vertices: float = 0.1
    expert_share: float = 0.4
    other_share: float = 0.15
    masked_share: float = 0.5
    routing: float = 0.1
    dropped_share: float = 0.1
    blended_share: float = 0.2


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of one training step.

    Attributes:
        frames: (B, 52) actions.
        emotions: (B, 7) shares of the emotions, in sum 1.
        intensity: (B,) 0 to 1.5.
        dropped: (B,) bool, rows without a condition.
        visible: (B, 52) 0 where a channel is hidden from the loss, else 1.
        routing: (B, 6) experts to which the row is sent.
        target: (B, 6) experts to which its emotions belong.
    """

    frames: torch.Tensor
    emotions: torch.Tensor
    intensity: torch.Tensor
    dropped: torch.Tensor
    visible: torch.Tensor
    routing: torch.Tensor
    target: torch.Tensor


def draw_batch(
    faces: MeasuredFaces, intensity: np.ndarray, size: int, objective: Objective, random: np.random.Generator
) -> Batch:
    """Draw a batch in which all emotions are equally frequent.

    Args:
        faces: to draw from, with their `intensity` (N,).
        intensity: of each face.
        size: rows.
        objective: shares of special rows.
        random: source of all choices.
    """
    labels = random.integers(len(EMOTIONS), size=(2, size))
    order = np.argsort(faces.labels, kind="stable")
    counts = np.bincount(faces.labels, minlength=len(EMOTIONS))
    rows = order[(np.cumsum(counts) - counts)[labels] + (random.random(labels.shape) * counts[labels]).astype(int)]
    part = np.where(random.random(size) < objective.blended_share, random.uniform(0.2, 0.8, size), 1.0)
    mix = np.stack([part, 1 - part])
    frames = (mix[:, :, None] * faces.frames[rows]).sum(axis=0)
    strengths = (mix[:, :, None] * intensity[rows][:, :, None] * np.eye(len(EMOTIONS))[labels]).sum(axis=0)
    shares, strength = shares_and_intensity(strengths)
    alone = np.eye(len(EMOTIONS))[labels[0]]
    shares = np.where((part == 1)[:, None], alone, shares)  # an emotion at intensity 0 is still that emotion
    target = expert_targets(shares)
    other = random.random(size) < objective.other_share
    elsewhere = np.eye(len(EXPRESSED))[(target.argmax(axis=1) + random.integers(1, len(EXPRESSED), size)) % 6]
    visible = np.where((random.random(size) < objective.masked_share)[:, None] & MOUTH, 0.0, 1.0) * TAUGHT
    arrays = (frames, shares, strength, visible, np.where(other[:, None], elsewhere, target), target)
    first, second, third, fourth, fifth, sixth = (torch.from_numpy(array).float() for array in arrays)
    dropped = torch.from_numpy(random.random(size) < objective.dropped_share)
    return Batch(first, second, third, dropped, fourth, fifth, sixth)


def expert_targets(shares: np.ndarray) -> np.ndarray:
    """Return the experts (B, 6) to which shares of emotions (B, 7) belong; neutral belongs to all."""
    return shares[:, EXPRESSED] + shares[:, [NEUTRAL]] / len(EXPRESSED)


def energy_score(first: torch.Tensor, second: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean energy score of two draws (B, C) of a distribution for its targets (B, C)."""
    near = (_length(first - target) + _length(second - target)) / 2
    return (near - _length(first - second) / 2).mean()


def _length(values: torch.Tensor) -> torch.Tensor:
    return (values.square().mean(dim=1) + 1e-8).sqrt()


def training_loss(
    model: ExpressionGenerator,
    batch: Batch,
    objective: Objective,
    progress: float,
    judge: nn.Module | None = None,
    vertices: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """Return the parts of the loss, each with its weight; the loss is their sum.

    Args:
        model: in training.
        batch: of `draw_batch`.
        objective: weights.
        progress: share of the steps that are done, 0 to 1.
        judge: frozen judge of training people; None leaves its part out.
        vertices: (52, V) how the actions move a head; None leaves its part out.
    """
    by_label = progress < objective.expert_share and model.config.experts == 6 and model.config.global_gate
    state = model.conditioned(batch.emotions, batch.intensity, dropped=batch.dropped)
    gate = state.global_gate
    if by_label:
        state = replace(state, global_gate=batch.routing)
    posterior = model.encoded(batch.frames, state)
    encoded, first, second = (
        model.decoded(mean + torch.randn_like(mean) * log_deviation.exp(), state)
        for mean, log_deviation in (posterior, state.prior, state.prior)
    )
    unit = batch.visible / model.deviation
    gap = (encoded - batch.frames) * unit
    divergence = divergence_of(posterior, state.prior).mean(dim=0).clamp_min(objective.free_bits).sum()
    beta = min(1.0, progress / max(objective.warm, 1e-9))
    parts = {
        "frames": F.huber_loss(gap, torch.zeros_like(gap)),
        "divergence": beta * divergence / gap.shape[1],
        "target": objective.target * energy_score(first * unit, second * unit, batch.frames * unit),
        "bank": objective.bank * state.bank_loss,
    }
    if by_label:
        parts["routing"] = (
            -objective.routing * (batch.target * gate.clamp_min(1e-8).log()).sum(dim=1)[~batch.dropped].mean()
        )
    if judge is not None:
        kept = ~batch.dropped
        logits = judge(first[kept].clamp(0, 1))
        parts["judge"] = objective.judge * F.cross_entropy(logits, batch.emotions[kept])
    if vertices is not None:
        moved = (encoded - batch.frames) * batch.visible @ vertices
        parts["vertices"] = objective.vertices * moved.abs().mean()
    return parts
