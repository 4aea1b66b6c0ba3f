"""Facial Emotion Capture on frames: keep the tracked faces, fade out the rest, and crop a square per person.

The published figure (official_release.md, 6.1) shows frames in which face rectangles keep full contrast and everything
else is nearly white; these are combined with the original frames before one vision encoder. It does not say how. Here
they are blended with a given strength, so that the number of visuals and of tokens does not change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from emotion_qwen.errors import SettingsError
from emotion_qwen.records import FaceTrack

WASH = 0.85
"""Share of white in the faded part; the remainder keeps the scene just recognisable."""
SOFTNESS = 0.2
"""Width of the soft edge outside the kept rectangle, as a share of the longer side of the box."""
RIGHTED_FROM = 20.0
"""Degrees of roll from which a crop is rotated upright. Smaller rolls are kept, because models were trained on faces
that were not aligned."""
TIGHTEST = -0.25
"""Smallest margin of a crop, which leaves half of the box's side."""


def capture(frames: np.ndarray, tracks: Sequence[FaceTrack], strength: float, margin: float = 0.2) -> np.ndarray:
    """Fade out everything but the tracked faces.

    A frame without a track is returned unchanged. Within a gap of a track the box is interpolated linearly.

    Args:
        frames: (T, H, W, 3) uint8 RGB; not modified.
        tracks: faces in these frames.
        strength: share of the faded frames in the blend, 0 (original frames) to 1.
        margin: area kept on each side of the box, as a share of its longer side.

    Returns:
        (T, H, W, 3) uint8; the same array object if there is no track or the strength is 0.

    Raises:
        SettingsError: strength outside 0..1 or a negative margin.
    """
    if not 0 <= strength <= 1:
        raise SettingsError(f"capture strength {strength!r}; expected 0 (off) to 1 (faces alone); set it inside")
    _check_margin(margin)
    if not tracks or strength == 0:
        return frames
    out = frames.copy()
    height, width = frames.shape[1:3]
    for index, frame in enumerate(frames):
        boxes = [box for track in tracks if (box := frame_box(track, index)) is not None]
        if boxes:
            kept = np.max([_kept(box, height, width, margin) for box in boxes], axis=0)
            amount = ((1 - kept) * np.float32(strength * WASH))[..., None]
            out[index] = np.rint(frame + amount * (255 - frame.astype(np.float32))).astype(np.uint8)
    return out


def person_crops(frames: np.ndarray, track: FaceTrack, *, margin: float = 0.2, count: int = 8) -> list[np.ndarray]:
    """Crop squares around one face, evenly spaced over the frames in which it was detected.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        track: the face.
        margin: area around the face on each side, as a share of the longer side of its box; negative values crop into
            the box.
        count: number of crops; all detections if there are fewer.

    Returns:
        One (S, S, 3) uint8 array per frame of `chosen_frames`, where S is the longer side with its margins. Areas
        outside the frame repeat its border pixels. A face with a roll of `RIGHTED_FROM` or more is rotated upright.

    Raises:
        SettingsError: a count below 1 or a margin below `TIGHTEST`.
    """
    _check_margin(margin, TIGHTEST)
    crops = []
    for place in _places(track, count):
        x1, y1, x2, y2 = track.boxes[place].tolist()
        side = max(1, round(max(x2 - x1, y2 - y1) * (1 + 2 * margin)))
        middle, frame = ((x1 + x2) / 2, (y1 + y2) / 2), frames[track.frames[place]]
        roll = 0.0 if track.rolls is None else float(track.rolls[place])
        if abs(roll) < RIGHTED_FROM:
            crops.append(_square(frame, middle, side))
            continue
        spare = math.ceil(side * (math.sqrt(2) - 1) / 2)  # distance of the corners
        crops.append(rotated(_square(frame, middle, side + 2 * spare), roll)[spare:, spare:][:side, :side])
    return crops


def rotated(square: np.ndarray, roll: float) -> np.ndarray:
    """Rotate a square (S, S, 3) uint8 by `roll` degrees counterclockwise, which makes a face with this roll upright."""
    return np.array(Image.fromarray(square).rotate(roll, Image.Resampling.BICUBIC))


def _square(frame: np.ndarray, middle: tuple[float, float], side: int) -> np.ndarray:
    """Crop a square of `side` pixels around x, y; areas outside the frame repeat its border pixels."""
    left, top = round(middle[0] - side / 2), round(middle[1] - side / 2)
    rows = np.clip(np.arange(top, top + side), 0, frame.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, frame.shape[1] - 1)
    return frame[rows[:, None], columns[None, :]]


def chosen_frames(track: FaceTrack, count: int) -> np.ndarray:
    """Return the (at most `count`,) int64 indices of the frames that `person_crops` crops, ascending.

    Raises:
        SettingsError: a count below 1.
    """
    return track.frames[_places(track, count)]


def best_box(track: FaceTrack) -> np.ndarray:
    """Return the (4,) float32 box (x1, y1, x2, y2 in pixels) with the highest score; the earliest of equal ones."""
    return track.boxes[int(track.scores.argmax())]


def frame_box(track: FaceTrack, index: int) -> np.ndarray | None:
    """Return the (4,) box in frame `index`, interpolated within a gap; None before and after the track."""
    if not track.frames[0] <= index <= track.frames[-1]:
        return None
    after = int(np.searchsorted(track.frames, index))
    if track.frames[after] == index:
        return track.boxes[after]
    start, end = track.frames[after - 1], track.frames[after]
    share = (index - start) / (end - start)
    return track.boxes[after - 1] * (1 - share) + track.boxes[after] * share


def boxes_between(boxes: np.ndarray, known: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Interpolate (K, 4) boxes at ascending times `known` (K,) linearly at `times` (N,): (N, 4)."""
    return np.stack([np.interp(times, known, side) for side in boxes.T], axis=1)


def _places(track: FaceTrack, count: int) -> np.ndarray:
    """Return evenly spaced indices into the track: the middles of `count` equal parts."""
    if count < 1:
        raise SettingsError(f"{count!r} crops per person; expected at least 1; switch person_crops off to have none")
    total = len(track.frames)
    part = min(count, total)
    return ((2 * np.arange(part) + 1) * total) // (2 * part)


def _kept(box: np.ndarray, height: int, width: int, margin: float) -> np.ndarray:
    """Return the (H, W) float32 share of each pixel to keep: 1 inside box and margin, with a smooth transition to 0."""
    longer = max(float(box[2] - box[0]), float(box[3] - box[1]), 1.0)

    def ramp(low: float, high: float, length: int) -> np.ndarray:
        middle = np.arange(length, dtype=np.float32) + 0.5
        outside = np.maximum(low - margin * longer - middle, middle - high - margin * longer)
        rise = np.clip(1 - outside / (SOFTNESS * longer), 0, 1)
        return rise * rise * (3 - 2 * rise)

    return ramp(float(box[1]), float(box[3]), height)[:, None] * ramp(float(box[0]), float(box[2]), width)[None, :]


def _check_margin(margin: float, lowest: float = 0.0) -> None:
    if margin < lowest:
        raise SettingsError(
            f"margin {margin!r}; expected {lowest:g} or more, a share of the longer side of the box; raise it"
        )
