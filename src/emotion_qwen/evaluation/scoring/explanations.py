"""Scores of measures of explanations, each with its floor and its gain over the floor."""

from __future__ import annotations

import numpy as np

from emotion_qwen.evaluation.scoring.records import Score, ScoreTable, bootstrap_scores, ratio
from emotion_qwen.verify.measures import Measured

FLOOR, GAIN = "floor", "gain"


def score_explanations(measured: Measured, *, seed: int = 0) -> dict[str, Score]:
    """Score one measure with 95 % bootstrap intervals; explanations of one clip are drawn together.

    Args:
        measured: over N items.
        seed: of the draws.

    Returns:
        The measure by its name, the floor by `FLOOR`, and the measure minus the floor, paired, by `GAIN`.
    """
    count = len(measured.values)
    rows = np.column_stack([np.ones(count), measured.values, measured.floors])

    def statistic(sums: np.ndarray) -> np.ndarray:
        value, floor = ratio(sums[:, 1], sums[:, 0]), ratio(sums[:, 2], sums[:, 0])
        return np.column_stack([value, floor, value - floor])

    names = (measured.name, FLOOR, GAIN)
    table = ScoreTable(names, (count,) * 3, rows, tuple(measured.clips), statistic, shares=(True, False, False))
    return {score.name: score for score in bootstrap_scores(table, seed=seed)}
