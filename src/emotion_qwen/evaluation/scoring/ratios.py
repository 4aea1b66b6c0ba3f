"""Scores that are ratios of sums over items, all in one table, so that one bootstrap covers them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from emotion_qwen.evaluation.scoring.records import (
    Judged,
    Result,
    ScoreTable,
    Tally,
    bootstrap_scores,
    clusters_of,
    ratio,
)

Finish = Callable[[np.ndarray], np.ndarray]


def unchanged(values: np.ndarray) -> np.ndarray:
    """Return the values themselves."""
    return values


@dataclass(frozen=True, eq=False)
class Ratio:
    """One score: the sum of `above` over the sum of `below`.

    Attributes:
        name: of the score.
        above: (N,) what each item adds to the numerator.
        below: (N,) what each item adds to the denominator.
        finish: function applied to the ratio, such as the exponential for a perplexity.
        share: see `records.Score`.
    """

    name: str
    above: np.ndarray
    below: np.ndarray
    finish: Finish = unchanged
    share: bool = True

    @property
    def parts(self) -> tuple[Ratio, ...]:
        """The ratio alone."""
        return (self,)


@dataclass(frozen=True, eq=False)
class MeanOfRatios:
    """One score: the mean of several ratios, such as accuracies of suites that count equally whatever their sizes."""

    name: str
    parts: tuple[Ratio, ...]
    finish: Finish = unchanged
    share: bool = True


def score_ratios(
    judged: Sequence[Judged],
    tally: Tally,
    scores: Sequence[Ratio | MeanOfRatios],
    *,
    notes: tuple[str, ...] = (),
    seed: int = 0,
) -> Result:
    """Compute scores that are ratios; items are drawn within their groups.

    Args:
        judged: the N items with their answers.
        tally: how the answers were handled.
        scores: in the order of reporting; an item counts for a score if its `below` is not 0.
        notes: see `Result`.
        seed: of the draws.
    """
    parts = list(dict.fromkeys(part for score in scores for part in score.parts))
    place = {part: number for number, part in enumerate(parts)}
    rows = np.column_stack([column for part in parts for column in (part.above, part.below)]).astype(float)

    def statistic(sums: np.ndarray) -> np.ndarray:
        ratios = np.where(sums[:, 1::2] != 0, ratio(sums[:, ::2], sums[:, 1::2]), np.nan)
        columns = [ratios[:, [place[part] for part in score.parts]].mean(axis=1) for score in scores]
        return np.column_stack([score.finish(column) for score, column in zip(scores, columns, strict=True)])

    table = ScoreTable(
        tuple(score.name for score in scores),
        tuple(int(np.any([part.below != 0 for part in score.parts], axis=0).sum()) for score in scores),
        rows,
        clusters_of(judged),
        statistic,
        tuple(answer.item.group for answer in judged),
        tuple(score.share for score in scores),
    )
    return Result(bootstrap_scores(table, seed=seed), tally, tuple(judged), table, notes)
