"""Render a track and have a model read it: does it see the intended emotion, and if not, what does it see instead?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emotion_qwen.errors import DataError
from emotion_qwen.express.readers import FaceReader
from emotion_qwen.express.rigs import Rig
from emotion_qwen.express.track import EMOTIONS, ExpressionTrack
from emotion_qwen.faces import CenterFaceDetector, FaceDetector

FRAMES = 8
"""Largest number of frames that are read."""
SIZE = 320
"""Side of a rendered picture, pixels."""
STRONG = 0.7
"""Share of the largest intended strength above which a frame counts as the peak of the expression."""


@dataclass(frozen=True)
class TrackReading:
    """A model's reading of a rendered track.

    Attributes:
        intended: the emotion of the track.
        strength: its mean intended strength in the frames that were read.
        shares: mean share of each emotion over these frames.
        at_rest: share of each emotion in the same face at rest.
        frames: number of frames that were read.
        answered: number of them for which the model gave an answer.
        detected: number of them in which the face detector finds the face.
        model: that read them.
    """

    intended: str
    strength: float
    shares: dict[str, float]
    at_rest: dict[str, float]
    frames: int
    answered: int
    detected: int
    model: str

    @property
    def label(self) -> str | None:
        """The emotion with the largest share; None without an answer."""
        return max(self.shares, key=lambda name: self.shares[name]) if self.shares else None

    @property
    def agrees(self) -> bool:
        """Whether the model sees the intended emotion."""
        return self.label == self.intended


def check_track(
    track: ExpressionTrack, rig: Rig, identity: str, reader: FaceReader, detector: FaceDetector | None = None
) -> TrackReading:
    """Render the frames in which the intended emotion is strongest, and read them.

    Args:
        track: the track.
        rig: the face; its own box of the face is given to the reader.
        identity: of the face.
        reader: the model.
        detector: counts in how many frames the face is found; CenterFace by default.

    Raises:
        DataError: the track has no intended emotion.
    """
    intended, rows = peak(track)
    pictures = [rig.render(track.frames[row], track.head[row], identity, SIZE, 1) for row in rows]
    boxes = [rig.box(track.head[row], SIZE) for row in rows]
    neutral = rig.render(np.zeros_like(track.frames[0]), np.zeros(3), identity, SIZE, 1)
    readings = reader([*pictures, neutral], np.array([*boxes, rig.box(np.zeros(3), SIZE)]))
    answers = [shares for shares in readings[:-1] if shares is not None]
    find = detector or CenterFaceDetector()
    return TrackReading(
        intended,
        float(track.emotions[rows, EMOTIONS.index(intended)].mean()),
        {name: float(np.mean([shares[name] for shares in answers])) for name in EMOTIONS} if answers else {},
        readings[-1] or {},
        len(rows),
        len(answers),
        sum(len(find(picture).scores) > 0 for picture in pictures),
        reader.name,
    )


def peak(track: ExpressionTrack) -> tuple[str, np.ndarray]:
    """Return the emotion that is intended most, and up to `FRAMES` frames in which it is near its maximum.

    Raises:
        DataError: no emotion is intended.
    """
    strongest = track.emotions.max(axis=0)
    others = [place for place, name in enumerate(EMOTIONS) if name != "neutral"]
    place = others[int(strongest[others].argmax())]
    if strongest[place] < 0.1:
        place = EMOTIONS.index("neutral")
    if strongest[place] <= 0:
        raise DataError("the track has no intended emotion; expected an emotion curve above 0, as `express` writes it")
    rows = np.flatnonzero(track.emotions[:, place] >= STRONG * strongest[place])
    rows = rows[len(rows) // 4 :] if len(rows) > FRAMES else rows  # the face follows its target with a delay
    return EMOTIONS[place], rows[np.linspace(0, len(rows) - 1, min(len(rows), FRAMES)).round().astype(int)]


def explanation(reading: TrackReading) -> list[str]:
    """Return lines that state whether the model agrees and, if not, the likely reason."""
    name = reading.intended
    lines = [f"intended: {name}, mean strength {reading.strength:.2f}"]
    if reading.label is None:
        return [*lines, f"{reading.model} gives no answer for any of {reading.frames} frames"]
    share, rest = reading.shares[name], reading.at_rest.get(name, 0.0)
    lines.append(f"{reading.model} reads: {reading.label} ({reading.shares[reading.label]:.0%} of the answer)")
    lines.append(f"face found by the detector: {reading.detected} of {reading.frames} frames")
    if reading.agrees:
        return [*lines, f"agrees: {name} {share:.0%}, at rest {rest:.0%}"]
    lines.append(f"disagrees: {name} {share:.0%}, at rest {rest:.0%}")
    if share - rest < 0.02:
        lines.append(f"reason: the share of {name} hardly changes from rest; the model does not react to this face")
    elif reading.at_rest and max(reading.at_rest, key=lambda key: reading.at_rest[key]) == reading.label:
        lines.append(f"reason: the share of {name} rises, but {reading.label}, which is read at rest, stays above it")
    else:
        lines.append(f"reason: the face is taken for {reading.label}; try a higher --intensity, or another --identity")
    return lines
