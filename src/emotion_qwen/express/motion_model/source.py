"""The random motion that the flow starts from: it continues the frames before, so that windows join.

Each channel, as a multiple of its deviation, is a Gaussian process with a Matern covariance of order 3/2 (Rasmussen and
Williams, *Gaussian Processes for Machine Learning*, 2006, equations 4.17 and 2.23 to 2.24), conditioned on the last
frames before the window. Flow matching from a source that depends on its target's surroundings: Albergo et al., arXiv
2310.03725.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

ANCHORS = 4
"""Frames before a window that the random motion continues; the process forgets what was before its last frames."""


def covariance(gaps: np.ndarray, seconds: float, noise: float) -> np.ndarray:
    """Return the covariance of the process at gaps in seconds, of any shape; 1 at a gap of 0.

    Args:
        gaps: differences of times.
        seconds: correlation time.
        noise: share of the variance that is not correlated in time.
    """
    scaled = np.sqrt(3) * np.abs(gaps) / seconds
    return (1 - noise) * (1 + scaled) * np.exp(-scaled) + noise * (scaled == 0)


@cache
def continuation(window: int, fps: float, seconds: float, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what turns frames before a window, and white noise, into random motion that continues them.

    Args:
        window: W frames.
        fps: frames per second.
        seconds: see `covariance`, and so for `noise`.

    Returns:
        For k = 0 to `ANCHORS` frames that are known before the window: weights (ANCHORS + 1, W, ANCHORS) of the last
        `ANCHORS` frames, 0 for those that are not known, and lower triangular factors (ANCHORS + 1, W, W) of the white
        noise, so that no frame depends on the noise of later ones.
    """
    times = np.arange(-ANCHORS, window) / fps
    joint = covariance(times[:, None] - times, seconds, noise)
    inside = joint[ANCHORS:, ANCHORS:]
    weights, factors = np.zeros((ANCHORS + 1, window, ANCHORS)), np.zeros((ANCHORS + 1, window, window))
    for known in range(ANCHORS + 1):
        before = slice(ANCHORS - known, ANCHORS)
        cross = joint[ANCHORS:, before]
        weights[known, :, before] = np.linalg.solve(joint[before, before], cross.T).T
        factors[known] = np.linalg.cholesky(inside - weights[known, :, before] @ cross.T)
    return torch.from_numpy(weights).float(), torch.from_numpy(factors).float()
