"""Agreement of two raters: Cohen's kappa for labels, ICC and CCC for numbers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from emotion_qwen.extras import optional


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float:
    """Return Cohen's kappa of two lists of labels: 1 is agreement, 0 chance; nan where both use one label only.

    Source: Cohen, Educational and Psychological Measurement 20, 1960; computed by scikit-learn.

    Raises:
        MissingPackage: scikit-learn is not installed.
    """
    if len({*first, *second}) < 2:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(optional("sklearn.metrics", "eval").cohen_kappa_score(first, second))


def intraclass_correlation(ratings: np.ndarray) -> float:
    """Return ICC(2,1) of (N, K) ratings of N items by K raters: absolute agreement of a single rater.

    nan for fewer than two items or raters, or where all ratings are equal.

    Source: Shrout and Fleiss, Psychological Bulletin 86, 1979, case 2.
    """
    items, raters = ratings.shape
    if items < 2 or raters < 2:
        return float("nan")
    mean, rows, columns = ratings.mean(), ratings.mean(1), ratings.mean(0)
    between_rows = raters * ((rows - mean) ** 2).sum() / (items - 1)
    between_columns = items * ((columns - mean) ** 2).sum() / (raters - 1)
    rest = ratings - rows[:, None] - columns[None] + mean
    error = (rest**2).sum() / ((items - 1) * (raters - 1))
    below = between_rows + (raters - 1) * error + raters * (between_columns - error) / items
    return float((between_rows - error) / below) if below > 0 else float("nan")


def concordance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the concordance correlation coefficient of two lists of N numbers, with variances over N.

    nan for fewer than two numbers, or where all are equal.

    Source: Lin, Biometrics 45, 1989.
    """
    if len(first) < 2:
        return float("nan")
    covariance = ((first - first.mean()) * (second - second.mean())).mean()
    below = first.var() + second.var() + (first.mean() - second.mean()) ** 2
    return float(2 * covariance / below) if below > 0 else float("nan")
