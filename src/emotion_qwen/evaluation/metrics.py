"""Scores of closed answers, and how sure one can be of them. NumPy only, so that a page can be made without a model.

Every function takes one value per item. Where an item is asked in two languages its value is the mean of both, so that
the item stays the unit that is drawn again: two wordings of one picture are not two independent pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2000
_AT_ONCE = 200
"""So many draws are held in memory together."""
SURE = (0.025, 0.975)
"""The quantiles of a 95 % interval."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def hits(answers: Sequence[str], predicted: Sequence[str | None]) -> np.ndarray:
    """Return (N,) float, 1 where the prediction is the answer; a missing prediction (None) counts as wrong."""
    pairs = zip(answers, predicted, strict=True)
    return np.array([float(given == answer) for answer, given in pairs])


def accuracy(right: np.ndarray) -> float:
    """Return the share of right answers; 0 without items."""
    return float(right.mean()) if len(right) else 0.0


def recalls(right: np.ndarray, groups: Sequence[str] | np.ndarray) -> dict[str, float]:
    """Return the share of right answers within every group, in order of the names."""
    places = np.array(groups)
    return {str(name): accuracy(right[places == name]) for name in np.unique(places)}


def unweighted_recall(right: np.ndarray, groups: Sequence[str] | np.ndarray) -> float:
    """Return the mean of `recalls` (UAR): every group counts the same, however many items it has."""
    return float(np.mean(list(recalls(right, groups).values())))


def macro_f1(answers: Sequence[str], predicted: Sequence[str | None]) -> float:
    """Return the mean F1 over the classes of the answers and the predictions; None is no class of its own."""
    truth, given = np.array(answers, dtype=object), np.array(predicted, dtype=object)
    classes = {*answers, *(name for name in predicted if name is not None)}
    scores = []
    for name in sorted(classes):
        both = int(((truth == name) & (given == name)).sum())
        # 2 TP / (2 TP + FP + FN); a class of this set is answered or predicted at least once, so never 0 / 0.
        scores.append(2 * both / int((truth == name).sum() + (given == name).sum()))
    return float(np.mean(scores))


def bootstrap_interval(right: np.ndarray, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Estimate the mean of `right` (N,) with its 95 % bootstrap interval."""
    return mean_over_tasks([right], draws, seed)


def paired_difference(before: np.ndarray, after: np.ndarray, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Estimate how much better `after` is than `before` on the same items, with a 95 % paired bootstrap interval.

    Items are drawn, not answers: where both models are right or both wrong, nothing can differ, so two models that
    agree on most items are told apart far better than two separate intervals could.

    Args:
        before: (N,) values of the first model.
        after: (N,) values of the second, of the same items in the same order.
        draws: of the bootstrap.
        seed: of the draws.
    """
    return mean_over_tasks([after - before], draws, seed)


def mean_over_tasks(values: Sequence[np.ndarray], draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Estimate the mean over tasks; items are drawn within each task, and every task counts the same.

    Args:
        values: per task the (N,) values of its items, or their differences between two models.
        draws: of the bootstrap.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    means = np.mean([resampled_means(one, draws, generator) for one in values], axis=0)
    low, high = np.quantile(means, SURE)
    return Estimate(float(np.mean([np.mean(one) for one in values])), float(low), float(high))


def resampled_means(values: np.ndarray, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Return (draws,) means of N values drawn from `values` (N,) with replacement."""
    column = np.asarray(values, dtype=np.float64)[:, None]
    return resampled_sums(column, draws, generator)[:, 0] / len(column)


def resampled_sums(rows: np.ndarray, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Return (draws, F) sums of N rows drawn from `rows` (N, F) with replacement.

    Rows of closed answers are few (right, wrong, half right in two languages), so how often each is drawn is one
    multinomial draw. That is the bootstrap itself, without its N x draws table of places.
    """
    distinct, counts = np.unique(np.asarray(rows, dtype=np.float64), axis=0, return_counts=True)
    shares, sums = counts / counts.sum(), []
    for start in range(0, draws, _AT_ONCE):
        drawn = generator.multinomial(counts.sum(), shares, size=min(_AT_ONCE, draws - start))
        sums.append(drawn @ distinct)
    return np.concatenate(sums)
