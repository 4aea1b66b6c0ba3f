"""Measure prosody without a model: loudness, pitch, pace and pauses of a clip's sound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emotion_qwen.media.voice import measure

SILENT = -60.0
"""Level in decibels of full scale below which a clip counts as silent."""
FRAME = 0.02  # seconds
PAUSE = 0.25
"""Shortest quiet stretch within speech that counts as a pause, seconds."""
_QUIET = 20.0  # dB below the loudest hundredth; anything lower is quiet


@dataclass(frozen=True)
class Prosody:
    """Measurements of a clip's sound.

    Attributes:
        level: decibels of full scale.
        pitch: median, Hz; 0 if no frame is voiced.
        spread: standard deviation of the pitch, semitones.
        voiced: share of voiced frames, 0..1.
        rate: voiced peaks of loudness (roughly syllables) per second of speech; 0 without voice.
        pauses: number of pauses.
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
    """Count peaks of the smoothed loudness that rise 2 dB above the valleys on either side: about one per syllable."""
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
