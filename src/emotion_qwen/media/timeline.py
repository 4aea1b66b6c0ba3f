"""Determine the display time of each frame of a video, and choose the frames to read.

Times are taken from the packets, without decoding, because the frame count and duration in a container may be missing
or wrong. The number of frames follows the published release (`train/vision_process.py`).
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction

import av.container
import av.error
import av.video.stream
import numpy as np

from emotion_qwen.errors import MediaError
from emotion_qwen.settings import ClipSettings

FRAME_FACTOR = 2  # two frames share a patch
_EPSILON = 1e-6  # durations are quotients of integers; 10 s must not be rounded down to 9.999


@dataclass(frozen=True, eq=False)
class Timeline:
    """The times of the frames of a video stream, known before decoding.

    Attributes:
        stamps: (K,) int64 presentation timestamps of the displayable frames, ascending, in units of `unit`.
        decode_order: (P,) int64 timestamps of all packets in file order.
        keys: (M,) int64 indices into `decode_order` at which decoding can start.
        unit: seconds per unit of a timestamp.
        duration: from the first frame to the end of the last, seconds.
        rate: frames per second.
        counted: whether the file has no times; `stamps` then count the frames in the order of the decoder.
        warnings: problems of the file.
    """

    stamps: np.ndarray
    decode_order: np.ndarray
    keys: np.ndarray
    unit: Fraction
    duration: float
    rate: float
    counted: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def times(self) -> np.ndarray:
        """Times of the frames relative to the first, (K,) seconds."""
        return (self.stamps - self.stamps[0]) * float(self.unit)


def frame_count(total: int, native_fps: float, settings: ClipSettings) -> int:
    """Return how many frames of a video to read.

    The rule of the release: duration x fps, at least `min_frames` rounded up to even, at most `max_frames` rounded down
    to even, an even number not above the number of frames. In addition, a video with a single frame is accepted, for
    which the release fails, and an infinite rate stands for all frames, also if their number is odd.

    Args:
        total: number of frames in the video, at least 1.
        native_fps: its frames per second.
        settings: `fps`, `min_frames` and `max_frames` are used.
    """
    if math.isinf(settings.fps):
        return total
    least = math.ceil(settings.min_frames / FRAME_FACTOR) * FRAME_FACTOR
    most = min(settings.max_frames, total) // FRAME_FACTOR * FRAME_FACTOR
    count = min(max(total / native_fps * settings.fps, least), most, total)
    return max(math.floor((count + _EPSILON) / FRAME_FACTOR) * FRAME_FACTOR, 1)


def choose_frames(timeline: Timeline, settings: ClipSettings, start: float | None, end: float | None) -> np.ndarray:
    """Choose the frames nearest to evenly spaced times, including the first and last frame.

    At a constant frame rate these are evenly spaced frames, as in the release. At a variable rate, each frame is chosen
    at most once, so the result may be smaller than the budget. A budget for all frames returns all of them.

    Args:
        timeline: of the video.
        settings: frame budget.
        start: seconds; earlier frames are omitted.
        end: seconds; frames from this time on are omitted.

    Returns:
        (T,) int64 indices into `timeline.stamps`, ascending. For a span shorter than a frame, the frame shown then.

    Raises:
        MediaError: the span is empty or outside the video.
    """
    times = timeline.times
    low = 0.0 if start is None else float(start)
    high = math.inf if end is None else float(end)
    if not 0 <= low < high:
        raise MediaError(f"start {low:g} s and end {high:g} s; expected 0 <= start < end")
    if low >= timeline.duration:
        raise MediaError(f"start {low:g} s is after the end of the video ({timeline.duration:.2f} s); start earlier")
    first = int(np.searchsorted(times, low - _EPSILON))
    last = int(np.searchsorted(times, high - _EPSILON))
    if last <= first:
        first, last = max(last - 1, 0), max(last, 1)
    count = frame_count(last - first, timeline.rate, settings)
    if count == last - first:
        return np.arange(first, last)
    while True:
        wanted = np.linspace(times[first], times[last - 1], count)
        places = np.interp(wanted, times[first:last], np.arange(first, last))  # the nearer of two frames
        chosen = np.unique(np.rint(places.round(6)).astype(np.int64))
        if len(chosen) % FRAME_FACTOR == 0 or count == 1:
            return chosen
        count -= 1


def read_timeline(place: str, container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> Timeline:
    """Read the times of all frames from the packets, without decoding.

    Args:
        place: name of the file in messages.
        container: open; read to its end by this call.
        stream: its video stream.

    Raises:
        MediaError: the stream has no frame.
    """
    order, shown, keys, last_length = _read_packets(container, stream)
    if not order:
        raise MediaError(f"{place!r}: its picture stream has no frames; the file is damaged or was cut off")
    known = [stamp for stamp in order if stamp is not None]
    nominal = stream.average_rate or stream.guessed_rate or Fraction(25)
    if len(known) < len(order) or not shown:
        numbers = np.arange(len(order), dtype=np.int64)
        rate = float(nominal)
        warning = f"the file tells no frame times; {rate:g} frames per second are assumed"
        return Timeline(numbers, numbers, numbers[:1], 1 / nominal, len(order) / rate, rate, True, (warning,))
    unit = stream.time_base or Fraction(1, 1000)
    stamps = np.unique(np.array(shown, dtype=np.int64))
    duration = _duration(stamps, last_length, float(unit), nominal)
    rate = len(stamps) / duration
    # For a constant rate, the nominal value is exact, while timestamps may be rounded (milliseconds in Matroska).
    if abs(len(stamps) / float(nominal) - duration) < 0.5 / rate:
        rate = float(nominal)
    warnings = _cut_short(container, stream, duration, rate)
    places = np.array(keys or [0], dtype=np.int64)
    return Timeline(stamps, np.array(known, dtype=np.int64), places, unit, duration, rate, False, warnings)


def _read_packets(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> tuple[list[int | None], list[int], list[int], int]:
    """Return (timestamps in file order, displayed timestamps, indices of keyframes, length of the last frame)."""
    order: list[int | None] = []
    shown: list[int] = []
    keys: list[int] = []
    last, length = -(2**62), 0
    with suppress(av.error.FFmpegError):  # the end is damaged; everything before it is usable
        for packet in container.demux(stream):
            if packet.size == 0:  # PyAV's end-of-stream packet
                continue
            stamp = packet.pts
            if packet.is_keyframe:
                keys.append(len(order))
            order.append(stamp)
            # Outside the edit list (discard), or truncated by the end of the file (corrupt): decoded but not displayed.
            if stamp is None or packet.is_discard or packet.is_corrupt:
                continue
            shown.append(stamp)
            if stamp > last:
                last, length = stamp, packet.duration or 0
    return order, shown, keys, length


def _duration(stamps: np.ndarray, last_length: int, unit: float, nominal: Fraction) -> float:
    span = float(stamps[-1] - stamps[0]) * unit
    if last_length > 0:
        return span + last_length * unit
    return span + (span / (len(stamps) - 1) if len(stamps) > 1 else 1 / float(nominal))


def _cut_short(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, duration: float, rate: float
) -> tuple[str, ...]:
    """Return a warning if the stream ends clearly before the time declared in its header."""
    declared = 0.0
    if stream.duration and stream.time_base:
        declared = float(stream.duration * stream.time_base)
    elif container.duration and len(container.streams) == 1:  # of the longest stream, possibly the sound
        declared = (container.duration - max(container.start_time or 0, 0)) / 1_000_000
    if declared - duration <= max(0.5, 2 / rate):
        return ()
    return (
        f"the video ends at second {duration:.2f} of the {declared:.2f} it declares: the file was cut short or its end "
        "is damaged",
    )
