"""Measure level, pitch and voicing of a voice, so that the voice cues of a report can be checked.

Pitch is estimated by plain normalised autocorrelation (Boersma 1993, without its refinements). This is sufficient to
call a voice high or lively, but not for phonetic analysis. A frame is voiced if a period repeats well enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FRAME, STEP = 0.04, 0.01  # seconds
LOWEST, HIGHEST = 75.0, 500.0  # Hz, the range of voices
REPEATS = 0.5  # normalised autocorrelation above which a frame is voiced
QUIET = 25.0  # dB; a frame that is quieter than the loudest by more is not voiced
_FLOOR = 1e-10
_BLOCK = 1000  # frames processed at once, 10 s, which limits the memory for any length of sound


@dataclass(frozen=True)
class Voice:
    """Measurements of a stretch of sound.

    Attributes:
        level: decibels of full scale, of the root mean square.
        pitch: median of the voiced frames, Hz; 0 if no frame is voiced.
        spread: standard deviation of the pitch, semitones; 0 if no frame is voiced.
        voiced: share of voiced frames, 0..1.
    """

    level: float
    pitch: float
    spread: float
    voiced: float


def measure(wave: np.ndarray, rate: int) -> Voice:
    """Measure level, pitch and voicing of a wave.

    Args:
        wave: (S,) float mono.
        rate: its sample rate, Hz.
    """
    step = round(STEP * rate)
    parts = (wave[first : first + _BLOCK * step] for first in range(0, len(wave), _BLOCK * step))
    level = _decibels(sum(float(np.square(part, dtype=np.float64).sum()) for part in parts) / max(len(wave), 1))
    pitches = pitch_track(wave, rate)
    voiced = pitches[pitches > 0]
    if not len(voiced):
        return Voice(float(level), 0.0, 0.0, 0.0)
    middle = float(np.median(voiced))
    spread = float(np.std(12 * np.log2(voiced / middle)))
    return Voice(float(level), middle, spread, len(voiced) / len(pitches))


def pitch_track(wave: np.ndarray, rate: int) -> np.ndarray:
    """Return (F,) pitch in Hz of frames of `FRAME` seconds, one every `STEP`; 0 for those that are not voiced."""
    length, step = round(FRAME * rate), round(STEP * rate)
    if len(wave) < length:
        return np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(wave, length)[::step]  # (F, length)
    blocks = [_pitches(frames[first : first + _BLOCK], rate) for first in range(0, len(frames), _BLOCK)]
    pitches, loudness = np.concatenate(blocks, axis=1)
    return np.where(loudness >= loudness.max() - QUIET, pitches, 0.0)


def _decibels(power: float | np.ndarray) -> np.ndarray:
    return 10 * np.log10(power + _FLOOR)


def _likeness(frames: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Return the normalised autocorrelation of (F, N) frames at (L,) lags in samples: (F, L) in -1..1."""
    length = frames.shape[1]
    products = np.fft.irfft(np.abs(np.fft.rfft(frames, 2 * length)) ** 2)[:, :length]  # sums of x(t) x(t + lag)
    energy = np.cumsum(frames**2, axis=1)
    heads, tails = energy[:, length - 1 - lags], energy[:, -1:] - energy[:, lags - 1]
    return products[:, lags] / np.sqrt(np.maximum(heads * tails, _FLOOR))


def _pitches(frames: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (F,) pitch in Hz, 0 for frames without a repeating period, and (F,) level in decibels of full scale."""
    length = frames.shape[1]
    frames = frames.astype(np.float64)
    frames -= frames.mean(1, keepdims=True)
    power = (frames**2).sum(1)
    lags = np.arange(int(rate / HIGHEST), min(int(rate / LOWEST), length - 2) + 1)
    likeness = _likeness(frames, lags)
    best = likeness.max(1, keepdims=True)
    # Multiples of a period match as well as the period itself, so take the shortest lag close to the best.
    place = (likeness >= 0.95 * best).argmax(1)
    rows = np.arange(len(place))
    while True:  # climb to the local maximum
        after = np.minimum(place + 1, len(lags) - 1)
        climbing = likeness[rows, after] > likeness[rows, place]
        if not climbing.any():
            break
        place = np.where(climbing, after, place)
    voiced = (best[:, 0] >= REPEATS) & (power > _FLOOR * length)
    return np.where(voiced, rate / lags[place], 0.0), _decibels(power / length)
