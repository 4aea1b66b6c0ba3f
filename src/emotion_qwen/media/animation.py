"""Read animated pictures (GIF, PNG, WebP) with Pillow as frames on a white ground, each with its own delay.

FFmpeg is not used here: version 8 cannot read animated WebP, and its decoder for animated PNG fails after a seek.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from emotion_qwen.errors import MediaError, printable
from emotion_qwen.media.picture import DAMAGE, flat_rgb, open_picture
from emotion_qwen.media.timeline import Timeline, choose_frames
from emotion_qwen.media.video import working_size
from emotion_qwen.records import Clip
from emotion_qwen.settings import ClipSettings

_UNIT = Fraction(1, 1000)
_TOO_SHORT, _INSTEAD = 10, 100  # milliseconds; browsers show a frame with a shorter delay for this long


def read_animation(
    path: str | Path, settings: ClipSettings, *, start: float | None = None, end: float | None = None
) -> Clip:
    """Read evenly spaced frames of an animated picture and their display times.

    Args:
        path: an animated GIF, PNG or WebP.
        settings: frame budget and working side.
        start: seconds from the first frame; earlier frames are omitted.
        end: seconds; frames from this time on are omitted.

    Raises:
        MediaError: the file cannot be read, none of its frames can be decoded, or the span contains no frame.
    """
    path = Path(path)
    with open_picture(path) as image:
        first = 1 if getattr(image, "default_image", False) else 0  # the still picture for viewers without APNG support
        delays, fault = _delays(image, first)
        if not delays:
            raise MediaError(f"{str(path)!r}: none of its frames can be decoded ({fault}); fetch the file again")
        ends = np.cumsum(delays)
        stamps = np.concatenate([[0], ends[:-1]])
        duration = float(ends[-1] * _UNIT)
        timeline = Timeline(stamps, stamps, np.zeros(1, np.int64), _UNIT, duration, len(delays) / duration)
        try:
            chosen = choose_frames(timeline, settings, start, end)
        except MediaError as error:
            raise MediaError(f"{str(path)!r}: {error}") from error
        height, width = working_size(image.height, image.width, settings.working_side)
        frames = np.empty((len(chosen), height, width, 3), np.uint8)
        for place, number in enumerate(chosen.tolist()):
            image.seek(first + number)
            picture = flat_rgb(image)
            if picture.size != (width, height):
                picture = picture.resize((width, height), Image.Resampling.BICUBIC)
            frames[place] = np.asarray(picture)
        size = (image.height, image.width)
    warnings = (f"the moving picture breaks off after {len(delays)} frames: {fault}",) if fault else ()
    return Clip(frames, timeline.times[chosen], printable(path), duration=duration, size=size, warnings=warnings)


def _delays(image: Image.Image, first: int) -> tuple[list[int], str]:
    """Return the display time of each frame in milliseconds, and why reading ended early ("" if it did not)."""
    delays: list[int] = []
    try:
        for number in range(first, getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()  # WebP provides the delay only after decoding
            delay = round(image.info.get("duration") or 0)
            delays.append(delay if delay > _TOO_SHORT else _INSTEAD)
    except DAMAGE as error:
        return delays, " ".join(str(error).split())
    return delays, ""
