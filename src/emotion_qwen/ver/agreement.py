"""How far two raters agree beyond chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def cohens_kappa(one: Sequence[str], other: Sequence[str]) -> float | None:
    """Return Cohen's kappa of two raters of the same items; None without items or where chance alone agrees fully.

    Source: Cohen, A coefficient of agreement for nominal scales, 1960.
    """
    if not one:
        return None
    count = len(one)
    observed = sum(a == b for a, b in zip(one, other, strict=True)) / count
    left, right = Counter(one), Counter(other)
    chance = sum(left[name] * right[name] for name in left) / count**2
    return None if chance == 1 else (observed - chance) / (1 - chance)
