"""Paired comparison of two sets of predictions for the same items: the differences and their significance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring.bootstrap import DRAWS, IntervalEstimate
from emotion_qwen.evaluation.scoring.records import Result, drawn_again, interval


@dataclass(frozen=True)
class Difference:
    """One score of both sets of predictions.

    Attributes:
        name: of the score.
        first: its value in the first set.
        second: its value in the second set.
        difference: second minus first, with its paired 95 % bootstrap interval.
        share: see `Score`.
    """

    name: str
    first: float
    second: float
    difference: IntervalEstimate
    share: bool = False


@dataclass(frozen=True)
class McNemar:
    """McNemar's exact test on the items that only one of two models answered correctly.

    Attributes:
        only_first: number of items correct in the first set alone.
        only_second: number of items correct in the second set alone.
        p: two-sided probability of such an unequal split, or a more unequal one, if both models were equally good.
    """

    only_first: int
    only_second: int
    p: float


@dataclass(frozen=True)
class Comparison:
    """All scores that both results have, and McNemar's test. The test is None if an item can be partly correct, or if
    several items share a cluster (picture, speaker, question), because it assumes independent items.
    """

    differences: tuple[Difference, ...]
    mcnemar: McNemar | None


def compare(first: Result, second: Result, draws: int = DRAWS, seed: int = 0) -> Comparison:
    """Compare two results of one scorer on the same items.

    The same clusters are drawn for both, so items that both answer alike contribute no difference.

    Raises:
        DataError: the items are not the same, or not in the same order.
    """
    check_same_items(first, second)
    before, after = drawn_again((first.table, second.table), draws, seed)
    low, high = interval(after - before)
    differences = []
    for place, name in enumerate(first.table.names):
        a, b = first[name], second[name]
        difference = IntervalEstimate(b.value - a.value, float(low[place]), float(high[place]))
        differences.append(Difference(name, a.value, b.value, difference, a.share))
    return Comparison(tuple(differences), _mcnemar_of(first, second))


def check_same_items(first: Result, second: Result) -> None:
    """Check that two results are of one scorer on the same items.

    Raises:
        DataError: the items are not the same, or not in the same order.
    """
    for answer, counterpart in zip(first.judged, second.judged, strict=False):
        if answer.item != counterpart.item:
            raise DataError(
                f"item {answer.item.id!r} of the first set stands where the second has {counterpart.item.id!r}, or is "
                "asked otherwise; expected the same items in the same order, score both with one task"
            )
    if len(first.judged) != len(second.judged) or first.table.names != second.table.names:
        raise DataError(
            f"{len(first.judged)} items with {len(first.table.names)} scores against {len(second.judged)} with "
            f"{len(second.table.names)}; expected the same items and scorer, score both with one task"
        )


def _mcnemar_of(first: Result, second: Result) -> McNemar | None:
    points = np.array([[a.points, b.points] for a, b in zip(first.judged, second.judged, strict=True)])
    if not np.isin(points, (0, 1)).all() or len(set(first.table.clusters)) < len(first.judged):
        return None
    return mcnemar(int((points[:, 0] > points[:, 1]).sum()), int((points[:, 0] < points[:, 1]).sum()))


def mcnemar(only_first: int, only_second: int) -> McNemar:
    """Test exactly, by the binomial distribution with probability 1/2 (McNemar 1947); p is 1.0 if nothing differs."""
    count, fewer = only_first + only_second, min(only_first, only_second)
    ways, term = 0, 1
    for number in range(fewer + 1):
        ways += term
        term = term * (count - number) // (number + 1)
    # Integers: no rounding before the last division, however many items there are.
    return McNemar(only_first, only_second, min(1.0, 2 * ways / 2**count))
