"""Windows cover a clip, smoothing is the documented one, and episodes have neither gaps nor flicker."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_qwen.analysis.moments import find_episodes, smooth, windows

LABELS = ("sad", "happy", "fear")


def one_hot(text: str) -> np.ndarray:
    return np.eye(3)[["shf".index(letter) for letter in text]] * 0.8 + 0.2 / 3


def test_windows_cover_the_clip_and_end_with_it():
    found = windows(1.0, 5.3)
    assert found[0] == (1.0, 3.0) and found[-1] == pytest.approx((3.3, 5.3))
    assert [start for start, _ in found[:-1]] == [1.0, 1.5, 2.0, 2.5, 3.0]
    assert windows(0.0, 3.0) == [(0.0, 2.0), (0.5, 2.5), (1.0, 3.0)]
    assert windows(0.0, 1.2) == [(0.0, 1.2)] and windows(2.0, 2.0) == [(2.0, 2.0)]


def test_smoothing_is_one_two_one():
    raw = one_hot("shs")
    soft = smooth(raw)
    assert soft[1] == pytest.approx((raw[0] + 2 * raw[1] + raw[2]) / 4)
    assert soft[0] == pytest.approx((2 * raw[0] + raw[1]) / 3)
    assert soft.sum(1) == pytest.approx(np.ones(3))
    assert np.array_equal(smooth(raw[:1]), raw[:1]) and smooth(raw[:0]).shape == (0, 3)


def test_episodes_meet_halfway_and_tell_their_peak():
    spans = windows(0.0, 6.0)
    shares = one_hot("ssss" + "hhhhh")
    shares[6, 1] += 0.1
    sad, happy = find_episodes(LABELS, spans, shares)
    assert (sad.label, sad.onset, happy.label, happy.offset) == ("sad", 0.0, "happy", 6.0)
    assert sad.offset == happy.onset == pytest.approx(2.75)
    assert happy.peak == pytest.approx(4.0) and happy.share == pytest.approx(0.8 + 0.2 / 3 + 0.1)


def test_a_flicker_joins_the_neighbour_it_resembles():
    spans = windows(0.0, 6.0)
    shares = one_hot("ssssfhhhh")
    shares[4, 1] += 0.05
    sad, happy = find_episodes(LABELS, spans, shares)
    assert (sad.label, happy.label) == ("sad", "happy") and happy.onset == pytest.approx(2.75)
    assert len(find_episodes(LABELS, spans, shares, shortest=0.0)) == 3
    assert [e.label for e in find_episodes(LABELS, spans, one_hot("ssssfssss"))] == ["sad"]


def test_nothing_and_one_window():
    assert find_episodes(LABELS, [], np.zeros((0, 3))) == ()
    (only,) = find_episodes(LABELS, [(0.0, 0.4)], one_hot("f"))
    assert (only.label, only.onset, only.offset) == ("fear", 0.0, 0.4)
