"""Read frames of a video: only chosen frames are converted, and only what they depend on is decoded.

The times and keyframes of the packets are read first. Then, in each stretch between keyframes that contains a chosen
frame, the packets up to the last chosen one are decoded; the decoder skips non-reference frames that were not chosen.

An interlaced frame contains two pictures, 1/50 s apart, in alternating lines. Moving edges look like combs, on which
face detection fails; so only one of the two pictures is read, with half the lines.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from emotion_qwen.errors import MediaError, printable
from emotion_qwen.media.container import open_video, reason
from emotion_qwen.media.frames import FrameConverter, orientation
from emotion_qwen.media.timeline import Timeline, choose_frames, frame_count, read_timeline
from emotion_qwen.records import Clip
from emotion_qwen.settings import ClipSettings

__all__ = ["frame_count", "read_video", "working_size"]

MOST_BYTES = 4 * 2**30
"""Largest size of the frames of one clip in memory."""
_LONG_GAP = 64  # packets; over a shorter distance, reading is cheaper than a seek
_FORGETFUL = ("apng",)  # decoders that lose the stream header when flushed and so cannot restart
_SKIP, _WANT, _DRAIN = 0, 1, 2  # role of a packet: only referenced, wanted, last of its stretch


def read_video(
    path: str | Path, settings: ClipSettings, *, start: float | None = None, end: float | None = None
) -> Clip:
    """Read evenly spaced frames of a video and their display times.

    Sound is not read. Pixels are assumed to be square. Of interlaced frames only the upper field is read, with a
    warning.

    Args:
        path: any video file that FFmpeg reads.
        settings: frame budget and working side.
        start: seconds from the first frame; earlier frames are omitted.
        end: seconds; frames from this time on are omitted.

    Returns:
        A clip of T frames. T is even unless the video has a single frame or damaged frames were omitted.

    Raises:
        MediaError: the file is missing, empty, text, or has no index, no picture or no decodable frame; or there is
            no frame between `start` and `end`.
    """
    path = Path(path)
    with open_video(path) as (container, stream):
        timeline = read_timeline(str(path), container, stream)
        restarts = stream.codec_context.name not in _FORGETFUL
        height, width = working_size(stream.height, stream.width, settings.working_side)
    try:
        wanted = timeline.stamps[choose_frames(timeline, settings, start, end)]
    except MediaError as error:
        raise MediaError(f"{str(path)!r}: {error}") from error
    if (size := len(wanted) * height * width * 3) > MOST_BYTES:
        raise MediaError(
            f"{str(path)!r}: {len(wanted):,} frames, {settings.fps:g} per second, would take {size / 2**30:.1f} GiB; "
            f"expected at most {MOST_BYTES / 2**30:g}: lower --fps, choose a part with --start and --end, or use "
            "--every-frame, which keeps no frames"
        )
    gathered = _Gathered(len(wanted), settings.working_side)
    try:
        for stamp, frame in _decode(path, timeline, wanted, restarts):
            gathered.add(stamp, frame)
    except av.error.FFmpegError as error:
        gathered.fault = reason(error)
    if gathered.frames is None or not gathered.stamps:
        raise MediaError(
            f"{str(path)!r}: none of its {len(timeline.stamps)} frames can be decoded "
            f"({gathered.fault or 'the picture data are damaged'}); fetch or record the file again"
        )
    return _clip(path, timeline, gathered, len(wanted))


@dataclass(frozen=True)
class VideoFrames:
    """Every frame of a video or of a part of it, read a few at once.

    Attributes:
        path: the file.
        timeline: of the video.
        numbers: (N,) int64 numbers of the frames in the video, from 0, ascending.
        side: longer side to which frames are reduced, pixels.
    """

    path: Path
    timeline: Timeline
    numbers: np.ndarray
    side: int

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.numbers)

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.timeline.rate

    @classmethod
    def open(cls, path: Path, side: int, *, start: float | None = None, end: float | None = None) -> VideoFrames:
        """Read the times of a video; arguments and errors are those of `read_video`."""
        with open_video(path) as (container, stream):
            timeline = read_timeline(str(path), container, stream)
        every = ClipSettings.of({"fps": math.inf})
        try:
            return cls(path, timeline, choose_frames(timeline, every, start, end), side)
        except MediaError as error:
            raise MediaError(f"{str(path)!r}: {error}") from error

    def parts(self, at_once: int) -> Iterator[tuple[np.ndarray, Clip]]:
        """Decode the frames in order.

        Args:
            at_once: maximum number of frames in memory.

        Yields:
            (T,) numbers of the frames, and a clip of them with the times of the whole video; frames that cannot be
            decoded are left out.
        """
        wanted = self.timeline.stamps[self.numbers]
        gathered = _Gathered(at_once, self.side)
        try:
            for stamp, frame in _decode(self.path, self.timeline, wanted, restarts=False):
                gathered.add(stamp, frame)
                if len(gathered.stamps) == at_once:
                    yield self._part(gathered)
                    gathered = gathered.emptied()
        except av.error.FFmpegError:
            pass  # the rest is damaged, as in `read_video`
        if gathered.stamps:
            yield self._part(gathered)

    def _part(self, gathered: _Gathered) -> tuple[np.ndarray, Clip]:
        numbers = np.searchsorted(self.timeline.stamps, gathered.stamps)
        return numbers, _clip(self.path, self.timeline, gathered, len(gathered.stamps))


def working_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Return (height, width) reduced to a longer side of `side`, both even; smaller sizes are unchanged."""
    longer = max(height, width)
    if longer <= side:
        return height, width
    return tuple(max(2, round(length * side / longer / 2) * 2) for length in (height, width))  # type: ignore[return-value]


