"""Judges: classifiers that name the emotion of facial actions.

Two kinds are kept apart. Those trained on training people are used in training and in choosing settings; the one
trained on validation people is only used for measurement.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import nn

from emotion_qwen.express.track import EMOTIONS
from recipes.express.faces import TAUGHT, MeasuredFaces


@dataclass(frozen=True, eq=False)
class LinearJudge:
    """Logistic regression on the channels that the landmarker measures, in units of their deviation.

    Attributes:
        centre: (52,) mean, and `deviation` (52,), of the faces that it was trained on.
        weights: (52, 7), 0 for channels that are not measured.
        bias: (7,).
    """

    centre: np.ndarray
    deviation: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Return the shares (N, 7) of the emotions for actions (N, 52)."""
        logits = (frames - self.centre) / self.deviation @ self.weights + self.bias
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)


def fit_judge(faces: MeasuredFaces, strength: float = 0.1) -> LinearJudge:
    """Train a judge; every emotion has the same weight.

    Args:
        faces: every emotion occurs.
        strength: inverse weight of the L2 penalty.
    """
    centre, deviation = faces.frames.mean(axis=0), faces.frames.std(axis=0) + 1e-6
    values = ((faces.frames - centre) / deviation)[:, TAUGHT]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=strength, class_weight="balanced", max_iter=200).fit(values, faces.labels)
    weights = np.zeros((len(TAUGHT), len(EMOTIONS)))
    weights[TAUGHT] = model.coef_.T
    return LinearJudge(centre, deviation, weights, model.intercept_)


def fit_training_judge(faces: MeasuredFaces, *, steps: int = 600, seed: int = 0) -> nn.Module:
    """Train the judge of the training loss: a network with one hidden layer on training people, then frozen.

    It takes actions (B, 52) as float32 and returns logits (B, 7).
    """
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    scale = ChannelScale(faces.frames.mean(axis=0), faces.frames.std(axis=0))
    judge = nn.Sequential(scale, nn.Linear(len(TAUGHT), 64), nn.GELU(), nn.Dropout(0.3), nn.Linear(64, len(EMOTIONS)))
    frames, labels = torch.from_numpy(faces.frames).float(), torch.from_numpy(faces.labels)
    chances = 1 / np.bincount(faces.labels, minlength=len(EMOTIONS)).clip(1)[faces.labels]
    optimizer = torch.optim.AdamW(judge.parameters(), lr=3e-3, weight_decay=0.1)
    for _ in range(steps):
        rows = random.choice(len(faces), 256, p=chances / chances.sum())
        loss = nn.functional.cross_entropy(judge(frames[rows]), labels[rows], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return judge.eval().requires_grad_(False)


class ChannelScale(nn.Module):
    """Actions in units of the deviation of each channel, those that are not measured set to 0."""

    centre: torch.Tensor
    factor: torch.Tensor

    def __init__(self, centre: np.ndarray, deviation: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("centre", torch.from_numpy(centre).float())
        self.register_buffer("factor", torch.from_numpy(TAUGHT / (deviation + 1e-6)).float())

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Return (B, 52)."""
        return (frames - self.centre) * self.factor
