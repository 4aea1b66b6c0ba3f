"""Jitter and shimmer of a voice: how much its periods and their amplitudes vary from one to the next.

Both are the "local" measures of Praat's manual ("Voice 2. Jitter", "Voice 3. Shimmer"): the mean absolute difference
between consecutive periods, or amplitudes, divided by their mean. Periods are found by waveform matching: each is the
lag at which the sound around a peak fits best to what follows. As in Praat, two consecutive periods are compared only
if their ratio is at most 1.3, and their amplitudes only if that ratio is at most 1.6. Noise and compression raise both.
"""

from __future__ import annotations

import numpy as np

from emotion_qwen.media.voice import FRAME, STEP, pitch_track

FEWEST = 30
"""Number of pairs of consecutive periods below which nothing is measured."""
SHORTEST, LONGEST = 0.8, 1.25
"""Bounds of the next period, as shares of the one that the pitch gives."""
MOST_PERIOD, MOST_AMPLITUDE = 1.3, 1.6


def jitter_and_shimmer(wave: np.ndarray, rate: int) -> tuple[float, float] | None:
    """Measure (S,) float mono sound at `rate` Hz.

    Returns:
        Jitter and shimmer, as shares (0.01 is 1 %); None for a voice with too few periods.
    """
    pitches = pitch_track(wave, rate)
    voiced = np.flatnonzero(pitches)
    wave = wave.astype(np.float64)
    periods, amplitudes = [], []
    for run in np.split(voiced, np.flatnonzero(np.diff(voiced) > 1) + 1):
        if len(run):
            lags, heights = _periods(wave, rate, int(run[0]), pitches[run])
            periods.append(lags)
            amplitudes.append(heights)
    differences = [
        _differences(series, most) for series, most in ((periods, MOST_PERIOD), (amplitudes, MOST_AMPLITUDE))
    ]
    if min(len(pairs) for pairs in differences) < FEWEST:
        return None
    jitter, shimmer = (float(np.abs(pairs[:, 1] - pairs[:, 0]).mean() / pairs.mean()) for pairs in differences)
    return jitter, shimmer


def _differences(series: list[np.ndarray], most: float) -> np.ndarray:
    """Return (P, 2) pairs of consecutive values whose ratio is at most `most`."""
    pairs = [np.stack((values[:-1], values[1:]), axis=1) for values in series if len(values) > 1]
    together = np.concatenate(pairs) if pairs else np.zeros((0, 2))
    return together[together.max(axis=1) <= most * together.min(axis=1)] if len(together) else together


def _periods(wave: np.ndarray, rate: int, first: int, pitches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the periods of a voiced stretch in samples, and the largest amplitude of each; NaN where none fits.

    Args:
        wave: (S,).
        rate: Hz.
        first: number of its first frame in the pitch track.
        pitches: (F,) Hz of its frames.
    """
    begin = round((first * STEP + FRAME / 2) * rate)
    end = round(((first + len(pitches) - 1) * STEP + FRAME / 2) * rate)
    period = round(rate / pitches[0])
    place = begin + int(np.abs(wave[begin : begin + period]).argmax()) if begin + period <= len(wave) else len(wave)
    lags, heights = [], []
    while place < end:
        frame = min(round((place - begin) / rate / STEP), len(pitches) - 1)
        period = rate / pitches[frame]
        half, shortest, longest = round(period / 2), int(period * SHORTEST), int(np.ceil(period * LONGEST))
        start = place - half
        following = wave[start + shortest - 1 : start + longest + 2 * half + 1]
        if start < 0 or len(following) < longest - shortest + 2 * half + 2:
            break
        here = wave[start : start + 2 * half]
        energy = np.cumsum(np.concatenate(([0.0], following**2)))
        sizes = np.sqrt(np.maximum(energy[2 * half :] - energy[: -2 * half], 1e-12))
        likeness = np.correlate(following, here, "valid") / sizes
        best = int(likeness[1:-1].argmax()) + 1
        below, peak, above = likeness[best - 1 : best + 2]
        if peak < max(below, above):  # no best lag within the bounds: not compared with its neighbours
            lags.append(np.nan)
            heights.append(np.nan)
            place += round(period)
            continue
        bend = below - 2 * peak + above
        lags.append(shortest - 1 + best + (0.5 * (below - above) / bend if bend < 0 else 0.0))
        heights.append(float(np.abs(here).max()))
        place += round(lags[-1])
    return np.array(lags), np.array(heights)
