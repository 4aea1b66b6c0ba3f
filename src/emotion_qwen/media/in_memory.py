"""Make clips of pictures and frames that are already in memory: arrays and PIL pictures.

They follow the rules for files: the same frames are chosen, reduced to the same working size, and PIL pictures are
converted as `read_picture` does, so that a picture has the same report in memory as in a lossless file.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from PIL import Image, ImageOps

from emotion_qwen.errors import MediaError, ShapeError
from emotion_qwen.media.picture import MAX_SIDE, flat_rgb
from emotion_qwen.media.timeline import Timeline, choose_frames
from emotion_qwen.media.video import working_size
from emotion_qwen.records import Clip
from emotion_qwen.settings import ClipSettings

Picture = np.ndarray | Image.Image
"""(H, W, 3) uint8 RGB, or a PIL picture of any mode."""


def picture_clip(picture: Picture, source: str = "picture") -> Clip:
    """Make a clip of one picture.

    Args:
        picture: (H, W, 3) uint8 RGB, or a PIL picture, whose orientation and transparency are applied.
        source: the name of the clip in its report.

    Raises:
        ShapeError: the array has another shape or type.
    """
    pixels = _pixels(picture)
    size, reduced = pixels.shape[:2], Image.fromarray(pixels)
    if max(size) > MAX_SIDE:
        reduced.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BICUBIC)
    return Clip(np.asarray(reduced)[None], np.zeros(1), source, still=True, size=(size[0], size[1]))


def frames_clip(
    frames: Sequence[Picture] | np.ndarray,
    frame_rate: float,
    settings: ClipSettings,
    *,
    start: float | None = None,
    end: float | None = None,
    source: str = "frames",
) -> Clip:
    """Make a clip of frames at a constant rate; as of a video file, evenly spaced frames are read.

    Args:
        frames: T pictures of one size, or (T, H, W, 3) uint8 RGB.
        frame_rate: frames per second of `frames`.
        settings: frame budget and working side.
        start: seconds from the first frame; earlier frames are omitted. `end`: frames from this time on are omitted.
        source: the name of the clip in its report.

    Raises:
        MediaError: there is no frame, the rate is not positive, or there is no frame between `start` and `end`.
        ShapeError: a frame is no picture, or the frames differ in size.
    """
    if not len(frames):
        raise MediaError("the list has no frames; expected at least one picture")
    if not 0 < frame_rate < float("inf"):
        raise MediaError(f"frame_rate is {frame_rate}; expected the frames per second of the list, for example 25")
    stamps = np.arange(len(frames), dtype=np.int64)
    unit = 1 / Fraction(frame_rate).limit_denominator(100_000)
    timeline = Timeline(stamps, stamps, stamps[:1], unit, len(frames) / frame_rate, frame_rate)
    chosen = choose_frames(timeline, settings, start, end)
    first = _pixels(frames[int(chosen[0])])
    size = first.shape[0], first.shape[1]
    height, width = working_size(*size, settings.working_side)
    pictures = np.empty((len(chosen), height, width, 3), np.uint8)
    for row, place in enumerate(chosen.tolist()):
        pixels = _pixels(frames[place])
        if pixels.shape != first.shape:
            raise ShapeError(f"frame {place} is {pixels.shape}, the first {first.shape}; expected frames of one size")
        if pixels.shape[:2] != (height, width):
            resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
            pixels = np.asarray(resized)
        pictures[row] = pixels
    return Clip(pictures, timeline.times[chosen], source, duration=timeline.duration, size=size)


def _pixels(picture: Picture) -> np.ndarray:
    """Return a picture as (H, W, 3) uint8 RGB.

    Raises:
        ShapeError: an array of another shape or type.
    """
    if isinstance(picture, Image.Image):
        return np.asarray(flat_rgb(ImageOps.exif_transpose(picture)))
    fits = isinstance(picture, np.ndarray) and picture.ndim == 3 and picture.dtype == np.uint8
    if not fits or picture.shape[2] != 3 or 0 in picture.shape:
        kind = f"{picture.dtype} {picture.shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
        raise ShapeError(f"the picture is {kind}; expected uint8 (H, W, 3) in RGB, or a PIL picture")
    return np.ascontiguousarray(picture)
