"""Track faces over time by position, size and motion.

A track joins boxes that continue each other. Pictures of faces are never compared, so a person who leaves and returns
starts a new track, and two faces that exchange places unseen also exchange tracks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from emotion_qwen.errors import ShapeError
from emotion_qwen.faces.detect import CenterFaceDetector, Detections, FaceDetector, overlaps
from emotion_qwen.faces.turned import detect_turned, quarter_of, rolls_by_angle
from emotion_qwen.records import FaceTrack

GROWTH = 2.0
"""Boxes whose sides differ by more than this factor belong to different faces."""
PATIENCE, REACH, LONE_SCORE = 1.0, 1.0, 0.7
"""Defaults of `track_faces`."""
FEW_FRAMES = 4
"""In a video with fewer frames than this, a face may be detected only once."""
TURNS_TRIED = 3
"""Number of frames in which faces rotated by quarter turns are searched, if no upright face was found."""


@dataclass(eq=False)
class Trail:
    """A track under construction: K detections of a face.

    Attributes:
        frames: K indices.
        boxes: K boxes, (4,) each, pixels.
        scores: K detector scores.
        rolls: K rolls by the landmarks, degrees.
        strains: K strains of these; see `Detections`.
        seen: time of the last detection, seconds.
    """

    frames: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    rolls: list[float] = field(default_factory=list)
    strains: list[float] = field(default_factory=list)
    seen: float = 0.0
    speed: np.ndarray = field(default_factory=lambda: np.zeros(2))
    """Horizontal and vertical speed, pixels per second."""

    def add(self, frame: int, time: float, box: np.ndarray, score: float, roll: float, strain: float) -> None:
        """Append one detection and update the speed."""
        if self.boxes and time > self.seen:
            measured = (_centres(box) - _centres(self.boxes[-1])) / (time - self.seen)
            self.speed = measured if len(self.boxes) == 1 else (self.speed + measured) / 2
        self.frames.append(frame)
        self.boxes.append(box)
        self.scores.append(score)
        self.rolls.append(roll)
        self.strains.append(strain)
        self.seen = time

    def shorten(self) -> None:
        """Forget all detections but the last one."""
        for values in (self.frames, self.boxes, self.scores, self.rolls, self.strains):
            del values[:-1]

    def expected(self, time: float) -> np.ndarray:
        """Return the (4,) box at `time` if the face keeps its speed and size."""
        return self.boxes[-1] + np.tile(self.speed * (time - self.seen), 2)


class FaceTracker:
    """Joins the faces of one frame after the other into tracks.

    Args:
        step: usual time between two frames, seconds.
        patience: as in `track_faces`, and `reach` likewise.
    """

    def __init__(self, step: float, patience: float = PATIENCE, reach: float = REACH) -> None:
        # `patience` is missed time, so one frame step is added: a low frame rate must not split a track.
        self.patience, self.reach = patience + 1.01 * step, reach
        self.live: list[Trail] = []

    def add(self, index: int, time: float, faces: Detections) -> list[Trail]:
        """Add the faces of a frame, later than all before it.

        Returns:
            The trail of each face; new trails among them.
        """
        self.live = [trail for trail in self.live if time - trail.seen <= self.patience]
        taken = _continue(self.live, faces.boxes, time, self.reach)
        upright = np.zeros(len(faces.scores))
        rolls = upright if faces.rolls is None else faces.rolls
        strains = upright if faces.strains is None else faces.strains
        trails = []
        for number, (box, score) in enumerate(zip(faces.boxes, faces.scores.tolist(), strict=True)):
            trail = taken.get(number)
            if trail is None:
                trail = Trail()
                self.live.append(trail)
            trail.add(index, time, box, score, float(rolls[number]), float(strains[number]))
            trails.append(trail)
        return trails


def track_faces(
    frames: np.ndarray,
    times: np.ndarray,
    detector: FaceDetector,
    *,
    patience: float = PATIENCE,
    reach: float = REACH,
    lone_score: float = LONE_SCORE,
) -> tuple[FaceTrack, ...]:
    """Detect the faces of every frame and join them into tracks.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        times: (T,) seconds, ascending.
        detector: called once per frame, in order.
        patience: seconds for which a face may be missed before its track ends; missed frames remain gaps.
        reach: how far a face may be from its expected position, in sides of its box, plus the same again per second
            since its last detection.
        lone_score: smallest score at which a face that was detected only once is kept, in clips of four or more
            frames.

    Returns:
        Tracks in order of first appearance, then from left to right, numbered from 1. With `CenterFaceDetector`, tracks
        also have the roll of faces that are not upright, and if no upright face is found, faces rotated by quarter
        turns are searched.

    Raises:
        ShapeError: the shapes of frames and times do not match.
    """
    if frames.ndim != 4 or times.shape != frames.shape[:1]:
        raise ShapeError(f"frames {frames.shape} with times {times.shape}; expected (T, H, W, 3) with (T,) seconds")
    reached = (patience, reach, lone_score)
    trails = _trails(times, (detector(frame) for frame in frames), *reached)
    if not isinstance(detector, CenterFaceDetector):
        return tuple(_record(person, trail) for person, trail in enumerate(trails, 1))
    if not trails:
        some = np.unique(np.linspace(0, max(len(frames) - 1, 0), TURNS_TRIED).round().astype(int))
        quarter = quarter_of(frames[some] if len(frames) else [], detector)
        if quarter:
            trails = _trails(times, (detect_turned(frame, quarter, detector) for frame in frames), *reached)
    tracks = [_record(person, trail) for person, trail in enumerate(trails, 1)]
    return tuple(
        replace(track, rolls=rolls_by_angle(track, frames, trail.rolls, trail.strains, detector))
        for track, trail in zip(tracks, trails, strict=True)
    )


def _trails(
    times: np.ndarray, detections: Iterable[Detections], patience: float, reach: float, lone_score: float
) -> list[Trail]:
    """Join the faces of all frames into tracks; see `track_faces`."""
    tracker = FaceTracker(float(np.median(np.diff(times))) if len(times) > 1 else 0.0, patience, reach)
    every: list[Trail] = []
    for index, (faces, time) in enumerate(zip(detections, times.tolist(), strict=True)):
        every += [trail for trail in tracker.add(index, time, faces) if trail.frames == [index]]
    if len(times) >= FEW_FRAMES:
        every = [trail for trail in every if len(trail.frames) > 1 or trail.scores[0] >= lone_score]
    every.sort(key=lambda trail: (trail.frames[0], float(trail.boxes[0][0]), float(trail.boxes[0][1])))
    return every


def _continue(live: list[Trail], boxes: np.ndarray, time: float, reach: float) -> dict[int, Trail]:
    """Match detections to trails, best pair first.

    Args:
        live: trails that may be continued.
        boxes: (N, 4) detections in this frame.
        time: seconds of this frame.
        reach: as in `track_faces`.

    Returns:
        Index of a detection -> its trail; the other detections start new trails.
    """
    if not live or not len(boxes):
        return {}
    expected = np.stack([trail.expected(time) for trail in live])
    waited = np.array([time - trail.seen for trail in live])
    sides = _sides(expected)[:, None], _sides(boxes)[None, :]
    distance = np.linalg.norm(_centres(expected)[:, None] - _centres(boxes)[None], axis=2)
    allowed = reach * (1 + waited[:, None]) * np.sqrt(sides[0] * sides[1])
    growth = np.maximum(sides[0] / sides[1], sides[1] / sides[0])
    # Overlap decides between close faces; distance ranks faces that moved beyond their own box. Both are in 0..1.
    fit = overlaps(expected, boxes) + np.clip(1 - distance / allowed, 0, None)
    fit = np.where((distance < allowed) & (growth < GROWTH), fit, -1.0)
    taken: dict[int, Trail] = {}
    while fit.max() >= 0:
        trail, box = np.unravel_index(int(fit.argmax()), fit.shape)
        taken[int(box)] = live[int(trail)]
        fit[trail, :] = -1.0
        fit[:, box] = -1.0
    return taken


def _record(person: int, trail: Trail) -> FaceTrack:
    return FaceTrack(
        person=person,
        frames=np.array(trail.frames, np.int64),
        boxes=np.stack(trail.boxes).astype(np.float32),
        scores=np.array(trail.scores, np.float32),
    )


def _centres(boxes: np.ndarray) -> np.ndarray:
    """Return (..., 2) x, y of (..., 4) boxes."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def _sides(boxes: np.ndarray) -> np.ndarray:
    """Return the geometric mean of both sides of (N, 4) boxes, at least one pixel: (N,)."""
    return np.sqrt(np.clip(boxes[:, 2:] - boxes[:, :2], 1, None).prod(axis=1))