class _Gathered:
    """Collects the wanted frames in one array of the working size; no other frames are kept in memory."""

    def __init__(self, count: int, side: int) -> None:
        self.count, self.side = count, side
        self.shape: tuple[int, int] | None = None
        self.frames: np.ndarray | None = None
        self.stamps: list[int] = []
        self.size = (0, 0)
        self.fault = ""
        self.converter = FrameConverter(fields=True)

    def emptied(self) -> _Gathered:
        """Return a new collection for the next frames of the same video."""
        other = _Gathered(self.count, self.side)
        other.shape, other.size, other.converter = self.shape, self.size, self.converter
        return other

    def add(self, stamp: int, frame: VideoFrame) -> None:
        """Convert one decoded frame to upright RGB of the working size and add it."""
        swap = orientation(frame)[0]
        height, width = working_size(frame.height, frame.width, self.side)
        if self.shape is not None:  # the size may change within a stream; the first frame determines that of all
            height, width = self.shape[::-1] if swap else self.shape
        size = (frame.width, frame.height) if swap else (frame.height, frame.width)
        picture = self.converter.rgb(frame, (height, width))
        if self.frames is None:
            self.shape = picture.shape[:2]
            self.frames = np.empty((self.count, *picture.shape), dtype=np.uint8)
            self.size = self.size if any(self.size) else size
        self.frames[len(self.stamps)] = picture
        self.stamps.append(stamp)


def _clip(path: Path, timeline: Timeline, gathered: _Gathered, wanted: int) -> Clip:
    warnings = list(timeline.warnings)
    decoded = len(gathered.stamps)
    stamps = np.array(gathered.stamps, dtype=np.int64)
    if decoded < wanted:
        warnings.append(f"{wanted - decoded} of {wanted} frames could not be decoded and are left out")
    if gathered.converter.interlaced:
        warnings.append(
            f"{gathered.converter.interlaced} of {decoded} frames are interlaced; one field of each was read"
        )
    if gathered.converter.high_range:
        warnings.append(
            f"{gathered.converter.high_range} of {decoded} frames are of high dynamic range; they were brought into "
            "the standard range"
        )
    assert gathered.frames is not None
    return Clip(
        frames=gathered.frames[:decoded],
        times=replace(timeline, stamps=np.concatenate([timeline.stamps[:1], stamps])).times[1:],
        source=printable(path),
        duration=timeline.duration,
        size=gathered.size,
        origin=float(timeline.stamps[0] * timeline.unit) if not timeline.counted else 0.0,
        warnings=tuple(warnings),
    )


