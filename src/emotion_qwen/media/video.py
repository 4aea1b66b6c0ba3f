"""Video file to frames: only the wanted frames are converted, and only what they depend on is decoded.

The packets' times and keyframes are read first. Then, for each stretch between keyframes that holds a wanted frame, the
packets up to the last wanted one are decoded; frames nothing depends on are skipped by the decoder unless wanted.

An interlaced frame holds two pictures a fiftieth of a second apart, woven line by line. Where something moves, its
edges become combs that no eye or model takes for a face; so one of the two is read, at half the lines.
"""

from __future__ import annotations

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

_LONG_GAP = 64  # packets; reading over fewer costs less than a seek
_FORGETFUL = ("apng",)  # decoders that lose the file's header when they are flushed, so they cannot begin again
_SKIP, _WANT, _DRAIN = 0, 1, 2  # what a needed packet is: only referred to, wanted, the last of its stretch


def read_video(
    path: str | Path, settings: ClipSettings, *, start: float | None = None, end: float | None = None
) -> Clip:
    """Read evenly spaced frames of a video with the times at which they are shown.

    Sound is not read. Pixels are taken as square. Of an interlaced frame the upper field is read; a warning says so.

    Args:
        path: any file that FFmpeg reads.
        settings: frame budget and working side.
        start: seconds from the first frame; earlier frames are left out.
        end: seconds; frames from here on are left out.

    Returns:
        A clip of T frames; T is even unless the video has a single frame, or damaged frames are left out.

    Raises:
        MediaError: the file is missing, empty, text, without an index, without picture or without a decodable frame,
            or the span from `start` to `end` holds nothing.
    """
    path = Path(path)
    with open_video(path) as (container, stream):
        timeline = read_timeline(str(path), container, stream)
        restarts = stream.codec_context.name not in _FORGETFUL
    try:
        wanted = timeline.stamps[choose_frames(timeline, settings, start, end)]
    except MediaError as error:
        raise MediaError(f"{str(path)!r}: {error}") from error
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


def working_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Reduce (height, width) so that the longer side is `side` and both are even; smaller sizes stay as they are."""
    longer = max(height, width)
    if longer <= side:
        return height, width
    return tuple(max(2, round(length * side / longer / 2) * 2) for length in (height, width))  # type: ignore[return-value]


class _Gathered:
    """The wanted frames in one array of their final size; never more than those are held."""

    def __init__(self, count: int, side: int) -> None:
        self.count, self.side = count, side
        self.frames: np.ndarray | None = None
        self.stamps: list[int] = []
        self.size = (0, 0)
        self.fault = ""
        self.converter = FrameConverter(fields=True)

    def add(self, stamp: int, frame: VideoFrame) -> None:
        """Convert one decoded frame to upright RGB of the working size."""
        swap = orientation(frame)[0]
        height, width = working_size(frame.height, frame.width, self.side)
        if self.frames is not None:  # a stream may change its size; all frames get that of the first
            shape = self.frames.shape[1:3]
            height, width = shape[::-1] if swap else shape
        size = (frame.width, frame.height) if swap else (frame.height, frame.width)
        picture = self.converter.rgb(frame, (height, width))
        if self.frames is None:
            self.frames = np.empty((self.count, *picture.shape), dtype=np.uint8)
            self.size = size
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
    """Yield (stamp, frame) of the wanted stamps; a frame that is missing is replaced by the next one, if any."""
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
    """Packets to decode without a gap.

    Attributes:
        roles: stamp -> what the packet is, in file order; those decoded are taken out.
        key: stamp of the keyframe it begins with.
        gap: packets between the stretch before and this one.
    """

    roles: dict[int, int]
    key: int
    gap: int


def _plan(timeline: Timeline, wanted: np.ndarray, restarts: bool) -> list[_Stretch]:
    """Find the packets to decode: from each wanted frame back to the keyframe it leans on, or to the first of all."""
    order = timeline.decode_order
    needed = np.zeros(len(order), dtype=bool)
    is_wanted = np.isin(order, wanted)
    keys = timeline.keys.tolist()
    for place in np.flatnonzero(is_wanted).tolist():
        # A frame shown before the keyframe that precedes it in the file leans on the keyframe before that.
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
    """Decode stretch by stretch, seeking over long gaps; where a seek lands too late, read from the start instead."""
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
    """Decode the stretches and take them off the list; leave those that a seek did not reach."""
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
        # Nothing leans on a non-reference frame: unless it is wanted, it need not be decoded.
        context.skip_frame = "DEFAULT" if role & _WANT else "NONREF"
        with suppress(av.error.InvalidDataError):  # a damaged packet; its frame is counted as missing
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
    # The end came before what the timeline promised: give what the decoder still holds, and do not try again.
    stretches.clear()
    yield from context.decode(None)


def _all_frames(path: Path) -> Iterator[tuple[int, VideoFrame]]:
    """Decode everything, numbering the frames, for files that tell no times."""
    with open_video(path) as (container, stream):
        stream.thread_type = "AUTO"
        yield from enumerate(container.decode(stream))
