"""Compare boxes with correct boxes, matched so that their overlap is largest; their order does not matter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

Box = tuple[float, float, float, float]


def box_overlaps(given: Sequence[Box], right: Sequence[Box]) -> np.ndarray:
    """Return the (G, R) intersections over unions of boxes (x1, y1, x2, y2)."""
    first, second = (np.asarray(boxes, dtype=float).reshape(-1, 4) for boxes in (given, right))
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-12)


def box_score(given: Sequence[Box], right: Sequence[Box]) -> float:
    """Return the mean overlap of the best matching; a missing or superfluous box counts as 0, none at all as 1."""
    if not given and not right:
        return 1.0
    table = box_overlaps(given, right)
    rows, columns = linear_sum_assignment(-table)
    return float(table[rows, columns].sum() / max(len(given), len(right)))
