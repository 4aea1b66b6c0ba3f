"""Jitter and shimmer of synthesised voices whose periods and amplitudes are known."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_qwen.media.perturbation import jitter_and_shimmer


def voice(rate: int, pitch: float, jitter: float, shimmer: float, seconds: float = 2.0):
    """Return a wave of decaying pulses, and the jitter and shimmer of its periods and amplitudes by definition."""
    drawn = np.random.default_rng(0)
    count = int(seconds * pitch)
    periods = rate / pitch * (1 + jitter * drawn.uniform(-1, 1, count))
    amplitudes = 1 + shimmer * drawn.uniform(-1, 1, count)
    wave, time = np.zeros(int(seconds * rate) + 2000), 0.01 * rate
    for period, amplitude in zip(periods, amplitudes, strict=True):
        first = int(np.ceil(time))
        after = (np.arange(first, min(first + 600, len(wave))) - time) / rate
        wave[first : first + 600] += 0.3 * amplitude * np.exp(-700 * after) * np.sin(2 * np.pi * 700 * after)
        time += period
    defined = (np.abs(np.diff(values)).mean() / values.mean() for values in (periods, amplitudes))
    return wave[: int(seconds * rate)].astype(np.float32), *defined


@pytest.mark.parametrize(
    ("rate", "pitch", "jitter", "shimmer"),
    [(16000, 110, 0.02, 0.2), (16000, 230, 0.03, 0.1), (22050, 160, 0.01, 0.1)],
)
def test_the_definition_is_measured(rate, pitch, jitter, shimmer):
    wave, expected_jitter, expected_shimmer = voice(rate, pitch, jitter, shimmer)
    measured = jitter_and_shimmer(wave, rate)
    assert measured == pytest.approx((expected_jitter, expected_shimmer), rel=0.12)


def test_a_steady_voice_has_nearly_none_and_what_varies_is_told_apart():
    assert max(jitter_and_shimmer(voice(16000, 110, 0, 0)[0], 16000)) < 0.006
    jitter, shimmer = jitter_and_shimmer(voice(16000, 110, 0.03, 0)[0], 16000)
    assert jitter > 0.02 and shimmer < 0.006
    jitter, shimmer = jitter_and_shimmer(voice(16000, 110, 0, 0.2)[0], 16000)
    assert jitter < 0.003 and shimmer > 0.1


def test_noise_silence_and_short_voices_give_nothing():
    noise = np.random.default_rng(1).normal(0, 0.1, 32000).astype(np.float32)
    for wave in (noise, np.zeros(16000, np.float32), voice(16000, 150, 0.01, 0, seconds=0.15)[0], noise[:100]):
        assert jitter_and_shimmer(wave, 16000) is None


def test_sound_without_a_best_period_ends():
    drawn = np.random.default_rng(4)
    for _ in range(12):  # filtered noise is voiced now and then, with periods that match at no lag
        wave = np.convolve(drawn.normal(0, 0.1, 16000), np.hanning(60), mode="same").astype(np.float32)
        measured = jitter_and_shimmer(wave, 16000)
        assert measured is None or (np.isfinite(measured).all() and max(measured) < 0.5)
