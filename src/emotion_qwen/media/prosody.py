"""How something is said: loudness, pitch, pace and pauses of a clip's sound, measured without a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emotion_qwen.media.voice import measure

SILENT = -60.0
"""Decibels of full scale below which a clip has no sound."""
FRAME = 0.02  # seconds
PAUSE = 0.25
"""Seconds of quiet inside speech from which it is a pause."""
_QUIET = 20.0  # dB under the loudest hundredth; below it is quiet


@dataclass(frozen=True)
class Prosody:
    """Measurements of a clip's sound.

    Attributes:
        level: decibels of full scale.
        pitch: median, Hz; 0 where nothing is voiced.
        spread: of the pitch, semitones.
        voiced: share of the frames that are voiced.
        rate: peaks of loudness that are voiced, about syllables, per second of speech; 0 without voice.
        pauses: how many.
        longest_pause: seconds.
    """

    level: float
    pitch: float
    spread: float
    voiced: float
    rate: float
    pauses: int
    longest_pause: float


def prosody_of(wave: np.ndarray, rate: int) -> Prosody | None:
    """Measure (S,) float mono sound at `rate` Hz; None for silence or nearly none."""
    if len(wave) < 0.2 * rate:
        return None
    voice = measure(wave, rate)
    if voice.level < SILENT:
        return None
    length = round(FRAME * rate)
    frames = wave[: len(wave) // length * length].reshape(-1, length).astype(np.float64)
    loud = 10 * np.log10((frames**2).mean(1) + 1e-10)
    speech = loud > np.percentile(loud, 99) - _QUIET
    inside = np.flatnonzero(speech)
    gaps = np.diff(inside) - 1 if len(inside) else np.zeros(0, int)
    pauses = gaps[gaps * FRAME >= PAUSE] * FRAME
    spoken = (inside[-1] - inside[0] + 1) * FRAME - float(pauses.sum()) if len(inside) else 0.0
    peaks = _peaks(loud, speech) if voice.voiced > 0.05 else 0
    return Prosody(
        round(voice.level, 1), round(voice.pitch, 1), round(voice.spread, 2), round(voice.voiced, 3),
        round(float(peaks / spoken), 2) if spoken > 0.2 else 0.0, len(pauses), round(float(pauses.max(initial=0.0)), 2),
    )  # fmt: skip


def _peaks(loud: np.ndarray, speech: np.ndarray) -> int:
    """Count hills of the smoothed loudness that rise 2 dB above the valleys beside them: about one a syllable."""
    smooth = np.convolve(loud, np.hanning(7) / np.hanning(7).sum(), mode="same")
    count, valley, hill, rising = 0, smooth[0], smooth[0], True
    for value, spoken in zip(smooth, speech, strict=True):
        if rising:
            hill = max(hill, value)
            if value < hill - 2:
                count, rising, valley = count + int(spoken or hill > np.median(smooth)), False, value
        else:
            valley = min(valley, value)
            if value > valley + 2:
                rising, hill = True, value
    return count
