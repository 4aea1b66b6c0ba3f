"""Facial actions of an emotion curve as a learned generator draws them, relative to a face at rest.

A landmarker measures a squint or a gaze even in a neutral face. A rig is at rest where all actions are 0, so the
output of a generator is taken relative to its neutral face.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from emotion_qwen.errors import CheckpointError
from emotion_qwen.express.generator.folder import read_trained
from emotion_qwen.express.generator.gaussian import EmotionGaussians
from emotion_qwen.express.generator.modeling import ExpressionGenerator
from emotion_qwen.express.track import CHANNELS, EMOTIONS, STRONGEST

NEUTRAL = EMOTIONS.index("neutral")
TOGETHER = 2048
"""Number of frames that are computed together."""
GAUSSIANS = "gaussians.safetensors"


def shares_and_intensity(strengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return shares (B, 7) in sum 1 and the intensity (B,) of strengths (B, 7); without any, neutral at 0."""
    expressed = strengths.copy()
    expressed[:, NEUTRAL] = 0
    total = expressed.sum(axis=1)
    rest = np.eye(len(EMOTIONS))[np.full(len(strengths), NEUTRAL)]
    shares = np.where((total > 0)[:, None], expressed / np.maximum(total, 1e-9)[:, None], rest)
    return shares, total.clip(0, STRONGEST)


def at_rest_zero(frames: np.ndarray, neutral: np.ndarray) -> np.ndarray:
    """Return actions (B, 52) relative to a neutral face (52,): 0 there, and 1 where they were 1; none below 0."""
    return ((frames - neutral) / (1 - neutral).clip(0.05)).clip(0, 1)


class NetworkFaces:
    """One take of a trained `ExpressionGenerator`: the same latent noise in all frames.

    Args:
        model: generates all of `CHANNELS` for all of `EMOTIONS`.
        seed: of the take.

    Guidance and variation are set by `guidance` and `temperature` of the model's configuration.
    """

    def __init__(self, model: ExpressionGenerator, seed: int) -> None:
        self._model = model
        self._noise = torch.randn((1, model.config.latent_size), generator=torch.Generator().manual_seed(seed))

    def __call__(self, curve: np.ndarray) -> np.ndarray:
        """Return the actions (T, 52) for the strengths (T, 7) of the emotions."""
        shares, intensity = (torch.from_numpy(part).float() for part in shares_and_intensity(curve))
        parts = [
            self._model.draw(some, strength, noise=self._noise.expand(len(some), -1))
            for some, strength in zip(shares.split(TOGETHER), intensity.split(TOGETHER), strict=True)
        ]
        return at_rest_zero(torch.cat(parts).double().numpy(), self._model.neutral.detach().double().numpy())


class GaussianFaces:
    """One take of fitted `EmotionGaussians`: the same noise in all frames.

    Args:
        gaussians: the distributions.
        seed: of the take.
        guidance: as in `EmotionGaussians.draw`.
        temperature: as there.
    """

    def __init__(self, gaussians: EmotionGaussians, seed: int, guidance: float = 0.0, temperature: float = 1.0) -> None:
        self._gaussians, self._guidance, self._temperature = gaussians, guidance, temperature
        self._noise = np.random.default_rng(seed).standard_normal((1, len(CHANNELS)))

    def __call__(self, curve: np.ndarray) -> np.ndarray:
        """Return the actions (T, 52) for the strengths (T, 7) of the emotions."""
        shares, intensity = shares_and_intensity(curve)
        frames = self._gaussians.draw(
            shares,
            intensity,
            np.repeat(self._noise, len(shares), axis=0),
            guidance=self._guidance,
            temperature=self._temperature,
        )
        return at_rest_zero(frames, np.where(self._gaussians.taught, self._gaussians.means[NEUTRAL], 0))


def read_faces(folder: Path, seed: int) -> NetworkFaces:
    """Read a trained generator and return a take of it.

    Raises:
        CheckpointError: the folder contains no generator of all channels and emotions.
    """
    model = read_trained(folder, ExpressionGenerator, "expression generator", "the table")
    config = model.config
    if tuple(config.channels) != CHANNELS or tuple(config.emotions) != EMOTIONS or config.context_size:
        raise CheckpointError(
            f"{str(folder)!r} generates {len(config.channels)} channels for {len(config.emotions)} emotions with a "
            f"context of {config.context_size}; expected all {len(CHANNELS)}, {len(EMOTIONS)} and 0"
        )
    return NetworkFaces(model, seed)
