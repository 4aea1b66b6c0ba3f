"""The state of a report at one time: the window of its timeline or the gap, the faces and their labels.

The terminal view, the annotated video and (in the page's script) the page follow the same rules. Of overlapping windows
the one with the nearest centre counts. A face has the distribution of the nearest frame that was scored, not smoothed.
A face is visible between two sightings that are at most `HOLE` sampling steps apart, and half a step around a single
sighting; in between, its box is interpolated linearly.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from statistics import median
from typing import Any

from emotion_qwen.records import EmotionReport, Gap, Moment, Person

Box = tuple[float, float, float, float]
HOLE = 1.5


def clip_span(report: EmotionReport) -> tuple[float, float]:
    """Return the span (start, end) in seconds that the report covers; (0, 0) for a picture."""
    read = [float(time) for time in report.provenance.get("seconds") or ()]
    spans: list[Any] = [*report.timeline, *report.gaps, *report.utterances, *report.people]
    starts, ends = [span.start for span in spans], [span.end for span in (*spans, *report.cues)]
    return min([*read, *starts], default=0.0), max([*read, *ends], default=0.0)


def is_still(report: EmotionReport) -> bool:
    """Return whether the report is about a picture."""
    return not report.timeline and not report.gaps and clip_span(report)[1] <= 0


def has_picture(report: EmotionReport) -> bool:
    """Return whether the clip has a picture; also true for a report without a number of frames."""
    return bool(report.people) or report.provenance.get("frames") != 0


def moment_at(timeline: Sequence[Moment], time: float) -> Moment | None:
    """Return the window that contains a time, of several the one with the nearest centre; None if there is none."""
    holding = [moment for moment in timeline if moment.start <= time <= moment.end]
    return min(holding, key=lambda moment: abs((moment.start + moment.end) / 2 - time), default=None)


def gap_at(report: EmotionReport, time: float) -> Gap | None:
    """Return the gap that contains a time, or None."""
    return next((gap for gap in report.gaps if gap.start <= time <= gap.end), None)


def shown_at(person: Person, time: float) -> dict[str, float]:
    """Return a person's distribution in the scored frame nearest to a time."""
    read = [sighting for sighting in person.seen if sighting.distribution]
    near = min(read, key=lambda sighting: abs(sighting.time - time), default=None)
    return near.distribution if near else person.distribution


def columns(timeline: Sequence[Moment], start: float, end: float, count: int) -> list[Moment | None]:
    """Divide a span into `count` equal columns and return the moment at the middle of each."""
    return [moment_at(timeline, start + (end - start) * (place + 0.5) / count) for place in range(count)]


def sampling_step(report: EmotionReport) -> float:
    """Return the seconds between sampled frames; 0 if unknown."""
    gaps = [
        after.time - before.time
        for person in report.people
        for before, after in zip(person.seen, person.seen[1:], strict=False)
    ]
    if gaps:
        return float(median(gaps))
    fps = report.provenance.get("fps")
    return 1 / float(fps) if fps else 0.0


def box_at(person: Person, time: float, step: float) -> Box | None:
    """Return the box of a face as shares of width and height; None while it is not seen.

    Args:
        person: the person.
        time: seconds.
        step: seconds between sampled frames.
    """
    if not person.seen:  # a report about a picture may lack the track
        return person.box if person.start == person.end else None
    times = [sighting.time for sighting in person.seen]
    place = bisect_right(times, time)
    before = person.seen[place - 1] if place else None
    after = person.seen[place] if place < len(times) else None
    if before and after and after.time - before.time <= HOLE * step:
        part = (time - before.time) / (after.time - before.time)
        x1, y1, x2, y2 = (a + part * (b - a) for a, b in zip(before.box, after.box, strict=True))
        return x1, y1, x2, y2
    near = [sighting for sighting in (before, after) if sighting and abs(sighting.time - time) <= step / 2]
    return min(near, key=lambda sighting: abs(sighting.time - time)).box if near else None
