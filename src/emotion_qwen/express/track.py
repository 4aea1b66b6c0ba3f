"""The expression track: 52 facial actions and the head's angles at a constant frame rate, as arrays and as JSON.

The actions are ARKit's blendshapes (Apple, `ARFaceAnchor.BlendShapeLocation`), in the order in which Unreal's Live Link
Face app writes them; "Left" is the left side of the person, which is on the right of the picture. A track has no
identity: the same numbers move any face. `track_schema` is the JSON Schema of a stored track.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emotion_qwen import __version__
from emotion_qwen.errors import DataError, listed
from emotion_qwen.files import write_whole
from emotion_qwen.records import HEAD_ANGLES
from emotion_qwen.taxonomy import LABEL_SETS

_EYE = ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")
CHANNELS: tuple[str, ...] = (
    *(f"eye{name}{side}" for side in ("Left", "Right") for name in _EYE),
    "jawForward", "jawRight", "jawLeft", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthRight",
    "mouthLeft", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight", "mouthDimpleLeft",
    "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower",
    "mouthShrugUpper", "mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight",
    "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft",
    "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight",
    "tongueOut",
)  # fmt: skip
"""The 52 facial actions of a frame, in order."""
PLACE = {name: place for place, name in enumerate(CHANNELS)}
"""Facial action -> its index in a frame."""
EMOTIONS = LABEL_SETS["fer7"].labels
"""The seven emotions of a track's emotion curve, in order."""
VERSION = "1.0.0"
"""Of the stored form. Major: readers of the previous version may fail."""
MOST_SECONDS = 600.0
"""Longest track, seconds."""
MOST_FPS = 120.0
LARGEST_ANGLE = 90.0
"""Largest angle of the head, degrees."""
STRONGEST = 1.5
"""Largest intensity of an emotion; 1 is the prototype."""

_Value = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Angle = Annotated[float, Field(ge=-LARGEST_ANGLE, le=LARGEST_ANGLE, allow_inf_nan=False)]
_Strength = Annotated[float, Field(ge=0, le=STRONGEST, allow_inf_nan=False)]


class Provenance(BaseModel):
    """The origin of a track."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    synthetic: Literal[True] = True
    """Always true: the track was generated, or rebuilt from measurements; it is not a recording of a person."""
    generator: str = f"emotion-qwen {__version__}"
    """The program that made the track, with its version."""
    source: str = ""
    """The source of the track, such as "emotion", "va", "text", "report" or "keyframes"."""
    details: dict[str, Any] = {}
    """Settings and inputs that give the same track again."""


class TrackFile(BaseModel):
    """A stored expression track."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    version: Literal["1.0.0"] = "1.0.0"
    """Of this form."""
    fps: Annotated[float, Field(gt=0, le=MOST_FPS, allow_inf_nan=False)]
    """Frames per second; frame t is at t / fps seconds."""
    channels: Annotated[list[str], Field(min_length=len(CHANNELS), max_length=len(CHANNELS))]
    """Names of the 52 facial actions, in the order of the values in `frames`."""
    frames: list[Annotated[list[_Value], Field(min_length=len(CHANNELS), max_length=len(CHANNELS))]]
    """Per frame the strength of each facial action, 0 to 1."""
    head: list[Annotated[list[_Angle], Field(min_length=3, max_length=3)]]
    """Per frame yaw, pitch and roll in degrees: yaw is positive to the right of the picture, pitch upwards, roll
    clockwise."""
    emotions: Annotated[list[str], Field(min_length=len(EMOTIONS), max_length=len(EMOTIONS))]
    """Names of the seven emotions, in the order of the values in `emotion_curve`."""
    emotion_curve: list[Annotated[list[_Strength], Field(min_length=len(EMOTIONS), max_length=len(EMOTIONS))]]
    """Per frame the intended strength of each emotion, 0 to 1.5."""
    provenance: Provenance
    """Where the track comes from."""


