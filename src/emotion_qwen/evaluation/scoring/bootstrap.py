"""The bootstrap: items drawn with replacement, and the intervals computed from these draws. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2000
_AT_ONCE = 200
"""Number of draws kept in memory at the same time."""
SURE = (0.025, 0.975)
"""The quantiles of a 95 % interval."""


@dataclass(frozen=True)
class IntervalEstimate:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def mean_over_tasks(values: Sequence[np.ndarray], draws: int = DRAWS, seed: int = 0) -> IntervalEstimate:
    """Estimate the mean over tasks; items are drawn within each task, and every task counts the same.

    For a paired comparison, the values are the differences between two models. Items are drawn then, not answers: an
    item that both models answer correctly, or both wrongly, contributes no difference, so two models that agree on most
    items are separated far better than by two separate intervals.

    Args:
        values: per task, the (N,) values of its items. An item that is asked in two languages has one value, the mean:
            two wordings for one picture are not two independent pictures.
        draws: number of bootstrap draws.
        seed: of the random draws.
    """
    generator = np.random.default_rng(seed)
    drawn = [resampled_sums(np.reshape(task, (-1, 1)), draws, generator)[:, 0] / len(task) for task in values]
    low, high = np.quantile(np.mean(drawn, axis=0), SURE)
    return IntervalEstimate(float(np.mean([np.mean(task) for task in values])), float(low), float(high))


def resampled_sums(rows: np.ndarray, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Return (draws, F) sums of N rows drawn from `rows` (N, F) with replacement.

    Closed answers have few distinct rows (correct, wrong, correct in one of two languages), so one multinomial draw
    gives how often each is drawn. This is the same bootstrap without its N x draws table of indices.
    """
    distinct, counts = np.unique(np.asarray(rows, dtype=np.float64), axis=0, return_counts=True)
    shares, sums = counts / counts.sum(), []
    for start in range(0, draws, _AT_ONCE):
        drawn = generator.multinomial(counts.sum(), shares, size=min(_AT_ONCE, draws - start))
        sums.append(drawn @ distinct)
    return np.concatenate(sums)
