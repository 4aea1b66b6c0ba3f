"""Small pictures of clips, for lists of many."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from emotion_qwen.errors import MediaError
from emotion_qwen.media.clip import read_clip
from emotion_qwen.records import EmotionReport
from emotion_qwen.settings import ClipSettings
from emotion_qwen.views.playhead import is_still

SIDE, QUALITY = 224, 72
"""Longer side in pixels, and quality of the JPEG."""
_BEFORE, _AFTER = 0.002, 0.5  # seconds; times in stored reports are rounded


def thumbnail(report: EmotionReport, media: Path) -> bytes:
    """Return the frame in which a face is seen best, else the first one, as a small JPEG.

    Args:
        report: the report.
        media: its file.

    Returns:
        b"" for a sound, and for a file that cannot be read.
    """
    settings = ClipSettings.of({"working_side": SIDE, "min_frames": 1, "max_frames": 2})
    start = None if is_still(report) else max(best_time(report) - _BEFORE, 0.0)
    try:
        frames = read_clip(media, settings, start=start, end=None if start is None else start + _AFTER).frames
    except MediaError:
        return b""
    picture, packed = Image.fromarray(frames[0]), io.BytesIO()
    picture.thumbnail((SIDE, SIDE))
    picture.save(packed, "JPEG", quality=QUALITY)
    return packed.getvalue()


def best_time(report: EmotionReport) -> float:
    """Return the time, in seconds, of the largest face that the detector is sure of; of the first frame without one."""
    seen = [sighting for person in report.people for sighting in person.seen]
    if not seen:
        return float((report.provenance.get("seconds") or [0.0])[0])

    def size(box: tuple[float, float, float, float]) -> float:
        return (box[2] - box[0]) * (box[3] - box[1])

    return max(seen, key=lambda sighting: sighting.score * size(sighting.box)).time
