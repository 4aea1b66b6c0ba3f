"""From an item of an emotion task to a prepared clip, along the same path as a file in `analyze`.

A picture, clip or sound of an item becomes a `Clip` with its context; faces, capture, crops and voice follow in
`prepare.prepare_clip`. It runs in worker processes, so this module does not load torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.batch.preparation import Preparation
from emotion_qwen.errors import MediaError
from emotion_qwen.evaluation.run.predictions import part_span
from emotion_qwen.evaluation.run.stored import Stored
from emotion_qwen.evaluation.task import Item
from emotion_qwen.media.clip import read_clip
from emotion_qwen.media.sound import SAMPLE_RATE
from emotion_qwen.prepare import PreparedClip, prepare_clip
from emotion_qwen.records import Clip, Utterance

VISUALS = ("image", "video")


class ItemPreparation(Preparation):
    """Prepares items of a task instead of files."""

    def __call__(self, item: Item) -> PreparedClip:  # type: ignore[override]
        """Prepare one item.

        Raises:
            MediaError: its media cannot be read or are too many, or it has audio and the model has no audio input.
        """
        return prepare_clip(self._clip(item), self.detector, self.budget)

    def _clip(self, item: Item) -> Clip:
        visuals = [part for part in item.parts if part["type"] in VISUALS]
        sounds = [part["audio"] for part in item.parts if part["type"] == "audio"]
        if len(visuals) > 1 or len(sounds) > 1:
            raise MediaError(
                f"{len(visuals)} pictures and {len(sounds)} sounds in a question; local models take one each"
            )
        if sounds and not self.sources.sound:
            raise MediaError("the model has no audio input; leave the audio parts out or give a model with audio input")
        utterances = tuple(Utterance(0.0, 0.0, part["words"]) for part in item.parts if part.get("words"))
        clip = self._read(item.id, visuals[0] if visuals else None, sounds[0] if sounds else None)
        return replace(clip, utterances=utterances, words_from=item.id) if utterances else clip

    def _read(self, name: str, visual: Mapping[str, Any] | None, sound: Any) -> Clip:
        """Read picture and sound; a separate sound replaces that of the video."""
        medium: Any = visual and visual[visual["type"]]
        beside = isinstance(sound, str | Path)
        if isinstance(medium, str | Path):
            sources = replace(self.sources, audio=Path(sound)) if beside else self.sources
            clip = read_clip(medium, self.budget.settings, sources=sources, **part_span(visual or {}))
        elif isinstance(medium, Clip):
            clip = medium
        elif medium is not None:
            clip = still(medium.load() if isinstance(medium, Stored) else medium, name)
        elif beside:
            clip = read_clip(sound, self.budget.settings, sources=self.sources)
            if clip.wave is None:
                raise MediaError(f"{str(sound)!r} has no sound; expected an audio track, leave the audio part out")
        else:  # words alone, or a wave without picture; one moment, like a picture
            clip = Clip(np.zeros((0, 0, 0, 3), np.uint8), np.zeros(0), name, still=sound is None)
        if sound is not None and not beside:
            clip = replace(clip, wave=sound, sample_rate=SAMPLE_RATE, wave_start=0.0)
        return clip


def still(picture: np.ndarray, name: str) -> Clip:
    """Return a clip of one picture (H, W, 3) uint8."""
    return Clip(picture[None], np.zeros(1), name, still=True, size=picture.shape[:2])


def context_of(item: Item) -> str:
    """Return the text parts of an item other than spoken words."""
    return "\n".join(part["text"] for part in item.parts if part["type"] == "text" and not part.get("words"))
