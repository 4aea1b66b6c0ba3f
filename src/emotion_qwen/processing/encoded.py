"""Media whose features or tokens are known; they replace the media in messages."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class EncodedVisual:
    """A picture or video whose patch features are known; it replaces the medium in a message.

    Attributes:
        features: (N, vision hidden) features of the vision transformer, in window order.
        grid_thw: (3,) int64 numbers of temporal patches, rows and columns.
        seconds: seconds per temporal patch; 0 for a picture.
    """

    features: torch.Tensor
    grid_thw: torch.Tensor
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class MediumTokens:
    """A visual or sound whose language-model tokens are known; it replaces the medium in a message.

    The processor only inserts its placeholders; the tokens are passed to the model as `mm_encoder_outputs`.

    Attributes:
        tokens: (n, hidden) tokens of the language model's width.
        grid_thw: (3,) int64 for a visual, as in `EncodedVisual`; None for a sound.
        seconds: seconds per temporal patch; 0 for a picture or a sound.
        gate: (2,) fp32 fusion weights (general, emotion) of a visual; None for a sound.
        actions: (A,) fp32 facial actions of a visual, averaged over the frames of a video; None for a sound, and for a
            model that does not measure them.
    """

    tokens: torch.Tensor
    grid_thw: torch.Tensor | None = None
    seconds: float = 0.0
    gate: torch.Tensor | None = None
    actions: torch.Tensor | None = None
