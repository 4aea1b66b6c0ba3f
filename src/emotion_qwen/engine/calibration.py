"""The reliability of each channel of a model: a temperature fitted on validation data, stored next to the weights.

The scores of a channel are divided by its temperature before the softmax. An overconfident channel gets a high
temperature, which makes its shares nearly equal. Channels are combined by multiplying their shares and normalising (a
logarithmic opinion pool), so nearly equal shares have little effect: a weak channel cannot overrule a strong one.
`emotion-qwen calibrate` fits the temperatures, and on request a bias for each emotion that a model names too seldom or
too often (vector scaling; Guo et al., ICML 2017).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.errors import CheckpointError
from emotion_qwen.files import write_whole
from emotion_qwen.taxonomy import concept_of_word

CALIBRATION = "calibration.json"
_SMALLEST = 1e-12
_READ_LIKE = {"context": "words"}  # same prompt form, and no validation set distinguishes them


@dataclass(frozen=True)
class ChannelFit:
    """The fit of one channel of a model on validation data of that channel alone.

    Attributes:
        temperature: divisor of its scores before the softmax.
        accuracy: mean over the tasks, 0 to 1.
        before: expected calibration error without the temperature, 0 to 1.
        after: the same with a temperature fitted on the other half of the items.
        items: number of distinct items.
        tasks: the tasks of the fit, equally weighted.
        biases: concept of a label -> value added to its score before the division; 0 for all others.
    """

    temperature: float
    accuracy: float
    before: float
    after: float
    items: int
    tasks: tuple[str, ...]
    biases: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Calibration:
    """The fitted channels of a model.

    Attributes:
        channels: channel of `records.CHANNELS` -> its fit; empty for a model that was never calibrated.
        label_sets: label sets for which the shares are probabilities. Temperatures apply to any set.
    """

    channels: Mapping[str, ChannelFit] = field(default_factory=dict)
    label_sets: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Calibration:
        """Read `calibration.json` from a model folder; without that file, return an empty calibration.

        Raises:
            CheckpointError: the file is not a calibration of this version.
        """
        path = folder / CALIBRATION
        if not path.is_file():
            return cls()
        try:
            return cls.of(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{path}: not a calibration of this version ({type(error).__name__}: {error}); "
                f"make it again with `emotion-qwen calibrate {folder}`, or delete it"
            ) from error

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Calibration:
        """Make a calibration from its JSON values.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: these are no such values.
        """
        return cls({name: _fit(values) for name, values in stored["channels"].items()}, tuple(stored["label_sets"]))

    def to_dict(self) -> dict[str, Any]:
        """Return the calibration as JSON values."""
        fits = {name: asdict(fit) for name, fit in self.channels.items()}
        for values in fits.values():
            if not values["biases"]:
                del values["biases"]
        return {"label_sets": list(self.label_sets), "channels": fits}

    def write(self, folder: Path) -> Path:
        """Write `calibration.json` into a model folder."""
        text = json.dumps(self.to_dict(), indent=2) + "\n"
        path = folder / CALIBRATION
        write_whole(path, text)
        return path

    def after_training(self) -> Calibration:
        """Return the calibration that remains valid after further training: the fits of the channels.

        The label sets are dropped, because the shares may no longer be probabilities.
        """
        return Calibration(self.channels)

    def temperature(self, channel: str) -> float | None:
        """Return the temperature of a channel, or None. Context has the temperature of words."""
        fit = self._fit_of(channel)
        return fit.temperature if fit else None

    def biases(self, channel: str, labels: Sequence[str]) -> np.ndarray:
        """Return (K,) additions to the scores of K labels of a channel; zeros for unknown labels and channels."""
        fit, concepts = self._fit_of(channel), concept_of_word()
        known = fit.biases if fit else {}
        return np.array([known.get(concepts.get(label.lower(), label), 0.0) for label in labels])

    def _fit_of(self, channel: str) -> ChannelFit | None:
        return self.channels.get(channel) or self.channels.get(_READ_LIKE.get(channel, ""))

    def weighs(self, channels: Sequence[str]) -> bool:
        """Whether all of these channels are fitted."""
        return all(self.temperature(channel) is not None for channel in channels)

    def weights(self, channels: Sequence[str]) -> dict[str, float]:
        """Return the weight of each channel: inverse temperatures, scaled to sum to 1.

        Empty if one of the channels is not fitted.
        """
        if not channels or not self.weighs(channels):
            return {}
        inverse = {channel: 1 / (self.temperature(channel) or 1.0) for channel in channels}
        return {channel: value / sum(inverse.values()) for channel, value in inverse.items()}


def _fit(values: Mapping[str, Any]) -> ChannelFit:
    fit = ChannelFit(**{**values, "tasks": tuple(values["tasks"])})
    if not fit.temperature > 0:
        raise ValueError(f"temperature {fit.temperature}, expected a positive number")
    if not all(isinstance(bias, int | float) and np.isfinite(bias) for bias in fit.biases.values()):
        raise ValueError(f"biases {fit.biases}, expected finite numbers")
    return fit


def combine(opinions: Sequence[np.ndarray]) -> np.ndarray:
    """Multiply the shares of several channels and normalise.

    Args:
        opinions: per channel (..., K) shares; rows of NaN mark an absent channel and are ignored.

    Returns:
        (..., K) shares; NaN where all channels are absent.
    """
    stacked = np.log(np.maximum(np.stack(opinions), _SMALLEST))  # np.maximum keeps NaN
    absent = np.isnan(stacked).all(0)
    total = np.where(absent, np.nan, np.nansum(stacked, axis=0))
    shares = np.exp(total - total.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)
