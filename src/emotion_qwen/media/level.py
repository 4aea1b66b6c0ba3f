"""The level of a sound as a model hears it: neither a constant offset nor a far too low gain may decide a label."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from emotion_qwen.media.sound import Sound
from emotion_qwen.media.voice_activity import voice_spans

_ROUNDING, _OFFSET = 1e-3, 0.05  # full scale, and share of the root mean square, beyond which an offset is taken out
_STEADY = 512  # samples whose mean tells the offset
_TOO_QUIET, _TOO_LOUD, _USUAL = 0.01, 2.0, 0.5  # peaks; speech for publication peaks at 0.02 to 1


def settled(sound: Sound) -> Sound:
    """Return a sound for a model: without a constant offset, and a voice far too quiet or too loud at a usual level."""
    wave, warnings = sound.wave.copy(), list(sound.warnings)
    _centre(wave, warnings)
    _raise(wave, warnings)
    return replace(sound, wave=wave, warnings=tuple(warnings)) if len(warnings) > len(sound.warnings) else sound


def _centre(wave: np.ndarray, warnings: list[str]) -> None:
    """Take a constant offset that is more than rounding out of a wave, in place."""
    blocks = wave[: len(wave) // _STEADY * _STEADY].reshape(-1, _STEADY)
    offset = float(np.median(blocks.mean(axis=1))) if len(blocks) else 0.0  # what holds for most of the sound
    if abs(offset) > _ROUNDING and offset**2 > _OFFSET**2 * float(np.vdot(wave, wave)) / len(wave):
        wave -= np.float32(offset)
        warnings.append(f"a constant offset of {offset:.2g} of full scale was taken out of the sound")


def _raise(wave: np.ndarray, warnings: list[str]) -> None:
    """Bring a voice that was recorded far too quiet, or far beyond full scale, to a usual level, in place."""
    loudest = max(float(wave.max()), -float(wave.min())) if len(wave) else 0.0
    if loudest > _TOO_LOUD or (loudest < _TOO_QUIET and voice_spans(wave)):
        gain = _USUAL / loudest
        wave *= np.float32(gain)
        warnings.append(
            f"the sound peaks at {20 * math.log10(loudest):.0f} dB of full scale; it was "
            f"{'raised' if gain > 1 else 'lowered'} by {abs(20 * math.log10(gain)):.0f} dB"
        )
