"""The worth of each channel of a model: a temperature fitted on validation data and kept beside the weights.

A channel's scores are divided by its temperature before the softmax. A channel that is often wrong and sure of itself
gets a high temperature, so that its shares are nearly alike. Channels are combined by multiplying their shares and
normalising (a logarithmic opinion pool), so nearly equal shares change little: a weak channel cannot overturn a strong
one. `emotion-qwen calibrate` fits the temperatures.
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

CALIBRATION = "calibration.json"
_SMALLEST = 1e-12
_READ_LIKE = {"context": "words"}  # the same prompt form; no validation set tells contexts from words


@dataclass(frozen=True)
class ChannelFit:
    """How one channel of a model does on validation data, by itself.

    Attributes:
        temperature: by which its scores are divided before the softmax.
        accuracy: mean over the tasks, 0 to 1.
        before: expected calibration error without the temperature, 0 to 1.
        after: the same with a temperature fitted on the other half of the items.
        items: number of distinct items.
        tasks: on which it was fitted, each with the same weight.
    """

    temperature: float
    accuracy: float
    before: float
    after: float
    items: int
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Calibration:
    """The fitted channels of a model.

    Attributes:
        channels: fits by channel of `records.CHANNELS`; empty for a model that was never calibrated.
        label_sets: for which the shares may be called probabilities. Temperatures hold for any set.
    """

    channels: Mapping[str, ChannelFit] = field(default_factory=dict)
    label_sets: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Calibration:
        """Read `calibration.json` of a model folder; a folder without one gives an empty calibration.

        Raises:
            CheckpointError: the file is not a calibration of this form.
        """
        path = folder / CALIBRATION
        if not path.is_file():
            return cls()
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            fits = {name: _fit(values) for name, values in stored["channels"].items()}
            return cls(fits, tuple(stored["label_sets"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{path}: not a calibration of this version ({type(error).__name__}: {error}); "
                f"make it again with `emotion-qwen calibrate {folder}`, or delete it"
            ) from error

    def write(self, folder: Path) -> Path:
        """Write `calibration.json` into a model folder."""
        fits = {name: asdict(fit) for name, fit in self.channels.items()}
        text = json.dumps({"label_sets": list(self.label_sets), "channels": fits}, indent=2) + "\n"
        path = folder / CALIBRATION
        write_whole(path, text)
        return path

    def after_training(self) -> Calibration:
        """Return what is still known after the model has learned more: its channels count as before.

        Whether its shares are probabilities is no longer known, so no label set is kept.
        """
        return Calibration(self.channels)

    def temperature(self, channel: str) -> float | None:
        """Return the temperature of a channel; None where none was fitted. Context is read as words are."""
        fit = self.channels.get(channel) or self.channels.get(_READ_LIKE.get(channel, ""))
        return fit.temperature if fit else None

    def weighs(self, channels: Sequence[str]) -> bool:
        """Whether the worth of every one of these channels is known."""
        return all(self.temperature(channel) is not None for channel in channels)

    def weights(self, channels: Sequence[str]) -> dict[str, float]:
        """Return how much each channel counts beside the others: inverse temperatures that sum to 1.

        Empty where the worth of a channel is unknown.
        """
        if not channels or not self.weighs(channels):
            return {}
        inverse = {channel: 1 / (self.temperature(channel) or 1.0) for channel in channels}
        return {channel: value / sum(inverse.values()) for channel, value in inverse.items()}


def _fit(values: Mapping[str, Any]) -> ChannelFit:
    fit = ChannelFit(**{**values, "tasks": tuple(values["tasks"])})
    if not fit.temperature > 0:
        raise ValueError(f"temperature {fit.temperature}, expected a positive number")
    return fit


def combine(opinions: Sequence[np.ndarray]) -> np.ndarray:
    """Multiply the shares of several channels and normalise.

    Args:
        opinions: per channel (..., K) shares; rows of NaN where the channel is absent, which then does not count.

    Returns:
        (..., K) shares; NaN where every channel is absent.
    """
    stacked = np.log(np.maximum(np.stack(opinions), _SMALLEST))  # np.maximum keeps NaN
    absent = np.isnan(stacked).all(0)
    total = np.where(absent, np.nan, np.nansum(stacked, axis=0))
    shares = np.exp(total - total.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)
