"""Find when somebody is present: a face is seen, a voice is heard, or something is said.

A face is present from its first to its last detection, extended by half a sampling step; detections more than `HOLE`
steps apart are separate appearances. Sound counts if a voice is active for at least `VOICED` of a window; music, hum
and noise are not a voice. Words count while they are said. Interruptions shorter than `SHORTEST` seconds are bridged.
The rest of the clip consists of gaps, for which there is no answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from emotion_qwen.records import Clip, FaceTrack

Span = tuple[float, float]
HOLE = 1.5  # sampling steps
VOICED = 0.2  # of a window: 0.4 s in the two seconds around a glimpse
SHORTEST = 1.0  # seconds


def whole_span(clip: Clip) -> Span:
    """Return the span (start, end) in seconds in which there is a picture or sound."""
    ends = [float(clip.times[0]), float(clip.times[-1])] if len(clip.times) else []
    if clip.wave is not None and clip.sample_rate:
        ends += [clip.wave_start, clip.wave_start + len(clip.wave) / clip.sample_rate]
    return min(ends, default=0.0), max(ends, default=0.0)


def appearances(clip: Clip, track: FaceTrack) -> list[Span]:
    """Return the spans (start, end) in seconds of the appearances of a face."""
    start, end = whole_span(clip)
    step = float(np.median(np.diff(clip.times))) if len(clip.times) > 1 else 0.0
    times = clip.times[track.frames].tolist()
    return merged(((max(t - step / 2, start), min(t + step / 2, end)) for t in times), (HOLE - 1) * step)


def is_voiced(voice: Sequence[Span], start: float, end: float) -> bool:
    """Whether a voice is active for long enough between two times; `voice` contains disjoint spans."""
    return end > start and covered(voice, start, end) >= VOICED * (end - start)


def covered(spans: Sequence[Span], start: float, end: float) -> float:
    """Return how many seconds between two times are covered by disjoint spans."""
    return sum(max(min(last, end) - max(first, start), 0.0) for first, last in spans)


def merged(spans: Iterable[Span], apart: float = 0.0) -> list[Span]:
    """Sort spans and join those that overlap or are at most `apart` seconds apart."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start - joined[-1][1] <= apart + 1e-6:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((start, end))
    return joined


def outside(spans: Sequence[Span], start: float, end: float) -> list[Span]:
    """Return the parts between `start` and `end` that no span covers; `spans` must come from `merged`."""
    edges = [start, *(time for span in spans for time in span), end]
    left = [(max(a, start), min(b, end)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return [(a, b) for a, b in left if b > a]


def bridged(spans: Iterable[Span], start: float, end: float) -> list[Span]:
    """Bridge gaps shorter than `SHORTEST` seconds between spans, and to `start` and `end` of the clip."""
    joined = merged(spans, SHORTEST)
    if joined and joined[0][0] - start < SHORTEST:
        joined[0] = start, joined[0][1]
    if joined and end - joined[-1][1] < SHORTEST:
        joined[-1] = joined[-1][0], end
    return joined
