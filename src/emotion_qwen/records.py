"""The frozen records that cross package borders. Arrays in them are shared, not copied: nobody writes into them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Utterance:
    """Words with their time: `start` and `end` in seconds on the clip's clock."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, eq=False)
class Clip:
    """Decoded media: picture, sound and words on one clock.

    Attributes:
        frames: (T, H, W, 3) uint8 RGB, reduced to the working side, upright.
        times: (T,) seconds of each frame from the start of the file, ascending.
        source: the path as given.
        still: a picture, not a video (then T is 1).
        duration: length of the medium in seconds; 0 for a picture.
        size: (height, width) of the medium before reduction, upright, pixels.
        wave: (S,) float32 mono, or None without sound.
        sample_rate: of `wave`, Hz; 0 without sound.
        utterances: words, in order.
        warnings: what was wrong with the file and could be mended.
    """

    frames: np.ndarray
    times: np.ndarray
    source: str
    still: bool = False
    duration: float = 0.0
    size: tuple[int, int] = (0, 0)
    wave: np.ndarray | None = None
    sample_rate: int = 0
    utterances: tuple[Utterance, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def fps(self) -> float | None:
        """Measured frames per second of `times`; None for fewer than two frames."""
        span = float(self.times[-1] - self.times[0]) if len(self.times) > 1 else 0.0
        return (len(self.times) - 1) / span if span > 0 else None


@dataclass(frozen=True, eq=False)
class FaceTrack:
    """One face over time. It says that it is the same face from frame to frame, never whose.

    Attributes:
        person: number of the track in its clip, from 0, in order of first appearance.
        frames: (K,) int64 indices into the clip's frames, ascending.
        boxes: (K, 4) float32 x1, y1, x2, y2 in pixels of the clip's frames.
        scores: (K,) float32 detector scores in 0..1.
    """

    person: int
    frames: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Sample:
    """One annotated item: a conversation with its media, and what is known of it.

    Attributes:
        id: unique within its source.
        messages: `{"role", "content"}`, in the processor's form; media stand inside the contents as paths or arrays.
        labels: names by kind, for example {"emotion": "happiness"}.
        split: "train", "validation" or "test".
        source: where it comes from.
        license: the terms it stands under.
    """

    id: str
    messages: tuple[dict[str, Any], ...]
    labels: dict[str, str] = field(default_factory=dict)
    split: str = "train"
    source: str = ""
    license: str = ""


@dataclass(frozen=True)
class Person:
    """What one tracked person shows: label and distribution over the chosen label set, and when the face was seen."""

    person: int
    label: str
    distribution: dict[str, float]
    start: float
    end: float
    frames: int
    box: tuple[float, float, float, float]
    """x1, y1, x2, y2 of the face where it was seen best, as shares of width and height."""
    gate: dict[str, float]


@dataclass(frozen=True)
class EmotionReport:
    """What the people in a clip feel, as far as a model can say, and where the answer comes from."""

    source: str
    label: str
    distribution: dict[str, float]
    people: tuple[Person, ...]
    gate: dict[str, float]
    summary: str
    language: str
    provenance: dict[str, Any] = field(default_factory=dict)
