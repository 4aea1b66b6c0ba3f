"""Pitch, level and what is voiced, on sounds that are known."""

from __future__ import annotations

import tracemalloc
from dataclasses import astuple

import numpy as np
import pytest

from emotion_qwen.media import voice
from emotion_qwen.media.voice import measure

RATE = 16000


def buzz(pitch: np.ndarray | float, seconds: float = 1.0, level: float = 0.3) -> np.ndarray:
    """A tone with ten harmonics, as a voice has."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(pitch, round(seconds * RATE))) / RATE
    wave = sum(np.sin(n * phase) / n for n in range(1, 11))
    return (level * wave / np.abs(wave).max()).astype(np.float32)


@pytest.mark.parametrize("pitch", [90.0, 150.0, 220.0, 400.0])
def test_the_pitch_of_a_buzz(pitch):
    found = measure(buzz(pitch), RATE)
    assert found.pitch == pytest.approx(pitch, rel=0.02) and found.voiced > 0.95 and found.spread < 0.2


def test_a_lively_voice_spreads_more():
    glide = measure(buzz(np.linspace(120.0, 240.0, RATE)), RATE)
    assert glide.spread == pytest.approx(12 / np.sqrt(12), rel=0.15) and 160 < glide.pitch < 200


def test_noise_and_silence_are_not_voiced():
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    assert measure(noise, RATE).voiced < 0.05
    silent = measure(np.zeros(RATE, np.float32), RATE)
    assert (silent.pitch, silent.voiced) == (0.0, 0.0) and silent.level == pytest.approx(-100)
    assert measure(np.zeros(0, np.float32), RATE).level == pytest.approx(-100)
    assert measure(buzz(200.0, 0.02), RATE).pitch == 0.0


def test_half_the_amplitude_is_six_decibels_less():
    loud, soft = measure(buzz(150.0, level=0.4), RATE), measure(buzz(150.0, level=0.2), RATE)
    assert loud.level - soft.level == pytest.approx(6.02, abs=0.01)


def test_only_the_voiced_part_counts():
    found = measure(np.concatenate([buzz(180.0, 0.5), np.zeros(RATE // 2, np.float32)]), RATE)
    assert found.pitch == pytest.approx(180.0, rel=0.02) and found.voiced == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(("below", "voiced"), [(20, 1.0), (24, 1.0), (26, 0.5), (40, 0.5)])
def test_frames_far_below_the_loudest_are_not_voiced(below, voiced):
    quiet = buzz(300.0, 1.0, level=0.3 * 10 ** (-below / 20))
    found = measure(np.concatenate([buzz(180.0, 1.0), quiet]), RATE)
    assert found.voiced == pytest.approx(voiced, abs=0.04)
    assert (found.spread > 1) == (voiced == 1.0)


@pytest.mark.parametrize("lag", [36, 45, 80, 131, 200])
def test_the_period_is_exact_where_it_is_a_whole_number_of_samples(lag):
    assert measure(buzz(RATE / lag), RATE).pitch == pytest.approx(RATE / lag, rel=1e-9)


def test_likeness_is_the_normalised_autocorrelation():
    frames = np.random.default_rng(0).normal(size=(3, 50))
    frames[1, :7] = frames[2, -9:] = 1e-3
    lags = np.arange(1, 49)
    told = [[x[:-k] @ x[k:] / np.sqrt((x[:-k] @ x[:-k]) * (x[k:] @ x[k:])) for k in lags] for x in frames]
    assert np.allclose(voice._likeness(frames, lags), told, atol=1e-9)


def test_blocks_change_nothing_and_bound_the_memory(monkeypatch):
    wave = np.concatenate([buzz(180.0, 2.0), buzz(250.0, 2.0, level=0.004), buzz(110.0, 2.0)])
    whole = measure(wave, RATE)
    monkeypatch.setattr(voice, "_BLOCK", 7)
    found = measure(wave, RATE)
    assert astuple(found) == pytest.approx(astuple(whole), rel=1e-9)
    monkeypatch.undo()
    minute = np.tile(wave, 10)
    tracemalloc.start()
    measure(minute, RATE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6  # all frames at once took 3.9 MiB per second
