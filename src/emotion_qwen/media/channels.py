"""The channels of a sound: their samples, how they are mixed to one, and what their mix would lose."""

from __future__ import annotations

import functools
import math

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

_CANCELLED = 1 / 3  # share of the channels' energy that must be lost in the mix for one of them to be read alone
# Shares of the channels before they are scaled to sum to 1, as ITU-R BS.775 mixes surround sound down. The channel of
# low effects carries no speech.
_SHARES = {"FC": 1.0, "FL": math.sqrt(0.5), "FR": math.sqrt(0.5), "LFE": 0.0, "LFE2": 0.0}
_SURROUND = 0.5


class Balance:
    """Mixes channels, or takes one of them, and measures how much of them the mix loses.

    Args:
        channel: the one to take; None mixes all.

    Attributes:
        energies: of each channel, without its constant offset.
    """

    def __init__(self, channel: int | None) -> None:
        self.channel = channel
        self.energies = np.zeros(0)
        self._expected = self._lost = 0.0  # energy of a mix of unrelated channels, and what is missing of it

    def mix(self, samples: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        """Mix (C, S) samples of channels of these names: (S,)."""
        if len(samples) == 1:
            return samples[0]
        if self.channel is not None and self.channel < len(samples):
            return samples[self.channel]
        shares = _shares(names)
        wave = shares @ samples
        energies = samples.var(axis=1, dtype=np.float64) * samples.shape[1]
        expected = float(shares**2 @ energies)
        self._expected += expected
        self._lost += max(expected - float(wave.var(dtype=np.float64)) * len(wave), 0.0)
        energies[shares == 0] = 0
        if len(energies) != len(self.energies):  # the first frame, or another layout
            self.energies = np.zeros(len(energies))
        self.energies += energies
        return wave

    def loudest(self) -> int:
        """Return the number of the loudest channel, of almost equal ones the first."""
        return int((self.energies >= 0.9 * self.energies.max()).argmax())

    def cancelled(self) -> bool:
        """Tell whether the channels cancel each other, for a good part of what they hold."""
        return self._lost > _CANCELLED * self._expected


def samples_of(frame: AudioFrame) -> tuple[np.ndarray, int]:
    """Give a frame as (C, S) float32, and how many samples are infinite or not numbers; they become 0."""
    if frame.format.name.startswith("s64"):  # has no array
        frame = AudioResampler(format="dblp").resample(frame)[0]
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, len(frame.layout.channels)).T  # (channels, S)
    unlike_numbers = 0
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):
            samples = samples.astype(np.float32, copy=False)
        finite = np.isfinite(samples)
        if not finite.all():
            unlike_numbers = int(finite.size - finite.sum())
            samples = np.where(finite, samples, np.float32(0))
    else:
        half = 2.0 ** (samples.dtype.itemsize * 8 - 1)
        centre = half if samples.dtype.kind == "u" else 0.0
        samples = ((samples - centre) / half).astype(np.float32)
    return samples, unlike_numbers


@functools.cache
def _shares(names: tuple[str, ...]) -> np.ndarray:
    """Give each channel's share in the mix, summing to 1, so that a mix is never louder than its loudest channel."""
    shares = np.array([_SHARES.get(name, _SURROUND) for name in names], dtype=np.float32)
    return shares / shares.sum() if shares.any() else np.full(len(names), 1 / len(names), dtype=np.float32)
