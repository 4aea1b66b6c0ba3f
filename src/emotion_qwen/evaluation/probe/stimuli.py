"""The rendered faces of a probe: emotion, intensity and identity, under conditions that make reading harder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from pydantic import Field, field_validator

from emotion_qwen.errors import unknown_choice
from emotion_qwen.express.identities import IDENTITIES
from emotion_qwen.express.prototypes import emotion_weights, expression
from emotion_qwen.express.rigs import Rig
from emotion_qwen.express.track import EMOTIONS, STRONGEST
from emotion_qwen.settings import Settings

NEUTRAL = "neutral"
PLAIN = "plain"
SIZE = 320
"""Side of a rendered picture, pixels."""
DARK = 0.3
"""Share of the light that remains in the dark condition."""
BLUR = 0.04
"""Standard deviation of the blur as a share of the width of the face."""
SMALL = 28
"""Width in pixels of the face in a small picture."""
GREY = 128
Degrade = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Takes a picture (H, W, 3) uint8 and its face box (4,) in pixels; returns both, changed."""


def _darkened(picture: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (picture * DARK).astype(np.uint8), box


def _blurred(picture: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return cv2.GaussianBlur(picture, (0, 0), BLUR * float(box[2] - box[0])), box


def _shrunk(picture: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    zoom = SMALL / float(box[2] - box[0])
    side = max(round(len(picture) * zoom), 1)
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), box * side / len(picture)


def _covered(top: float, bottom: float) -> Degrade:
    """Return a function that covers a part of the face with grey; shares of the height of its box."""

    def cover(picture: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x1, y1, x2, y2 = box
        picture = picture.copy()
        rows = slice(round(y1 + top * (y2 - y1)), round(y1 + bottom * (y2 - y1)))
        picture[rows, round(x1) : round(x2)] = GREY
        return picture, box

    return cover


def _unchanged(picture: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return picture, box


CONDITIONS: dict[str, tuple[float, Degrade]] = {
    PLAIN: (0.0, _unchanged),
    "yaw20": (20.0, _unchanged),
    "yaw40": (40.0, _unchanged),
    "dark": (0.0, _darkened),
    "blur": (0.0, _blurred),
    "no_mouth": (0.0, _covered(0.62, 0.92)),
    "no_eyes": (0.0, _covered(0.12, 0.45)),
    "small": (0.0, _shrunk),
}
"""Condition -> yaw of the head in degrees, and what happens to the picture."""


class ProbeGrid(Settings):
    """Which faces a probe renders: all combinations; a face at rest is rendered once per identity and condition."""

    emotions: tuple[str, ...] = tuple(name for name in EMOTIONS if name != NEUTRAL)
    """Emotions to show; the face at rest is always among the stimuli."""
    intensities: tuple[float, ...] = Field((0.2, 0.4, 0.6, 0.8, 1.0), min_length=2)
    """Ascending, above 0."""
    identities: tuple[str, ...] = Field(tuple(IDENTITIES), min_length=1)
    conditions: tuple[str, ...] = Field((PLAIN,), min_length=1)

    @field_validator("emotions", "identities", "conditions")
    @classmethod
    def _known(cls, names: tuple[str, ...], info: object) -> tuple[str, ...]:
        field = getattr(info, "field_name", "")
        choices = {
            "emotions": [n for n in EMOTIONS if n != NEUTRAL],
            "identities": IDENTITIES,
            "conditions": CONDITIONS,
        }
        for name in names:
            if name not in choices[field]:
                raise ValueError(unknown_choice(field, name, choices[field]))
        return names

    @field_validator("intensities")
    @classmethod
    def _ascending(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if list(values) != sorted(set(values)) or not 0 < values[0] <= values[-1] <= STRONGEST:
            raise ValueError(f"expected ascending numbers above 0, at most {STRONGEST:g}")
        return values


@dataclass(frozen=True)
class Stimulus:
    """One rendered face.

    Attributes:
        emotion: what it shows; "neutral" at rest.
        intensity: 0 at rest.
        identity: of the face.
        condition: a name of `CONDITIONS`.
    """

    emotion: str
    intensity: float
    identity: str
    condition: str


def stimuli_of(grid: ProbeGrid) -> Iterator[Stimulus]:
    """Yield the stimuli of a grid, condition by condition."""
    for condition in grid.conditions:
        for identity in grid.identities:
            yield Stimulus(NEUTRAL, 0.0, identity, condition)
            for emotion in grid.emotions:
                for intensity in grid.intensities:
                    yield Stimulus(emotion, intensity, identity, condition)


def rendered(stimulus: Stimulus, rig: Rig, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Render a stimulus; return the picture (H, W, 3) uint8 and the box (4,) of the face in pixels."""
    yaw, degrade = CONDITIONS[stimulus.condition]
    head = np.array([yaw, 0.0, 0.0])
    frame = expression(emotion_weights({stimulus.emotion: 1.0}, stimulus.intensity))
    return degrade(rig.render(frame, head, stimulus.identity, size, 1), rig.box(head, size))
