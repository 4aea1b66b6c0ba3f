import numpy as np
import pytest

from emotion_qwen.evaluation.scoring.bootstrap import mean_over_tasks, resampled_sums


def test_the_multinomial_draw_is_the_bootstrap():
    values = np.array([0.0, 0.5, 1.0, 1.0, -1.0] * 20)
    rng = np.random.default_rng(0)
    plain = rng.choice(values, (20000, len(values))).mean(axis=1)
    drawn = resampled_sums(values[:, None], 20000, np.random.default_rng(1))[:, 0] / len(values)
    assert drawn.mean() == pytest.approx(plain.mean(), abs=0.003) and drawn.std() == pytest.approx(
        plain.std(), rel=0.03
    )


def test_an_interval_is_as_wide_as_the_binomial_one():
    right = np.array([1.0] * 300 + [0.0] * 100)
    found = mean_over_tasks([right])
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert found.value == 0.75
    assert (found.low, found.high) == pytest.approx((0.75 - half, 0.75 + half), abs=0.006)
    assert found == mean_over_tasks([right]), "the same seed gives the same interval"


def test_identical_answers_differ_by_exactly_nothing():
    right = (np.random.default_rng(0).random(500) < 0.7).astype(float)
    found = mean_over_tasks([right - right])
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_a_planted_difference_is_covered_in_most_samples():
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        before = (rng.random(400) < 0.7).astype(float)
        after = np.where(rng.random(400) < 0.1, 0.0, before)  # a tenth of the answers is lost: 7 points
        found = mean_over_tasks([after - before], seed=seed)
        covered += found.low <= -0.07 <= found.high
    assert 88 <= covered <= 100


def test_pairing_narrows_the_interval_of_answers_that_go_together():
    rng = np.random.default_rng(0)
    before = (rng.random(1000) < 0.6).astype(float)
    after = np.where(rng.random(1000) < 0.03, 1 - before, before)
    paired = mean_over_tasks([after - before])
    alone = [mean_over_tasks([side]) for side in (before, after)]
    unpaired = np.hypot(*(side.high - side.low for side in alone))
    assert paired.high - paired.low < unpaired / 3
    assert paired.value == pytest.approx(after.mean() - before.mean())
    assert paired.low <= paired.value <= paired.high


def test_a_mean_over_tasks_counts_every_task_the_same():
    large, small = np.array([1.0] * 900 + [0.0] * 100), np.array([1.0] * 5 + [0.0] * 5)
    found = mean_over_tasks([large, small])
    assert found.value == pytest.approx(0.7)
    half = 1.96 * np.sqrt(0.9 * 0.1 / 1000 + 0.5 * 0.5 / 10) / 2
    assert (found.low, found.high) == pytest.approx((0.7 - half, 0.7 + half), abs=0.03)
