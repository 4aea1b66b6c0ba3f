"""Two sets of predictions on the same items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring.labels import score_labels
from emotion_qwen.evaluation.scoring.paired import compare, mcnemar
from emotion_qwen.evaluation.scoring.records import Response as Answer
from emotion_qwen.evaluation.scoring.records import ScoredItem
from emotion_qwen.evaluation.scoring.vqa import score_vqa
from emotion_qwen.taxonomy import label_set

DFEW = label_set("dfew7")
ITEMS = [ScoredItem(str(k), ("happy" if k % 2 else "sad",)) for k in range(400)]


def score(right):
    answers = [Answer(i.id, i.references[0] if r else "fear") for i, r in zip(ITEMS, right, strict=True)]
    return score_labels(ITEMS, answers, DFEW)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (3, 9), (9, 3), (10, 10), (40, 70), (0, 12), (500, 610)])
def test_mcnemar_is_the_exact_binomial_test(b, c):
    expected = binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar(b, c).p == pytest.approx(expected, rel=1e-9)


def test_mcnemar_worked_by_hand():
    # 4 items differ, one for the first: P(X <= 1) = (1 + 4) / 16, twice that is 5/8
    assert mcnemar(1, 3).p == 5 / 8


def test_equal_answers_differ_by_exactly_nothing():
    right = np.random.default_rng(0).random(400) < 0.6
    found = compare(score(right), score(right))
    for one in found.differences:
        assert (one.difference.value, one.difference.low, one.difference.high) == (0, 0, 0)
    assert found.mcnemar is not None and found.mcnemar.p == 1


def test_pairing_finds_a_small_difference_that_two_intervals_do_not_tell_apart():
    before = np.random.default_rng(0).random(400) < 0.6
    after = before.copy()
    after[np.flatnonzero(~before)[:16]] = True  # 16 of 400: 4 points better, never worse
    first, second = score(before), score(after)
    found = compare(first, second)
    war = found.differences[0]
    assert war.name == "WAR" and war.difference.value == pytest.approx(0.04) and war.difference.low > 0.02
    assert first["WAR"].high > second["WAR"].low, "the two intervals overlap"
    assert found.mcnemar is not None
    assert (found.mcnemar.only_first, found.mcnemar.only_second) == (0, 16) and found.mcnemar.p == 2 / 2**16


def test_soft_points_have_no_mcnemar():
    items = [ScoredItem("1", ("dog", "dog", *["cat"] * 8))]
    found = compare(score_vqa(items, [Answer("1", "dog")]), score_vqa(items, [Answer("1", "cat")]))
    assert found.mcnemar is None and found.differences[0].difference.value == pytest.approx(1 - 0.6)


def test_items_of_one_picture_have_no_mcnemar():
    """The test would take 400 items of 20 pictures for 400 observations; the interval draws the pictures."""
    items = [replace(item, cluster=str(k // 20)) for k, item in enumerate(ITEMS)]
    right = np.repeat(np.random.default_rng(1).random(20) < 0.5, 20)

    def result(values):
        answers = [Answer(i.id, i.references[0] if v else "") for i, v in zip(items, values, strict=True)]
        return score_labels(items, answers, DFEW)

    found = compare(result(~right), result(right))
    assert found.mcnemar is None and compare(score(~right), score(right)).mcnemar is not None
    wide, narrow = found.differences[0].difference, compare(score(~right), score(right)).differences[0].difference
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_only_the_same_items_are_compared():
    other = [ScoredItem("x", ("happy",)), *ITEMS[1:]]
    with pytest.raises(DataError, match="item '0' of the first set stands where the second has 'x'"):
        compare(score_labels(ITEMS, [], DFEW), score_labels(other, [], DFEW))
    with pytest.raises(DataError, match="400 items with 6 scores against 399"):
        compare(score_labels(ITEMS, [], DFEW), score_labels(ITEMS[:-1], [], DFEW))
