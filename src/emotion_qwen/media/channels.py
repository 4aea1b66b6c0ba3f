"""Mix the channels of a sound down to one, and measure how much energy the mix loses."""

from __future__ import annotations

import functools
import math

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

_CANCELLED = 1 / 3  # share of energy lost in the mix above which a single channel is read instead
# Weights of the channels, later scaled to sum to 1, for a surround downmix by ITU-R BS.775. The low-frequency effects
# channel carries no speech.
_SHARES = {"FC": 1.0, "FL": math.sqrt(0.5), "FR": math.sqrt(0.5), "LFE": 0.0, "LFE2": 0.0}
_SURROUND = 0.5


class Balance:
    """Mixes channels, or selects one, and measures how much energy the mix loses.

    Args:
        channel: index of the channel to select; None mixes all channels.

    Attributes:
        energies: (C,) energy of each channel without its constant offset.
    """

    def __init__(self, channel: int | None) -> None:
        self.channel = channel
        self.energies = np.zeros(0)
        self._expected = self._lost = 0.0  # energy of a mix of uncorrelated channels, and its missing part

    def mix(self, samples: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        """Mix (C, S) samples of the named channels down to (S,)."""
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
        if len(energies) != len(self.energies):  # the first frame, or a change of layout
            self.energies = np.zeros(len(energies))
        self.energies += energies
        return wave

    def loudest(self) -> int:
        """Return the index of the loudest channel; the first of those within 10 % of the maximum energy."""
        return int((self.energies >= 0.9 * self.energies.max()).argmax())

    def cancelled(self) -> bool:
        """Return whether the mix loses more than a third of the energy because channels cancel each other."""
        return self._lost > _CANCELLED * self._expected


def samples_of(frame: AudioFrame) -> tuple[np.ndarray, int]:
    """Return a frame as (C, S) float32, with infinite and NaN samples set to 0, and the number of such samples."""
    if frame.format.name.startswith("s64"):  # PyAV cannot convert it to an array
        frame = AudioResampler(format="dblp").resample(frame)[0]
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, len(frame.layout.channels)).T  # (channels, S)
    not_finite = 0
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):
            samples = samples.astype(np.float32, copy=False)
        finite = np.isfinite(samples)
        if not finite.all():
            not_finite = int(finite.size - finite.sum())
            samples = np.where(finite, samples, np.float32(0))
    else:
        half = 2.0 ** (samples.dtype.itemsize * 8 - 1)
        centre = half if samples.dtype.kind == "u" else 0.0
        samples = ((samples - centre) / half).astype(np.float32)
    return samples, not_finite


@functools.cache
def _shares(names: tuple[str, ...]) -> np.ndarray:
    """Return the weight of each channel; weights sum to 1, so the mix is never louder than the loudest channel."""
    shares = np.array([_SHARES.get(name, _SURROUND) for name in names], dtype=np.float32)
    return shares / shares.sum() if shares.any() else np.full(len(names), 1 / len(names), dtype=np.float32)
