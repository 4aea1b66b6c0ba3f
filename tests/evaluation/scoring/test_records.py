"""How items meet answers, and how intervals are drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring.bootstrap import mean_over_tasks, resampled_sums
from emotion_qwen.evaluation.scoring.records import (
    FAILED,
    MISSING,
    TIED,
    Read,
    ScoredItem,
    ScoreTable,
    bootstrap_scores,
    judge,
    likeliest,
    ratio,
)
from emotion_qwen.evaluation.scoring.records import (
    Response as Answer,
)

ITEMS = [ScoredItem(name, ("a",)) for name in "12345"]


def read(item: ScoredItem, answer: Answer) -> Read:
    return Read(answer.text) if answer.text else Read(None, "empty")


def judged(answers):
    return judge(ITEMS, answers, read, lambda item, text: float(text in item.references))


def test_every_item_is_in_the_denominator_and_every_failure_has_a_name():
    found, tally = judged([Answer("1", "a"), Answer("2", "b"), Answer("3", error="timed out"), Answer("4", "")])
    assert [one.points for one in found] == [1, 0, 0, 0, 0]
    assert [one.why for one in found] == ["", "", FAILED, "empty", MISSING]
    assert tally.items == 5 and tally.answered == 3 and tally.parsed == 2 and tally.failures == 1
    assert tally.coverage == 3 / 5 and tally.parse_rate == 2 / 3
    assert tally.unread == {FAILED: 1, "empty": 1, MISSING: 1}


def test_nothing_answered_is_a_result_too():
    found, tally = judged([])
    assert sum(one.points for one in found) == 0 and tally.coverage == 0 and tally.parse_rate == 0


def test_the_first_answer_without_an_error_counts_and_the_rest_is_named():
    answers = [
        *(Answer("1", error="500"), Answer("1", "a")),  # mended by a resumed run: no duplicate
        *(Answer("2", "a"), Answer("2", "b"), Answer("2", "a")),
        *(Answer("3", "a"), Answer("3", error="500")),  # an error after an answer takes nothing away
        *(Answer("9", "a"), Answer("9", "a")),
    ]
    found, tally = judged(answers)
    assert [one.points for one in found] == [1, 1, 1, 0, 0]
    assert tally.duplicates == ("2",) and tally.strays == ("9",)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "got no items"),
        ([ITEMS[0], ITEMS[0]], "2 items have the id '1'"),
        ([ScoredItem("x", ())], "item 'x' has no reference"),
    ],
)
def test_items_that_cannot_be_scored_are_refused(items, message):
    with pytest.raises(DataError, match=message):
        judge(items, [], read, lambda item, text: 1.0)


def test_scores_choose_the_likeliest_allowed_choice():
    item = ScoredItem("1", ("a",), allowed=("a", "b"))
    assert likeliest(item, Answer("1", scores={"a": -2.0, "b": -1.0, "c": 0.0})) == Read("b")
    assert likeliest(item, Answer("1", scores={"a": float("nan"), "b": -9.0})) == Read("b")
    assert likeliest(item, Answer("1", scores={"a": 0.4, "b": 0.4, "c": 9.0})) == Read(None, TIED)
    found = likeliest(item, Answer("1", scores={"a": float("nan"), "c": 1.0}))
    assert found is not None and found.value is None and "allowed" in found.why
    assert likeliest(item, Answer("1", "text")) is None


def mean_table(values, clusters):
    rows = np.column_stack([values, np.ones(len(values))])
    return ScoreTable(
        ("mean",), (len(values),), rows, tuple(clusters), lambda sums: ratio(sums[:, 0], sums[:, 1])[:, None]
    )


def test_an_interval_of_single_items_is_that_of_the_plain_bootstrap():
    values = np.array([1.0] * 60 + [0.0] * 40)
    [score] = bootstrap_scores(mean_table(values, map(str, range(100))))
    plain = mean_over_tasks([values])
    assert score.value == pytest.approx(0.6) and score.items == 100
    assert (score.low, score.high) == pytest.approx((plain.low, plain.high), abs=0.011)
    assert bootstrap_scores(mean_table(values, map(str, range(100))), seed=0) == (score,), (
        "the same seed gives the same interval"
    )


def test_items_of_one_cluster_are_drawn_together():
    """20 videos of 50 frames that are all right or all wrong are 20 observations, not 1000."""
    values = np.repeat([1.0] * 10 + [0.0] * 10, 50)
    [alone] = bootstrap_scores(mean_table(values, map(str, range(1000))))
    [together] = bootstrap_scores(mean_table(values, [str(number // 50) for number in range(1000)]))
    assert alone.value == together.value == 0.5
    # sqrt(0.25 / 20) = 0.112, times 1.96; sqrt(0.25 / 1000) = 0.016
    assert together.high - together.low == pytest.approx(2 * 1.96 * 0.112, rel=0.12)
    assert alone.high - alone.low == pytest.approx(2 * 1.96 * 0.0158, rel=0.12)


@pytest.mark.parametrize(("value", "low", "high"), [(0.0, 0.0, 0.4593), (1.0, 0.5407, 1.0)])
def test_six_of_six_are_no_certainty(value, low, high):
    """Every draw is the same there; the exact binomial bound (Clopper and Pearson) is 1 - 0.025 ** (1 / 6) = 0.4593."""
    table = mean_table(np.full(6, value), "abcdef")
    [score] = bootstrap_scores(replace(table, shares=(True,)))
    assert (score.value, score.low, score.high) == pytest.approx((value, low, high), abs=1e-4)
    bound = binomtest(int(6 * value), 6).proportion_ci(0.95, "exact")
    assert (score.low, score.high) == pytest.approx((bound.low, bound.high))
    [score] = bootstrap_scores(table)
    assert (score.low, score.high) == (value, value), "what is no share, such as points, is left as it is"
    [score] = bootstrap_scores(replace(mean_table(np.full(600, value), "abcdef" * 100), shares=(True,)))
    assert (score.low, score.high) == pytest.approx((low, high), abs=1e-4), "600 items of six people are six"


def test_strata_are_drawn_each_for_itself():
    """Two parts of which one is always right and one always wrong: the mean cannot vary."""
    values = np.array([1.0] * 30 + [0.0] * 10)
    rows = np.column_stack([values, np.ones(40)])
    parts = tuple("right" if value else "wrong" for value in values)
    table = mean_table(values, map(str, range(40)))
    [score] = bootstrap_scores(ScoreTable(table.names, table.items, rows, table.clusters, table.statistic, parts))
    assert (score.value, score.low, score.high) == (0.75, 0.75, 0.75)
    assert [
        len(part) for part in ScoreTable(("x",), (40,), rows, table.clusters, table.statistic, parts).by_cluster()
    ] == [
        30,
        10,
    ]


def test_an_interval_covers_the_truth_as_often_as_it_says():
    rng, covered = np.random.default_rng(0), 0
    for seed in range(200):
        [score] = bootstrap_scores(
            mean_table((rng.random(200) < 0.7).astype(float), map(str, range(200))), draws=400, seed=seed
        )
        covered += score.low <= 0.7 <= score.high
    assert 180 <= covered <= 198


def test_sums_are_drawn_row_by_row():
    rows = np.array([[1.0, 10.0], [2.0, 20.0], [2.0, 20.0]])
    sums = resampled_sums(rows, 5000, np.random.default_rng(0))
    assert sums.shape == (5000, 2) and (sums[:, 1] == 10 * sums[:, 0]).all(), "columns of a row stay together"
    assert sums[:, 0].min() == 3 and sums[:, 0].max() == 6 and sums[:, 0].mean() == pytest.approx(5, abs=0.03)
