"""Agreement of two raters, by published examples and numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emotion_qwen.evaluation.scoring.agreement import cohen_kappa, concordance, intraclass_correlation

# Shrout and Fleiss 1979, table 2: six targets, four judges; ICC(2,1) is .29 there.
JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float)


def test_kappa_by_hand():
    # Of ten, seven agree; the first says a six times, the second five: chance is .6 * .5 + .4 * .5 = .5.
    first, second = list("aaaaaabbbb"), list("aaaabbabbb")
    assert cohen_kappa(first, second) == pytest.approx((0.7 - 0.5) / 0.5)
    assert cohen_kappa(["a", "b"], ["b", "a"]) == pytest.approx(-1)
    assert math.isnan(cohen_kappa(["a", "a"], ["a", "a"])) and math.isnan(cohen_kappa([], []))


def test_icc_of_shrout_and_fleiss():
    assert intraclass_correlation(JUDGES) == pytest.approx(0.2898, abs=5e-5)


@pytest.mark.parametrize(
    ("second", "icc"),
    [
        ([1.0, 2.0, 3.0], 1.0),
        # Off by 1 throughout: between rows 2, between raters 1.5, error 0: 2 / (2 + 2 * 1.5 / 3) = 2/3.
        ([2.0, 3.0, 4.0], 2 / 3),
        # Reversed: between rows 0, between raters 0, error 4 / 2 = 2: -2 / (2 - 2 * 2 / 3) = -3.
        ([3.0, 2.0, 1.0], -3.0),
    ],
)
def test_icc_by_hand(second, icc):
    assert intraclass_correlation(np.array([[1.0, 2.0, 3.0], second]).T) == pytest.approx(icc)


def test_ccc_by_hand():
    first = np.array([1.0, 2.0, 3.0])  # variance 2/3
    assert concordance(first, first) == pytest.approx(1)
    assert concordance(first, first + 1) == pytest.approx((4 / 3) / (4 / 3 + 1))
    assert concordance(first, first * 2) == pytest.approx((2 * 4 / 3) / (2 / 3 + 8 / 3 + 4))
    assert concordance(first, -first) < 0


def test_nothing_to_compare_is_no_number():
    assert math.isnan(concordance(np.array([1.0]), np.array([1.0])))
    assert math.isnan(concordance(np.ones(3), np.ones(3)))
    assert math.isnan(intraclass_correlation(np.ones((3, 2)))) and math.isnan(intraclass_correlation(np.ones((1, 2))))