@dataclass(frozen=True, eq=False)
class ExpressionTrack:
    """A face over time, without identity.

    Attributes:
        fps: frames per second.
        frames: (T, 52) strengths of `CHANNELS`, 0 to 1.
        head: (T, 3) yaw, pitch and roll in degrees, with the signs of `records.HEAD_ANGLES`.
        emotions: (T, 7) intended strengths of `EMOTIONS`, 0 to 1.5.
        provenance: where it comes from.

    Raises:
        DataError: an array has another shape, a value that is not a number or out of range, or no frame, or the track
            is longer than `MOST_SECONDS`.
    """

    fps: float
    frames: np.ndarray
    head: np.ndarray
    emotions: np.ndarray
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        if not 0 < self.fps <= MOST_FPS:
            raise DataError(f"fps is {self.fps}; expected frames per second above 0, at most {MOST_FPS:g}")
        check_seconds(len(self.frames) / self.fps)
        parts = (
            ("frames", self.frames, CHANNELS, 0.0, 1.0),
            ("head", self.head, HEAD_ANGLES, -LARGEST_ANGLE, LARGEST_ANGLE),
            ("emotion_curve", self.emotions, EMOTIONS, 0.0, STRONGEST),
        )
        for name, values, columns, low, high in parts:
            if values.shape != (len(self.frames), len(columns)):
                raise DataError(
                    f"{name} has the shape {values.shape}; expected ({len(self.frames)}, {len(columns)}), a row per "
                    "frame"
                )
            wrong = np.argwhere(~((values >= low) & (values <= high)))  # not a number is wrong, too
            if len(wrong):
                row, column = wrong[0]
                raise DataError(
                    f"{columns[column]} is {values[row, column]:g} in frame {row}; expected {low:g} to {high:g}"
                )

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.frames) / self.fps

    @property
    def times(self) -> np.ndarray:
        """Time of each frame, (T,) seconds."""
        return np.arange(len(self.frames)) / self.fps

    @property
    def emotion(self) -> str:
        """The emotion with the largest mean strength; "neutral" if all others are weaker."""
        return EMOTIONS[int(self.emotions.mean(axis=0).argmax())]


def check_seconds(seconds: float) -> None:
    """Refuse a length that no track may have.

    Raises:
        DataError: it is 0, not a number, or above `MOST_SECONDS`.
    """
    if not 0 < seconds <= MOST_SECONDS:
        raise DataError(f"the track has {seconds:g} s; expected more than 0 and at most {MOST_SECONDS:g} s")


def channel_values(actions: Mapping[str, float]) -> np.ndarray:
    """Return a frame (52,) with the given strengths, clipped to 0..1, and 0 elsewhere.

    Raises:
        DataError: a name is not a facial action.
    """
    unknown = [name for name in actions if name not in PLACE]
    if unknown:
        raise DataError(f"unknown facial actions {listed(unknown, 3)}; expected ARKit names such as {CHANNELS[0]}")
    values = np.zeros(len(CHANNELS))
    for name, strength in actions.items():
        values[PLACE[name]] = np.clip(strength, 0, 1)
    return values


def track_json(track: ExpressionTrack) -> str:
    """Return a track as JSON that follows `track_schema`; values have four decimals."""
    stored = {
        "version": VERSION,
        "fps": track.fps,
        "channels": list(CHANNELS),
        "frames": np.round(track.frames, 4).tolist(),
        "head": np.round(track.head, 3).tolist(),
        "emotions": list(EMOTIONS),
        "emotion_curve": np.round(track.emotions, 4).tolist(),
        "provenance": track.provenance.model_dump(),
    }
    return json.dumps(stored, ensure_ascii=False) + "\n"


def write_track(track: ExpressionTrack, path: Path) -> None:
    """Write a track as JSON.

    Raises:
        StorageError: the file cannot be written.
    """
    write_whole(path, track_json(track))


def read_track(path: Path) -> ExpressionTrack:
    """Read a stored track.

    Raises:
        DataError: the file cannot be read, or is no track; one line names the first fault.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{str(path)!r} cannot be read ({error}); expected an expression track as JSON") from error
    return parse_track(text, repr(str(path)))


def parse_track(text: str, name: str = "track") -> ExpressionTrack:
    """Read a track from JSON.

    Args:
        text: follows `track_schema`; the channels may stand in any order.
        name: of the source, for messages.

    Raises:
        DataError: it is no track.
    """
    try:
        stored = TrackFile.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or "content"
        raise DataError(
            f"{name}: {place}: {fault['msg']}; expected an expression track, version {VERSION}; write it again"
        ) from error
    frames = _ordered(stored.frames, stored.channels, CHANNELS, name)
    curve = _ordered(stored.emotion_curve, stored.emotions, EMOTIONS, name)
    try:
        head = np.array(stored.head, float).reshape(-1, 3)
        return ExpressionTrack(stored.fps, frames, head, curve, stored.provenance)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def _ordered(rows: Sequence[Any], names: Sequence[str], wanted: Sequence[str], place: str) -> np.ndarray:
    """Return rows of values with their columns in the order of `wanted`.

    Raises:
        DataError: a name is unknown or missing.
    """
    unknown = [name for name in names if name not in wanted]
    if unknown or len(set(names)) < len(wanted):
        odd = listed(unknown, 3) or f"{len(set(names))} different names"
        raise DataError(f"{place}: unexpected names: {odd}; expected the {len(wanted)} names {listed(wanted, 3)}")
    values = np.array(rows, float).reshape(len(rows), len(wanted))
    return values[:, [names.index(name) for name in wanted]]


@cache
def track_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a stored track; the caller must not modify it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:emotion-qwen:schema:expression-track:{VERSION}",
        **TrackFile.model_json_schema(),
    }


def schema_text() -> str:
    """Return the schema as it is committed under `docs/schema`."""
    return json.dumps(track_schema(), indent=2, ensure_ascii=False) + "\n"
