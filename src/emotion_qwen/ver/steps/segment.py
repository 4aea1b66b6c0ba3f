"""Find the shots of a video and divide them into clips: each from one shot, within length bounds, with whole
utterances.

Cuts are found by PySceneDetect's content detector, frame by frame in one pass, whatever the length of the video. Times
are those of the frames, so a variable frame rate causes no shift. If words are known, a clip that would begin or end
inside an utterance is shortened by that part of the shot, and a long shot is divided between utterances.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av.error
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from emotion_qwen.errors import MediaError
from emotion_qwen.extras import optional
from emotion_qwen.files import named_by
from emotion_qwen.media.container import open_video
from emotion_qwen.media.frames import orientation
from emotion_qwen.media.subtitles import find_subtitles, read_container_subtitles, read_subtitles
from emotion_qwen.media.timeline import Timeline, read_timeline
from emotion_qwen.media.video import working_size
from emotion_qwen.records import Utterance
from emotion_qwen.ver.settings import SegmentSettings
from emotion_qwen.ver.store.columns import KEPT, REJECTED, Row

_LONG_SPEECH = "an utterance is longer than a clip may be"
_TOUCH = 0.15  # seconds by which subtitles may overlap a cut without counting as cut
_LEAST_SHOT = 0.4  # seconds; cuts closer together are flashes


@dataclass(frozen=True)
class Shots:
    """The shots of a video.

    Attributes:
        timeline: of the video.
        cuts: ascending indices of the frames that begin a shot, including the first.
        size: (width, height) as displayed, in pixels.
        turned: whether the stored orientation of the frames differs from the displayed one.
        decoded: number of frames that could be decoded.
    """

    timeline: Timeline
    cuts: tuple[int, ...]
    size: tuple[int, int]
    turned: bool
    decoded: int


@dataclass(frozen=True)
class SegmentVideo:
    """Turn one source video into rows, one per clip; a video that cannot be read gives one rejected row."""

    settings: SegmentSettings

    def __call__(self, item: Row) -> list[Row]:
        """Return the rows of one video, in order of time."""
        path, kept = named_by(item["path"]), _kept(item)
        try:
            shots = find_shots(path, self.settings)
            words, warnings = read_words(path, shots.timeline)
        except MediaError as error:
            return self.lost(item, str(error))
        warnings = [*shots.timeline.warnings, *warnings]
        if shots.decoded < len(shots.timeline.stamps):
            missing = len(shots.timeline.stamps) - shots.decoded
            warnings.append(f"{missing} of {len(shots.timeline.stamps)} frames could not be decoded")
        common = {
            **kept, "unit": str(shots.timeline.unit), "counted": shots.timeline.counted, "turned": shots.turned,
            "width": shots.size[0], "height": shots.size[1], "source_seconds": shots.timeline.duration,
            "warnings": json.dumps(warnings, ensure_ascii=False),
        }  # fmt: skip
        return [self._row(common, shots.timeline, words, part) for part in divide(shots, words, self.settings)]

    def lost(self, item: Row, reason: str) -> list[Row]:
        """Return one rejected row; see `pools.Work`."""
        reason = f"unreadable: {reason}"
        return [{**_kept(item), "clip": f"{item['source_id']}-none", "status": REJECTED, "reason": reason}]

    def _row(self, common: Row, timeline: Timeline, words: tuple[Utterance, ...], part: ClipRange) -> Row:
        times = np.append(timeline.times, timeline.duration)
        # The last clip ends with its last frame, so that its sound is whole; numbered frames have no duration.
        length = 0 if timeline.counted else round(timeline.duration / float(timeline.unit))
        stamps = np.append(timeline.stamps, max(timeline.stamps[-1] + 1, timeline.stamps[0] + length))
        start, end = float(times[part.first]), float(times[part.last])
        lines = [
            [round(max(utterance.start - start, 0), 3), round(min(utterance.end, end) - start, 3), utterance.text]
            for utterance in words
            if utterance.start < end - _TOUCH and utterance.end > start + _TOUCH
        ]
        return {
            **common, "clip": f"{common['source_id']}-{part.first:07d}", "start": start, "end": end,
            "first_frame": part.first, "frames": part.last - part.first,
            "first_stamp": int(stamps[part.first]), "end_stamp": int(stamps[part.last]),
            "words": json.dumps(lines, ensure_ascii=False), "status": REJECTED if part.reason else KEPT,
            "reason": part.reason,
        }  # fmt: skip


def _kept(item: Row) -> Row:
    return {name: item.get(name) or "" for name in ("source_id", "path", "source", "license", "group", "known")}


@dataclass(frozen=True)
class ClipRange:
    """Frames from `first` up to, but not including, `last`; `reason` is why it is rejected, or ""."""

    first: int
    last: int
    reason: str = ""


def find_shots(path: Path, settings: SegmentSettings) -> Shots:
    """Find the frames at which shots begin.

    Raises:
        MediaError: the video cannot be read, or none of its frames can be decoded.
        MissingPackage: PySceneDetect is not installed.
    """
    detect = optional("scenedetect", "ver")
    with open_video(path) as (container, stream):
        timeline = read_timeline(str(path), container, stream)
    rate = Fraction(max(timeline.rate, 0.01)).limit_denominator(1001)
    least = max(1, round(_LEAST_SHOT * timeline.rate))
    detector = detect.ContentDetector(threshold=settings.threshold, min_scene_len=least)
    cuts, size, turned, decoded = {0}, (0, 0), False, 0
    for index, picture, shown, turn in _small_frames(path, timeline, settings.side):
        size, turned = size if decoded else shown, turned or turn
        decoded += 1
        cuts_here = detector.process_frame(detect.FrameTimecode(index, fps=rate), picture)
        cuts |= {cut.frame_num for cut in cuts_here}
    if not decoded:
        raise MediaError(f"{str(path)!r}: none of its {len(timeline.stamps)} frames can be decoded; fetch it again")
    return Shots(timeline, tuple(sorted(cuts)), size, turned, decoded)


def divide(shots: Shots, words: tuple[Utterance, ...], settings: SegmentSettings) -> list[ClipRange]:
    """Divide shots into parts within the length bounds that begin and end between utterances."""
    timeline = shots.timeline
    times = np.append(timeline.times, timeline.duration)
    parts: list[ClipRange] = []
    for first, last in pairwise((*shots.cuts, len(timeline.stamps))):
        low, high = _outside_words(times, first, last, words)
        if (low, high) != (first, last) and times[high] - times[low] < settings.shortest:
            parts.append(ClipRange(first, last, "words continue across its cuts, and the rest is too short"))
            continue
        parts += _within_bounds(times, low, high, words, settings)
    return parts


def read_words(path: Path, timeline: Timeline) -> tuple[tuple[Utterance, ...], list[str]]:
    """Read the words of a source from the subtitle file next to it, else from its container; unreadable words give a
    warning.

    Raises:
        MediaError: access to the folder of the video is denied.
    """
    beside = find_subtitles(path)
    origin = 0.0 if timeline.counted else float(timeline.stamps[0] * timeline.unit)
    try:
        if beside is not None:
            subtitles = read_subtitles(beside, duration=timeline.duration)
        else:
            inside = read_container_subtitles(path, origin=origin)
            if inside is None:
                return (), []
            subtitles = inside
    except MediaError as error:
        return (), [f"the words were left out: {error}"]
    return subtitles.utterances, list(subtitles.warnings)


def _small_frames(path: Path, timeline: Timeline, side: int) -> Iterator[tuple[int, np.ndarray, tuple[int, int], bool]]:
    """Yield (index, (h, w, 3) uint8 BGR, displayed size, turned) of every decodable frame, one at a time in memory."""
    places = {int(stamp): index for index, stamp in enumerate(timeline.stamps)}
    scaler = VideoReformatter()
    with open_video(path) as (container, stream):
        stream.thread_type = "AUTO"
        number = -1
        try:
            for frame in container.decode(stream):
                number += 1
                index = number if timeline.counted else places.get(frame.pts if frame.pts is not None else -1)
                if index is None:
                    continue
                turn = orientation(frame)  # as in the reader of clips
                height, width = working_size(frame.height, frame.width, side)
                small = scaler.reformat(
                    frame, width=width, height=height, format="bgr24", interpolation=Interpolation.AREA
                )
                shown = (frame.height, frame.width) if turn[0] else (frame.width, frame.height)
                yield index, small.to_ndarray(), shown, any(turn)
        except av.error.FFmpegError:
            return  # a damaged end, visible in the count of decoded frames


def _outside_words(times: np.ndarray, first: int, last: int, words: tuple[Utterance, ...]) -> tuple[int, int]:
    """Move the ends of a shot out of utterances that continue across them."""
    low, high = first, last
    for utterance in words:
        if first and utterance.start < times[first] - _TOUCH and utterance.end > times[first] + _TOUCH:
            low = max(low, int(np.searchsorted(times, utterance.end)))
        if last < len(times) - 1 and utterance.start < times[last] - _TOUCH and utterance.end > times[last] + _TOUCH:
            high = min(high, int(np.searchsorted(times, utterance.start)))
    return min(low, last), max(min(high, last), min(low, last))


def _within_bounds(
    times: np.ndarray, low: int, high: int, words: tuple[Utterance, ...], settings: SegmentSettings
) -> list[ClipRange]:
    parts: list[ClipRange] = []
    spoiled = False  # whether the last division is inside an utterance
    while times[high] - times[low] > settings.longest:
        left = times[high] - times[low]
        ideal = times[low] + left / math.ceil(left / settings.longest)
        allowed = np.arange(low + 1, high)
        inside = (times[allowed] >= times[low] + settings.shortest) & (times[allowed] <= times[low] + settings.longest)
        allowed = allowed[inside]
        quiet = [i for i in allowed if not any(utterance.start < times[i] < utterance.end for utterance in words)]
        if not len(allowed):
            break  # the frames are so far apart that none lies within the bounds
        place = int(min(quiet or allowed, key=lambda i: abs(times[i] - ideal)))
        parts.append(ClipRange(low, place, _LONG_SPEECH if spoiled or not quiet else ""))
        low, spoiled = place, not quiet
    short = times[high] - times[low] < settings.shortest - 1e-6
    reason = f"shorter than {settings.shortest:g} s" if short else _LONG_SPEECH if spoiled else ""
    return [*parts, ClipRange(low, high, reason)] if high > low else parts
