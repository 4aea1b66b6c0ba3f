"""When each frame of a video is shown, and which frames are taken.

The times come from the packets, which are read without being decoded: containers' own frame counts and durations may
be missing or wrong. The count of frames follows the published release (`train/vision_process.py`).
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
_EPSILON = 1e-6  # durations are quotients of integers; 10 s must not floor to 9.999


@dataclass(frozen=True, eq=False)
class Timeline:
    """The frames of a video stream before any is decoded.

    Attributes:
        stamps: (K,) int64 presentation stamps of the frames that can be shown, ascending, in units of `unit`.
        decode_order: (P,) int64 stamps of all packets as they come in the file.
        keys: (M,) int64 places in `decode_order` at which decoding can begin.
        unit: seconds per stamp.
        duration: seconds from the first frame to the end of the last.
        rate: frames per second.
        counted: the file tells no times: stamps are the numbers of the frames as the decoder gives them.
        warnings: what is wrong with the file.
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
        """(K,) seconds of each frame from the first."""
        return (self.stamps - self.stamps[0]) * float(self.unit)


def frame_count(total: int, native_fps: float, settings: ClipSettings) -> int:
    """Tell how many of a video's frames are taken.

    The release's rule: duration x fps, at least `min_frames` rounded up to even, at most `max_frames` rounded down to
    even, never more than there are, even. Beyond it, a single frame is taken as it is where the release fails.

    Args:
        total: frames of the video, at least 1.
        native_fps: frames per second of the video.
        settings: `fps`, `min_frames` and `max_frames`.
    """
    least = math.ceil(settings.min_frames / FRAME_FACTOR) * FRAME_FACTOR
    most = min(settings.max_frames, total) // FRAME_FACTOR * FRAME_FACTOR
    count = min(max(total / native_fps * settings.fps, least), most, total)
    return max(math.floor((count + _EPSILON) / FRAME_FACTOR) * FRAME_FACTOR, 1)


def choose_frames(timeline: Timeline, settings: ClipSettings, start: float | None, end: float | None) -> np.ndarray:
    """Choose the frames nearest to evenly spaced times, first and last included.

    At a constant frame rate these are evenly spaced frames, as the release takes them. At a variable rate a stretch
    with few frames gives each of them once, so fewer frames than the budget allows may come. A budget for all frames
    takes all of them.

    Args:
        timeline: of the video.
        settings: how many frames to take.
        start: seconds; frames before are left out.
        end: seconds; frames from here on are left out.

    Returns:
        (T,) int64 indices into `timeline.stamps`, ascending. A span shorter than a frame gives the frame shown in it.

    Raises:
        MediaError: the span is empty, or lies outside the video.
    """
    times = timeline.times
    low = 0.0 if start is None else float(start)
    high = math.inf if end is None else float(end)
    if not 0 <= low < high:
        raise MediaError(f"start {low:g} s and end {high:g} s; expected 0 <= start < end")
    if low >= timeline.duration:
        raise MediaError(f"start {low:g} s lies behind the end of the video ({timeline.duration:.2f} s); start earlier")
    first = int(np.searchsorted(times, low - _EPSILON))
    last = int(np.searchsorted(times, high - _EPSILON))
    if last <= first:
        first, last = max(last - 1, 0), max(last, 1)
    count = frame_count(last - first, timeline.rate, settings)
    if count == last - first:
        return np.arange(first, last)
    while True:
        wanted = np.linspace(times[first], times[last - 1], count)
        places = np.interp(wanted, times[first:last], np.arange(first, last))  # between two frames, the nearer
        chosen = np.unique(np.rint(places.round(6)).astype(np.int64))
        if len(chosen) % FRAME_FACTOR == 0 or count == 1:
            return chosen
        count -= 1


def read_timeline(place: str, container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> Timeline:
    """Read the times of all frames from the packets, without decoding.

    Args:
        place: the file, for messages.
        container: opened; it stands at its end afterwards.
        stream: the picture stream.

    Raises:
        MediaError: there is no frame.
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
    # A regular video's nominal rate is exact where stamps are rounded, to milliseconds in Matroska.
    if abs(len(stamps) / float(nominal) - duration) < 0.5 / rate:
        rate = float(nominal)
    warnings = _cut_short(container, stream, duration, rate)
    places = np.array(keys or [0], dtype=np.int64)
    return Timeline(stamps, np.array(known, dtype=np.int64), places, unit, duration, rate, False, warnings)


def _read_packets(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> tuple[list[int | None], list[int], list[int], int]:
    """Read (stamps in file order, stamps of frames that are shown, places of keyframes, length of the last frame)."""
    order: list[int | None] = []
    shown: list[int] = []
    keys: list[int] = []
    last, length = -(2**62), 0
    with suppress(av.error.FFmpegError):  # a damaged end: what came before it can be used
        for packet in container.demux(stream):
            if packet.size == 0:  # PyAV's end mark
                continue
            stamp = packet.pts
            if packet.is_keyframe:
                keys.append(len(order))
            order.append(stamp)
            # Outside the edit list (discard), or cut by the end of the file (corrupt): decoded, not shown.
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
    """Warn when the stream ends clearly before the time its header declares."""
    declared = 0.0
    if stream.duration and stream.time_base:
        declared = float(stream.duration * stream.time_base)
    elif container.duration and len(container.streams) == 1:  # with sound, the longest stream sets this figure
        declared = (container.duration - max(container.start_time or 0, 0)) / 1_000_000
    if declared - duration <= max(0.5, 2 / rate):
        return ()
    return (
        f"the video ends at second {duration:.2f} of the {declared:.2f} it declares: the file was cut short or its end "
        "is damaged",
    )
