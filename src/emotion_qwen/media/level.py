"""The level of a sound as a model hears it: neither a constant offset nor a far too low gain may decide a label."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from emotion_qwen.media.sound import Sound
from emotion_qwen.media.voice_activity import voice_spans
from emotion_qwen.media.wave import WaveWriter

_ROUNDING, _OFFSET = 1e-3, 0.05  # full scale, and share of the root mean square, beyond which an offset is taken out
_STEADY = 512  # samples whose mean tells the offset
_BLOCK = 2**20  # samples changed at once
_TOO_QUIET, _TOO_LOUD, _USUAL = 0.01, 2.0, 0.5  # peaks; speech for publication peaks at 0.02 to 1


def settled(sound: Sound) -> Sound:
    """Return a sound for a model: without a constant offset, and a voice far too quiet or too loud at a usual level.

    Raises:
        StorageError: there is no room for a long sound in the temporary folder.
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
    """Measure a constant offset; 0 where it is no more than rounding."""
    blocks = wave[: len(wave) // _STEADY * _STEADY].reshape(-1, _STEADY)
    offset = float(np.median(blocks.mean(axis=1))) if len(blocks) else 0.0  # what holds for most of the sound
    matters = abs(offset) > _ROUNDING and offset**2 > _OFFSET**2 * float(np.vdot(wave, wave)) / len(wave)
    return offset if matters else 0.0
