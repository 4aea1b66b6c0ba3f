"""Scores of several kinds from the same answers, in one table, so that one bootstrap covers them and their mixtures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from emotion_qwen.evaluation.scoring.labels import measures
from emotion_qwen.evaluation.scoring.records import (
    Judged,
    Result,
    ScoreTable,
    Statistic,
    Tally,
    bootstrap_scores,
    clusters_of,
    ratio,
)

LEFT_OUT, UNREAD_CLASS = -1, -2
"""Class numbers of an item that does not count for a score, and of an answer that could not be read."""
CLASS_FIGURES = ("WAF", "accuracy", "precision", "recall")
"""Names of the figures of `class_figures`, in order; precision and recall are weighted by support, as F1 is."""
NUMBER_FIGURES = ("MAE", "RMSE", "PCC", "CCC", "SAGR")


@dataclass(frozen=True, eq=False)
class Figures:
    """Some scores of the same N items.

    Attributes:
        names: of the S scores.
        items: the S denominators.
        rows: (N, F) contribution of each item.
        statistic: (D, F) sums to (D, S) scores.
        shares: for each of the S scores, whether it is a share from 0 to 1.
    """

    names: tuple[str, ...]
    items: tuple[int, ...]
    rows: np.ndarray
    statistic: Statistic
    shares: tuple[bool, ...]

    def named(self, ending: str) -> Figures:
        """Return the scores with `ending` behind their names."""
        return replace(self, names=tuple(f"{name}{ending}" for name in self.names))

    def only(self, *names: str) -> Figures:
        """Return the scores of these names, in this order."""
        at = [self.names.index(name) for name in names]
        return replace(
            self,
            names=names,
            items=tuple(self.items[place] for place in at),
            shares=tuple(self.shares[place] for place in at),
            statistic=lambda sums: self.statistic(sums)[:, at],
        )


def joined(parts: Sequence[Figures]) -> Figures:
    """Combine several figures of the same items."""
    edges = np.cumsum([0, *(part.rows.shape[1] for part in parts)])

    def statistic(sums: np.ndarray) -> np.ndarray:
        columns = [part.statistic(sums[:, edges[k] : edges[k + 1]]) for k, part in enumerate(parts)]
        return np.concatenate(columns, axis=1)

    return Figures(
        tuple(name for part in parts for name in part.names),
        tuple(count for part in parts for count in part.items),
        np.concatenate([part.rows for part in parts], axis=1),
        statistic,
        tuple(share for part in parts for share in part.shares),
    )


def with_mixtures(
    names: Sequence[str], figures: Figures, mix: Callable[[np.ndarray], np.ndarray], *, share: bool = False
) -> Figures:
    """Put scores that are made of others in front of them, such as a difference or a mean.

    Args:
        names: of the E scores.
        figures: the S others.
        mix: (D, S) values of the others to (D, E) values, or (D,) for one score.
        share: see `records.Score`.
    """

    def statistic(sums: np.ndarray) -> np.ndarray:
        values = figures.statistic(sums)
        return np.column_stack([mix(values), values])

    return Figures(
        (*names, *figures.names),
        (*(max(figures.items),) * len(names), *figures.items),
        figures.rows,
        statistic,
        (*(share,) * len(names), *figures.shares),
    )


def class_figures(truth: np.ndarray, given: np.ndarray, count: int) -> Figures:
    """Return weighted F1, accuracy, weighted precision and weighted recall over classes.

    An unread answer counts as wrong but is no class: it gives no other class a false positive.

    Args:
        truth: (N,) classes 0 to count - 1; LEFT_OUT for an item that does not count.
        given: (N,) classes; UNREAD_CLASS for an answer that could not be read.
        count: number of classes.
    """
    kept = truth != LEFT_OUT
    rows = np.zeros((len(truth), count * (count + 1)))
    column = np.where(given == UNREAD_CLASS, count, given)
    rows[np.flatnonzero(kept), (truth * (count + 1) + column)[kept]] = 1

    def statistic(sums: np.ndarray) -> np.ndarray:
        tables = sums.reshape(len(sums), count, count + 1)
        support, chosen = tables.sum(axis=2), tables.sum(axis=1)[:, :-1]
        right = np.diagonal(tables, axis1=1, axis2=2)
        precision = ratio((ratio(right, chosen) * support).sum(1), support.sum(1))
        accuracy, waf = measures(tables)[:, [0, 3]].T
        return np.column_stack([waf, accuracy, precision, accuracy])

    return Figures(CLASS_FIGURES, (int(kept.sum()),) * 4, rows, statistic, (True,) * 4)


def number_figures(truth: np.ndarray, given: np.ndarray, kept: np.ndarray | None = None) -> Figures:
    """Return MAE, RMSE, Pearson's correlation, concordance (CCC) and the share of equal signs (SAGR).

    CCC uses moments over N (Lin 1989); a correlation is nan where one side does not vary.

    Args:
        truth: (N,) numbers.
        given: (N,) numbers.
        kept: (N,) whether an item counts; None for all.
    """
    kept = np.ones(len(truth), dtype=bool) if kept is None else kept
    # Sums around the mean of the references lose no digits to large offsets.
    centre = truth[kept].mean() if kept.any() else 0.0
    x, y = truth - centre, given - centre
    columns = [
        np.ones(len(x)),
        x,
        y,
        x * x,
        y * y,
        x * y,
        np.abs(x - y),
        (x - y) ** 2,
        np.sign(truth) == np.sign(given),
    ]
    rows = np.where(kept[:, None], np.column_stack(columns).astype(float), 0.0)

    def statistic(sums: np.ndarray) -> np.ndarray:
        n = sums[:, :1]
        x, y, xx, yy, xy, absolute, square, same = np.where(n > 0, ratio(sums[:, 1:], n), np.nan).T
        var_x, var_y, covariance = xx - x * x, yy - y * y, xy - x * y
        both = np.maximum(var_x, 0) * np.maximum(var_y, 0)
        below = var_x + var_y + (x - y) ** 2
        pcc = np.where(both > 0, ratio(covariance, np.sqrt(both)), np.nan)
        ccc = np.where(below > 0, ratio(2 * covariance, below), np.nan)
        return np.column_stack([absolute, np.sqrt(square), pcc, ccc, same])

    return Figures(NUMBER_FIGURES, (int(kept.sum()),) * 5, rows, statistic, (False,) * 4 + (True,))


def result_of(
    judged: Sequence[Judged], tally: Tally, figures: Figures, *, notes: tuple[str, ...] = (), seed: int = 0
) -> Result:
    """Estimate figures with their intervals; items are drawn within their groups.

    Args:
        judged: the N items with their answers.
        tally: how the answers were handled.
        figures: of these items.
        notes: see `Result`.
        seed: of the draws.
    """
    table = ScoreTable(
        figures.names,
        figures.items,
        figures.rows,
        clusters_of(judged),
        figures.statistic,
        tuple(answer.item.group for answer in judged),
        figures.shares,
    )
    return Result(bootstrap_scores(table, seed=seed), tally, tuple(judged), table, notes)
