"""How far a jaw follows a sound: lags that count, and intervals."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_qwen.media.sound import SAMPLE_RATE
from recipes.express.speech import FPS, following, interval, level


@pytest.mark.parametrize(("lag", "least", "most"), [(0, 1.0, 1.0), (2, 1.0, 1.0), (-2, 1.0, 1.0), (5, -1.0, 0.7)])
def test_a_jaw_may_be_two_frames_early_or_late(lag: int, least: float, most: float) -> None:
    series = np.random.default_rng(0).random(60)
    assert least - 1e-9 <= following(np.roll(series, lag)[8:-8], series[8:-8]) <= most + 1e-9


def test_the_level_is_that_of_each_frame() -> None:
    wave = np.concatenate([np.zeros(SAMPLE_RATE), np.full(SAMPLE_RATE, 0.25)])
    levels = level(wave)
    assert len(levels) == 2 * FPS and levels[: FPS - 1].max() == 0 and levels[FPS + 1 :] == pytest.approx(0.25)


def test_an_interval_holds_the_mean() -> None:
    values = interval([0.2, 0.4, 0.9])
    assert values["n"] == 3 and values["mean"] == 0.5 and values["interval"][0] < 0.5 < values["interval"][1]
