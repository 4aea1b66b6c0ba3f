"""Faces that are turned in the picture: how far a face is rolled, and faces that are found in no upright picture.

CenterFace learned from upright faces. It often finds a turned one, too, but its landmarks then lean towards upright. So
a face is cut out and looked at in all four quarter turns; the turn in which it is found best, with landmarks that fit a
face and are nearly upright, gives the quarter, and the landmarks there give the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emotion_qwen.faces.capture import RIGHTED_FROM, rotated
from emotion_qwen.faces.detect import CenterFaceDetector, Detections, wrapped
from emotion_qwen.records import FaceTrack

SURROUNDINGS = 0.5
"""Kept around a face that is looked at alone, as a share of the longer side of its box."""
SIDE = 160
"""Pixels of the look at one face."""
FOUND = 0.2
"""Smallest score of a face in that look, which is known to be there."""
TURNED_SCORE = 0.6
"""Smallest `rightness` of a face that is found in a turned picture only. Three more looks would find thrice as much
where there is no face; of 300 CIFAR-10 pictures none reaches this."""
LEANING = 15.0  # degrees
"""A face that is turned by more is looked at again after it was righted by what was seen first."""
CHECKED = 3
"""Frames of a track, those with the best scores, in which the roll is looked for in all directions."""
UPRIGHT_SCORE, UPRIGHT_STRAIN = 0.6, 8.0
"""A face found with at least this score, with landmarks that fit a face this well (degrees) and lean by less than
`LEANING`, is upright and not looked at again. Of 100 validation faces of LFW, RAF-DB, FER+ and FER2013, 87 are found
so; of the same faces in quarter turns, 1 of 300."""
UPRIGHT = 0.05
"""Advantage of the picture as it is over its quarter turns: most pictures are upright."""


def rightness(detections: Detections) -> np.ndarray:
    """Return (N,) how well faces fit upright ones: score, less what landmarks lack of a face and of being upright.

    Chosen on 84 validation faces of LFW, RAF-DB and FER+, turned by 0, 30, 45, 90, 135 and 180 degrees: the best of
    four quarters has the roll within 30 degrees for 96, 95, 92, 95, 92 and 95 % of them; 4 % are found in none.
    """
    if detections.rolls is None or detections.strains is None:
        return detections.scores
    return detections.scores - 0.6 * detections.strains / 90 - 0.3 * np.maximum(np.abs(detections.rolls) - 15, 0) / 90


def roll_of(frame: np.ndarray, box: np.ndarray, detector: CenterFaceDetector) -> float:
    """Return by how many degrees clockwise, -180 to 180, a face of a frame is turned; 0 where that cannot be seen.

    Args:
        frame: (H, W, 3) uint8 RGB.
        box: (4,) x1, y1, x2, y2 of the face, pixels.
        detector: looks at the face.
    """
    around = square_around(frame, box, SURROUNDINGS)
    best, roll = -np.inf, 0.0
    for quarter in range(4):
        detections = detector.look(quarter_turned(around, quarter), SIDE, FOUND)
        if not len(detections.scores) or detections.rolls is None:
            continue
        fits = rightness(detections) - _off_centre(detections.boxes, len(around)) + (UPRIGHT if quarter == 0 else 0)
        if fits.max() > best:
            best = float(fits.max())
            roll = float(wrapped(detections.rolls[int(fits.argmax())] + 90.0 * quarter))
    if abs(roll) < LEANING:
        return roll
    detections = detector.look(rotated(around, roll), SIDE, FOUND)  # landmarks lean towards upright: what is left of it
    if not len(detections.scores) or detections.rolls is None:
        return roll
    fits = rightness(detections) - _off_centre(detections.boxes, len(around))
    return float(wrapped(roll + detections.rolls[int(fits.argmax())]))


def rolls_by_angle(
    track: FaceTrack,
    frames: np.ndarray,
    rolls: Sequence[float],
    strains: Sequence[float],
    detector: CenterFaceDetector,
) -> np.ndarray | None:
    """Return (K,) float32 degrees by which a face is turned in the frames of its track; None if it is upright.

    Args:
        track: the face.
        frames: (T, H, W, 3) uint8 RGB of the clip.
        rolls: K degrees, by the landmarks with which the face was found.
        strains: K degrees by which these landmarks do not fit a face.
        detector: looks at the face again, in `CHECKED` frames, or in all of them if it is far from upright.
    """
    best = np.argsort(-track.scores, kind="stable")[:CHECKED]
    fits = [track.scores[row] >= UPRIGHT_SCORE and strains[row] < UPRIGHT_STRAIN for row in best]
    if all(fits) and all(abs(roll) < LEANING for roll in rolls):
        return None
    seen = {int(row): roll_of(frames[track.frames[row]], track.boxes[row], detector) for row in best}
    upright = float(np.median(np.abs(list(seen.values())))) <= 45
    corrected = np.array(rolls, np.float32)
    for row in range(len(corrected)) if not upright else seen:
        corrected[row] = seen[row] if row in seen else roll_of(frames[track.frames[row]], track.boxes[row], detector)
    return corrected if (np.abs(corrected) >= RIGHTED_FROM).any() else None


def quarter_of(frames: Sequence[np.ndarray], detector: CenterFaceDetector) -> int:
    """Return by how many quarter turns clockwise the faces of frames are turned; 0 if there are none.

    Args:
        frames: of one clip, in which no upright face was found.
        detector: looks at them.
    """
    most, chosen = 0.0, 0
    for quarter in (1, 2, 3):
        fit = sum(_best(detector(quarter_turned(frame, quarter))) for frame in frames)
        if fit > most:
            most, chosen = fit, quarter
    return chosen


def detect_turned(frame: np.ndarray, quarter: int, detector: CenterFaceDetector) -> Detections:
    """Return the faces of a frame that are turned by a number of quarters clockwise, in pixels of the frame."""
    height, width = frame.shape[:2]
    detections = detector(quarter_turned(frame, quarter))
    detections = detections.among(np.flatnonzero(_is_sure(detections)))
    boxes = detections.boxes
    for turn in range(quarter):  # back, a quarter at a time; `across` is the width before that turn
        across = (width, height)[(quarter - turn - 1) % 2]
        boxes = np.stack([across - boxes[:, 3], boxes[:, 0], across - boxes[:, 1], boxes[:, 2]], axis=1)
    rolls = None if detections.rolls is None else wrapped(detections.rolls + 90.0 * quarter).astype(np.float32)
    return Detections(boxes.astype(np.float32), detections.scores, rolls, detections.strains)


def quarter_turned(picture: np.ndarray, quarter: int) -> np.ndarray:
    """Turn a picture back by a number of quarters, so that a face which is turned clockwise by them is upright."""
    return np.ascontiguousarray(np.rot90(picture, quarter))


def square_around(frame: np.ndarray, box: np.ndarray, margin: float) -> np.ndarray:
    """Cut a square around a box, with a margin as a share of its longer side; outside, the frame's mean colour."""
    x1, y1, x2, y2 = box.tolist()
    side = max(2, round(max(x2 - x1, y2 - y1) * (1 + 2 * margin)))
    left, top = round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2)
    height, width = frame.shape[:2]
    inside = frame[max(top, 0) : min(top + side, height), max(left, 0) : min(left + side, width)]
    out = np.empty((side, side, 3), np.uint8)
    out[:] = np.rint(inside.reshape(-1, 3).mean(axis=0))
    out[max(-top, 0) :, max(-left, 0) :][: inside.shape[0], : inside.shape[1]] = inside
    return out


def _off_centre(boxes: np.ndarray, side: int) -> np.ndarray:
    """Return (N,) how far boxes are from the middle of a square, in its sides: another face may stand beside."""
    return np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 / side - 0.5).max(axis=1)


def _is_sure(detections: Detections) -> np.ndarray:
    return rightness(detections) >= TURNED_SCORE


def _best(detections: Detections) -> float:
    return float(np.where(_is_sure(detections), rightness(detections), 0.0).max(initial=0.0))
