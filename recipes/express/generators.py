"""The generators that are compared: trained networks, normal distributions, and the hand-written table.

Each draws facial actions for shares of emotions; their settings differ and are chosen for each in the same way
(`recipes.express.measures.best_setting`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from emotion_qwen.express.generator import ExpressionGenerator
from emotion_qwen.express.generator.gaussian import EmotionGaussians, read_gaussians
from emotion_qwen.express.generator.learned import GaussianFaces, NetworkFaces
from emotion_qwen.express.motion import PACE
from emotion_qwen.express.prototypes import PROTOTYPES, expression
from recipes.express.faces import NEUTRAL, TAUGHT

Settings = dict[str, float]
Faces = Callable[[np.ndarray], np.ndarray]
"""Takes strengths (T, 7) of the emotions and returns actions (T, 52)."""
GUIDANCE = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
INTENSITY = (0.75, 1.0, 1.5)
DESIGN = {"guidance": 1.0, "temperature": 1.0, "intensity": 1.0}
"""The setting of the normal distributions at which the design measured them."""


def strengths_of(shares: np.ndarray, intensity: float) -> np.ndarray:
    """Return the intensity (B,) of each row of shares (B, 7): 0 for a neutral face."""
    return intensity * (1 - shares[:, NEUTRAL])


@dataclass(frozen=True, eq=False)
class Network:
    """A trained generator."""

    model: ExpressionGenerator

    settings = tuple(
        {"guidance": guidance, "temperature": temperature, "intensity": intensity}
        for guidance, temperature, intensity in itertools.product(GUIDANCE, (1.0, 1.15, 1.3), INTENSITY)
    )

    def __call__(
        self, shares: np.ndarray, seed: int, *, guidance: float, temperature: float, intensity: float
    ) -> np.ndarray:
        """Return actions (B, 52) for shares (B, 7)."""
        frames = self.model.draw(
            torch.from_numpy(shares).float(),
            torch.from_numpy(strengths_of(shares, intensity)).float(),
            guidance=guidance,
            temperature=temperature,
            noise=torch.randn(
                len(shares), self.model.config.latent_size, generator=torch.Generator().manual_seed(seed)
            ),
        )
        return frames.double().numpy()

    def take(self, seed: int, *, guidance: float, temperature: float, intensity: float) -> Faces:
        """Return the faces of one take, relative to rest."""
        self.model.config.update({"guidance": guidance, "temperature": temperature})
        faces = NetworkFaces(self.model, seed)
        return lambda curve: faces(curve * intensity)


@dataclass(frozen=True, eq=False)
class Gaussians:
    """Normal distributions, one per emotion."""

    gaussians: EmotionGaussians

    settings = tuple(
        {"guidance": guidance, "temperature": temperature, "intensity": intensity}
        for guidance, temperature, intensity in itertools.product((*GUIDANCE, 3.0), (1.0, 1.1), INTENSITY)
    )

    def __call__(
        self, shares: np.ndarray, seed: int, *, guidance: float, temperature: float, intensity: float
    ) -> np.ndarray:
        """Return actions (B, 52) for shares (B, 7)."""
        strength, noise = (
            strengths_of(shares, intensity),
            np.random.default_rng(seed).standard_normal((len(shares), 52)),
        )
        return self.gaussians.draw(shares, strength, noise, guidance=guidance, temperature=temperature)

    def take(self, seed: int, *, guidance: float, temperature: float, intensity: float) -> Faces:
        """Return the faces of one take, relative to rest."""
        faces = GaussianFaces(self.gaussians, seed, guidance, temperature)
        return lambda curve: faces(curve * intensity)


@dataclass(frozen=True, eq=False)
class Table:
    """The prototypes of `express`, on top of the neutral face that the landmarker measures, with its variation.

    The variation is that of `emotion_qwen.express.motion`: each action by 5 % of itself.
    """

    neutral: np.ndarray

    settings = tuple({"intensity": intensity} for intensity in (0.5, 0.75, 1.0, 1.25))

    def __call__(self, shares: np.ndarray, seed: int, *, intensity: float) -> np.ndarray:
        """Return actions (B, 52) for shares (B, 7)."""
        change = strengths_of(shares, intensity)[:, None] * (shares @ PROTOTYPES)
        noise = np.random.default_rng(seed).standard_normal(change.shape)
        return np.where(TAUGHT, self.neutral + change * (1 + PACE.jitter * noise), change).clip(0, 1)

    def take(self, seed: int, *, intensity: float) -> Faces:
        """Return the faces of one take, relative to rest; they do not depend on the seed."""
        return lambda curve: expression(curve * intensity)


def read_network(folder: Path) -> Network:
    """Read a trained generator."""
    return Network(ExpressionGenerator.from_pretrained(folder).eval())


def read_gaussian_peer(path: Path) -> Gaussians:
    """Read fitted normal distributions."""
    return Gaussians(read_gaussians(path))