def _decode(path: Path, timeline: Timeline, wanted: np.ndarray, restarts: bool) -> Iterator[tuple[int, VideoFrame]]:
    """Yield (timestamp, frame) for the wanted timestamps; a missing frame is replaced by the next one, if any."""
    pending = [int(stamp) for stamp in wanted[::-1]]
    decoded = _all_frames(path) if timeline.counted else _needed_frames(path, _plan(timeline, wanted, restarts))
    for stamp, frame in decoded:
        if pending and pending[-1] <= stamp:
            yield stamp, frame
            while pending and pending[-1] <= stamp:
                pending.pop()
        if not pending:
            return


@dataclass
class _Stretch:
    """Consecutive packets to decode.

    Attributes:
        roles: timestamp -> role of the packet, in file order; decoded packets are removed.
        key: timestamp of the keyframe at the start.
        gap: number of packets between the previous stretch and this one.
    """

    roles: dict[int, int]
    key: int
    gap: int


def _plan(timeline: Timeline, wanted: np.ndarray, restarts: bool) -> list[_Stretch]:
    """Find the packets to decode: from each wanted frame back to the keyframe it depends on, or to the first packet."""
    order = timeline.decode_order
    needed = np.zeros(len(order), dtype=bool)
    is_wanted = np.isin(order, wanted)
    keys = timeline.keys.tolist()
    for place in np.flatnonzero(is_wanted).tolist():
        # A frame displayed before the keyframe that precedes it in the file depends on an earlier keyframe.
        key = bisect_right(keys, place) - 1
        while key > 0 and order[keys[key]] > order[place]:
            key -= 1
        needed[(keys[key] if key >= 0 and restarts else 0) : place + 1] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[False], needed, [False]]))).tolist()
    stretches, before = [], 0
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        roles = np.where(is_wanted[first:last], _WANT, _SKIP)
        roles[-1] |= _DRAIN
        named = dict(zip(order[first:last].tolist(), roles.tolist(), strict=True))
        stretches.append(_Stretch(named, int(order[first]), first - before))
        before = last
    return stretches


def _needed_frames(path: Path, stretches: list[_Stretch]) -> Iterator[tuple[int, VideoFrame]]:
    """Decode stretch by stretch, seeking over long gaps; if a seek lands too late, read from the start instead."""
    seeking = True
    while stretches:
        with open_video(path) as (container, stream):
            stream.thread_type = "AUTO"
            for frame in _walk(container, stream, stretches, seeking):
                if frame.pts is not None:
                    yield frame.pts, frame
        seeking = False


def _walk(
    container: InputContainer, stream: VideoStream, stretches: list[_Stretch], seeking: bool
) -> Iterator[VideoFrame]:
    """Decode the stretches and remove them from the list; those that a seek did not reach remain."""
    context = stream.codec_context
    landing = False
    for packet in container.demux(stream):
        stamp = packet.pts
        if packet.size == 0 or stamp is None:
            continue
        if landing and stamp > stretches[0].key:
            return
        landing = False
        role = stretches[0].roles.pop(stamp, None)
        if role is None:
            continue
        # No other frame depends on a non-reference frame, so it is decoded only if wanted.
        context.skip_frame = "DEFAULT" if role & _WANT else "NONREF"
        with suppress(av.error.InvalidDataError):  # a damaged packet; its frame counts as missing
            yield from packet.decode()
        if role & _DRAIN:
            yield from context.decode(None)
            context.flush_buffers()
            del stretches[0]
            if not stretches:
                return
            if seeking and stretches[0].gap > _LONG_GAP:
                try:
                    container.seek(stretches[0].key, stream=stream)
                except av.error.FFmpegError:
                    return
                landing = True
    # The file ended earlier than the timeline states: flush the decoder and stop.
    stretches.clear()
    yield from context.decode(None)


def _all_frames(path: Path) -> Iterator[tuple[int, VideoFrame]]:
    """Decode and number all frames, for files without times."""
    with open_video(path) as (container, stream):
        stream.thread_type = "AUTO"
        yield from enumerate(container.decode(stream))
