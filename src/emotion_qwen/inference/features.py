"""Features of clips, for people who train heads of their own, and the safetensors file that holds them.

Every feature is pooled over a clip's glimpses by the rule that pools its distribution (`reading`), with all channels
that the clip has, so that a head sees what the report's answer was made of.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emotion_qwen.errors import DataError
from emotion_qwen.records import EmotionReport

if TYPE_CHECKING:
    from emotion_qwen.inference.reading import Reading

VERSION = "1"
FORMAT = "emotion-qwen clip features"
NAMES = ("visual", "audio", "pooled", "gate")


@dataclass(frozen=True, eq=False)
class ClipFeatures:
    """Features of one clip, H being the width of the language model.

    Attributes:
        visual: (H,) float32 mean of the fused visual tokens, behind the compressor; NaN without a picture.
        audio: (H,) float32 mean of the audio tokens; NaN where nothing is heard, None if the model does not hear.
        pooled: (H,) float32 hidden state of the language model, behind its final norm, at the last token of the
            prompt: there the first word of the label is decided.
        gate: (2,) float32 fusion weights, general and emotion, as in the report; zeros without a picture.
    """

    visual: np.ndarray
    audio: np.ndarray | None
    pooled: np.ndarray
    gate: np.ndarray


def clip_features(reading: Reading, report: EmotionReport) -> ClipFeatures:
    """Collect the features of a clip that was read."""
    each, whole = reading.everything()
    width = len(next(one.hidden for one in each if one is not None))

    def pooled(name: str) -> np.ndarray:
        rows = np.full((len(each), width), np.nan)
        for row, answer in enumerate(each):
            value = None if answer is None else getattr(answer, name)
            if value is not None:
                rows[row] = value.numpy()
        own = None if whole is None else getattr(whole, name)
        return reading.pool(rows, None if own is None else own.double().numpy()).astype(np.float32)

    audio = pooled("audio") if reading.hears else None
    gate = np.array([report.gate["general"], report.gate["emotion"]], np.float32)
    return ClipFeatures(pooled("visual"), audio, pooled("hidden"), gate)
