"""What can be measured of a voice, so that a report's voice cues can be checked: level, pitch, how much is voiced.

Pitch is found by normalised autocorrelation, the plain way (Boersma 1993 without the refinements): good enough to say
that a voice is high or lively, not a phonetic analysis. A frame counts as voiced where a period repeats well enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FRAME, STEP = 0.04, 0.01  # seconds
LOWEST, HIGHEST = 75.0, 500.0  # Hz, what voices reach
REPEATS = 0.5  # normalised autocorrelation from which a frame is voiced
QUIET = 25.0  # dB under the loudest frame below which a frame is not voiced
_FLOOR = 1e-10


@dataclass(frozen=True)
class Voice:
    """Measurements of a stretch of sound.

    Attributes:
        level: decibels of full scale, of the root mean square.
        pitch: median of the voiced frames, Hz; 0 where nothing is voiced.
        spread: standard deviation of the pitch, semitones; 0 where nothing is voiced.
        voiced: share of the frames that are voiced, 0..1.
    """

    level: float
    pitch: float
    spread: float
    voiced: float


def measure(wave: np.ndarray, rate: int) -> Voice:
    """Measure a wave.

    Args:
        wave: (S,) float mono.
        rate: Hz.
    """
    level = 10 * np.log10(np.mean(np.square(wave, dtype=np.float64)) + _FLOOR) if len(wave) else 10 * np.log10(_FLOOR)
    length, step = round(FRAME * rate), round(STEP * rate)
    if len(wave) < length:
        return Voice(float(level), 0.0, 0.0, 0.0)
    frames = np.lib.stride_tricks.sliding_window_view(wave.astype(np.float64), length)[::step]  # (F, length)
    pitches = _pitches(frames - frames.mean(1, keepdims=True), rate)
    found = pitches[pitches > 0]
    if not len(found):
        return Voice(float(level), 0.0, 0.0, 0.0)
    middle = float(np.median(found))
    spread = float(np.std(12 * np.log2(found / middle)))
    return Voice(float(level), middle, spread, len(found) / len(pitches))


def _pitches(frames: np.ndarray, rate: int) -> np.ndarray:
    """Return (F,) Hz of each frame, 0 where it is not voiced."""
    length = frames.shape[1]
    power = (frames**2).sum(1)
    spectrum = np.fft.rfft(frames, 2 * length)
    products = np.fft.irfft(np.abs(spectrum) ** 2)[:, :length]  # sum over samples of x(t) x(t + lag)
    energy = np.cumsum(frames**2, axis=1)
    first, last = int(rate / HIGHEST), min(int(rate / LOWEST), length - 2)
    lags = np.arange(first, last + 1)
    heads, tails = energy[:, length - 1 - lags], power[:, None] - energy[:, lags - 1]
    likeness = products[:, lags] / np.sqrt(np.maximum(heads * tails, _FLOOR))  # (F, lags)
    best = likeness.max(1, keepdims=True)
    # A period's multiples repeat as well as it does; the shortest lag that is nearly the best is the period.
    place = (likeness >= 0.95 * best).argmax(1)
    rows = np.arange(len(place))
    while True:  # to the top of that hill
        after = np.minimum(place + 1, len(lags) - 1)
        climbing = likeness[rows, after] > likeness[rows, place]
        if not climbing.any():
            break
        place = np.where(climbing, after, place)
    loud = 10 * np.log10(power / length + _FLOOR)
    voiced = (best[:, 0] >= REPEATS) & (loud >= loud.max() - QUIET) & (power > _FLOOR * length)
    return np.where(voiced, rate / lags[place], 0.0)
