"""Normalise the level of a sound, so that neither a constant offset nor an extreme gain influences a label."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from emotion_qwen.media.sound import Sound
from emotion_qwen.media.voice_activity import voice_spans
from emotion_qwen.media.wave import WaveWriter

_ROUNDING, _OFFSET = 1e-3, 0.05  # full scale, and share of the root mean square, above which an offset is removed
_STEADY = 512  # samples per block whose mean estimates the offset
_BLOCK = 2**20  # samples processed at once
_TOO_QUIET, _TOO_LOUD, _USUAL = 0.01, 2.0, 0.5  # peaks; published speech peaks at 0.02 to 1


def settled(sound: Sound) -> Sound:
    """Remove a constant offset, and bring a voice that is far too quiet or too loud to a usual level.

    Raises:
        StorageError: the temporary folder has no space for a long sound.
    """
    offset = _offset(sound.wave)
    loudest = max(float(sound.wave.max()) - offset, offset - float(sound.wave.min())) if len(sound.wave) else 0.0
    gain = 1.0
    if loudest > _TOO_LOUD or (0 < loudest < _TOO_QUIET and voice_spans(sound.wave)):
        gain = _USUAL / loudest
    if not offset and gain == 1:
        return sound
    warnings = list(sound.warnings)
    if offset:
        warnings.append(f"a constant offset of {offset:.2g} of full scale was taken out of the sound")
    if gain != 1:
        warnings.append(
            f"the sound peaks at {20 * math.log10(loudest):.0f} dB of full scale; it was "
            f"{'raised' if gain > 1 else 'lowered'} by {abs(20 * math.log10(gain)):.0f} dB"
        )
    writer = WaveWriter()
    for first in range(0, len(sound.wave), _BLOCK):
        writer.write(first, (sound.wave[first : first + _BLOCK] - np.float32(offset)) * np.float32(gain))
    return replace(sound, wave=writer.wave(len(sound.wave)), warnings=tuple(warnings))


def _offset(wave: np.ndarray) -> float:
    """Return the constant offset; 0 if it is not above rounding."""
    blocks = wave[: len(wave) // _STEADY * _STEADY].reshape(-1, _STEADY)
    offset = float(np.median(blocks.mean(axis=1))) if len(blocks) else 0.0  # the offset of most of the sound
    matters = abs(offset) > _ROUNDING and offset**2 > _OFFSET**2 * float(np.vdot(wave, wave)) / len(wave)
    return offset if matters else 0.0
