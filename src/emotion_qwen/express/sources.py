"""Sources of a track other than emotions in numbers: keyframes in a file, and a text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.express.motion import Keyframe
from emotion_qwen.express.prototypes import emotion_weights, seven_shares
from emotion_qwen.settings import Settings

if TYPE_CHECKING:  # not imported: `express --help` would load torch
    from emotion_qwen.analysis.analyzer import Analyzer

FORM = '[{"time": 0, "emotions": {"neutral": 1}}, {"time": 1.5, "emotions": {"fear": 0.8}}]'


class KeyframeEntry(Settings):
    """One entry of a file of keyframes."""

    time: float = Field(ge=0, allow_inf_nan=False)
    """Seconds."""
    emotions: dict[str, float]
    """Emotion -> share, as in `emotion_weights`."""
    intensity: float = 1.0
    """0 to 1.5."""


def read_keyframes(path: Path, intensity: float = 1.0) -> list[Keyframe]:
    """Read keyframes from a JSON list of `KeyframeEntry`.

    Args:
        path: of the file.
        intensity: multiplies that of every entry.

    Raises:
        DataError: the file cannot be read, or has no entry.
        SettingsError: an entry does not fit.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{str(path)!r} cannot be read ({error}); expected keyframes such as {FORM}") from error
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{str(path)!r} has no list of keyframes; expected {FORM}")
    keyframes = []
    for number, values in enumerate(entries, 1):
        place = f"{path.name}, keyframe {number}"
        entry = KeyframeEntry.of(values, place)
        try:
            weights = emotion_weights(entry.emotions, entry.intensity * intensity)
        except SettingsError as error:
            raise SettingsError(f"{place}: {error}") from error
        keyframes.append(Keyframe(entry.time, weights))
    return keyframes


def text_shares(text: str, analyzer: Analyzer) -> dict[str, float]:
    """Return the shares of the seven emotions that a model reads in a text.

    The text is given to the model as the words of a person who is neither seen nor heard.

    Raises:
        SettingsError: the model gives no answer.
    """
    from emotion_qwen.analysis.reading import ClipReading
    from emotion_qwen.analysis.report import Conclusion
    from emotion_qwen.analysis.request import Request
    from emotion_qwen.express.readers import LABELS
    from emotion_qwen.prepare import prepare_clip
    from emotion_qwen.records import Clip, Utterance

    empty = np.zeros((0, 0, 0, 3), np.uint8)
    clip = Clip(empty, np.zeros(0), "text", still=True, utterances=(Utterance(0.0, 0.0, text),), words_from="text")
    request = Request(LABELS)
    reader = analyzer.reader(request)
    reading = ClipReading(reader, prepare_clip(clip, analyzer.detector, analyzer.budget), request)
    (conclusion,) = analyzer.conclude(reader, [reading])
    if not isinstance(conclusion, Conclusion) or not conclusion.distribution:
        raise SettingsError(f"{analyzer.engine.name} reads no emotion in the text {text!r}; give --emotion instead")
    return seven_shares(conclusion.distribution)
