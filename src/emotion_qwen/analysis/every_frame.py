"""Read every frame of a video: the positions of faces, and what each shows in that frame alone.

A report reads as many frames as the model was trained on. This reads all of them, a few at a time, so that memory does
not grow with the length of the video. Faces keep the numbers that they have in the report: at the frames that the
report has read, each track gets the number of the person whose box it has. A face that the report has not seen gets a
number after those of the report.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.reading import PICTURE, ClipReading
from emotion_qwen.analysis.report import faces_seen
from emotion_qwen.analysis.request import Request
from emotion_qwen.faces import CenterFaceDetector
from emotion_qwen.faces.detect import Detections, overlaps
from emotion_qwen.faces.track import LONE_SCORE, FaceTracker, Trail
from emotion_qwen.faces.turned import detect_turned, quarter_of, rolls_by_angle
from emotion_qwen.media.clip import every_frame
from emotion_qwen.prepare import PreparedClip, cut_out
from emotion_qwen.records import PEOPLE, Clip, EmotionReport, FaceTrack, Seen

AT_ONCE = 32
"""Number of frames in memory."""
WAITING = 2.0
"""Smallest time in seconds for which a face may wait for the number that it has in the report."""
SAME = 0.5
"""Intersection over union above which two boxes in one frame are of the same face."""


@dataclass(frozen=True)
class FrameFace:
    """One face in one frame.

    Attributes:
        frame: number of the frame in the video, from 0.
        person: number of the person, as in the report.
        seen: time, box, and what the face shows.
    """

    frame: int
    person: int
    seen: Seen


@dataclass(eq=False)
class _Row:
    """A face that waits for its number."""

    trail: Trail
    frame: int
    seen: Seen
    person: int | None


class EveryFrame:
    """All frames of a video with their faces.

    Args:
        analyzer: the model.
        path: the video.
        report: of that video, which numbers the people.
        request: as for the report; labels, language, `start` and `end` are used.

    Attributes:
        count: number of frames.

    Raises:
        MediaError: the file has no frames.
    """

    def __init__(self, analyzer: Analyzer, path: Path, report: EmotionReport, request: Request) -> None:
        self.analyzer, self.request = analyzer, replace(request, about=PEOPLE, context="", reasoning=None)
        budget = analyzer.budget
        self._frames = every_frame(path, budget.settings.working_side, start=request.start, end=request.end)
        self.count = self._frames.count
        self._budget = budget.at(self._frames.rate)
        self._reader = analyzer.reader(self.request)
        self._tracker = FaceTracker(1 / self._frames.rate)
        self._known = _boxes_by_time(report)
        self._wait = max(WAITING, 1.5 / (report.provenance.get("fps") or 1.0))
        self._people = max((person.person for person in report.people), default=0)
        self._names: dict[Trail, int] = {}
        self._rows: deque[_Row] = deque()
        self._quarter = 0

    def faces(self) -> Iterator[tuple[int, list[FrameFace]]]:
        """Read the frames in order.

        Yields:
            The number of frames read since the last time, and faces in order of time, then of persons; a face may come
            a few frames late.
        """
        for numbers, clip in self._frames.parts(AT_ONCE):
            self._read(numbers, clip)
            yield len(numbers), self._finished(float(clip.times[-1]))
        yield 0, self._finished(np.inf)

    def _read(self, numbers: np.ndarray, clip: Clip) -> None:
        """Detect and track the faces of some frames, and score their crops."""
        self._turn(clip)
        places: dict[Trail, list[int]] = {}
        for place, (number, time) in enumerate(zip(numbers.tolist(), clip.times.tolist(), strict=True)):
            for trail in self._tracker.add(number, time, self._detect(clip.frames[place])):
                places.setdefault(trail, []).append(place)
        tracks = [self._track(person, trail, seen, clip) for person, (trail, seen) in enumerate(places.items())]
        called = self._name(places, tracks, clip)
        if not tracks:
            return
        people = tuple(cut_out(clip, track, self._budget) for track in tracks)
        reading = ClipReading(self._reader, PreparedClip(clip, clip, people), self.request)
        self._reader.answers(reading.needed_views(PICTURE))
        rows = []
        for trail, person in zip(places, people, strict=True):
            for place, seen in zip(places[trail], faces_seen(reading, person), strict=True):
                rows.append((place, trail, seen))
        self._reader.forget()
        for place, trail, seen in sorted(rows, key=lambda row: row[0]):
            self._rows.append(_Row(trail, int(numbers[place]), seen, called.get((trail, place))))

    def _detect(self, frame: np.ndarray) -> Detections:
        detector = self.analyzer.detector
        if self._quarter and isinstance(detector, CenterFaceDetector):
            return detect_turned(frame, self._quarter, detector)
        return detector(frame)

    def _turn(self, clip: Clip) -> None:
        """Determine whether all faces of the video are turned, from frames in which the report has seen one."""
        detector = self.analyzer.detector
        if not self._known or not isinstance(detector, CenterFaceDetector):
            return
        seen = [place for place, time in enumerate(clip.times.tolist()) if _key(time) in self._known]
        if seen and not self._quarter and not len(detector(clip.frames[seen[0]]).scores):
            self._quarter = quarter_of([clip.frames[seen[0]]], detector)

    def _track(self, person: int, trail: Trail, places: list[int], clip: Clip) -> FaceTrack:
        """Return the part of a trail in some frames; the trail keeps only its last detection."""
        count, detector = len(places), self.analyzer.detector
        boxes, scores = np.stack(trail.boxes[-count:]), np.array(trail.scores[-count:], np.float32)
        track = FaceTrack(person, np.array(places, np.int64), boxes.astype(np.float32), scores)
        if isinstance(detector, CenterFaceDetector):
            rolls, strains = trail.rolls[-count:], trail.strains[-count:]
            track = replace(track, rolls=rolls_by_angle(track, clip.frames, rolls, strains, detector))
        trail.shorten()
        return track

    def _name(
        self, places: dict[Trail, list[int]], tracks: list[FaceTrack], clip: Clip
    ) -> dict[tuple[Trail, int], int]:
        """Give tracks the numbers that their faces have in the report, from the frames that it has read.

        Returns:
            Track and place of a frame -> the number of the face there, where it is known already.
        """
        height, width = clip.frames.shape[1:3]
        scale = np.array([width, height, width, height])
        called: dict[tuple[Trail, int], int] = {}
        for place, time in enumerate(clip.times.tolist()):
            there = [(trail, track.boxes[places[trail].index(place)])
                     for trail, track in zip(places, tracks, strict=True) if place in places[trail]]  # fmt: skip
            known = self._known.get(_key(time), [])
            if there and known:
                fits = overlaps(np.stack([box for _, box in there]), np.stack([box for _, box in known]) * scale)
                for row, column in zip(*np.nonzero(fits > SAME), strict=True):
                    if fits[row, column] == max(fits[row].max(), fits[:, column].max()):
                        self._names[there[row][0]] = known[column][0]
            called |= {(trail, place): self._names[trail] for trail, _ in there if trail in self._names}
        return called

    def _finished(self, now: float) -> list[FrameFace]:
        """Return the faces at the front whose number is known, or will not be known any more."""
        counted: dict[Trail, int] = {}
        for row in self._rows:
            counted[row.trail] = counted.get(row.trail, 0) + 1
        done = []
        while self._rows:
            row = self._rows[0]
            person = self._names.get(row.trail) if row.person is None else row.person
            if person is None and now - row.seen.time < self._wait and row.trail in self._tracker.live:
                break
            self._rows.popleft()
            if person is None:
                if counted[row.trail] == 1 and row.seen.score < LONE_SCORE:
                    continue  # as in a report, a face that is detected only once must be sure
                self._people += 1
                person = self._names[row.trail] = self._people
            done.append(FrameFace(row.frame, person, row.seen))
        live = set(self._tracker.live) | {row.trail for row in self._rows}
        self._names = {trail: person for trail, person in self._names.items() if trail in live}
        return sorted(done, key=lambda face: (face.frame, face.person))


def _boxes_by_time(report: EmotionReport) -> dict[int, list[tuple[int, np.ndarray]]]:
    """Return time -> numbers of the people seen then and their boxes, as shares of width and height."""
    boxes: dict[int, list[tuple[int, np.ndarray]]] = {}
    for person in report.people:
        for seen in person.seen:
            boxes.setdefault(_key(seen.time), []).append((person.person, np.array(seen.box)))
    return boxes


def _key(time: float) -> int:
    """Return a time in milliseconds, as stored reports round it."""
    return round(1000 * time)
