"""When there is somebody to answer about: a face is seen, a voice is heard, or something is said.

The rule. A face is present from its first to its last sighting, half a sampling step around each; sightings further
apart than `HOLE` steps are two appearances. Sound counts where a voice is active for at least `VOICED` of what is heard
at once; music, hum and noise are no voice. Words count while they are said. What is missing for less than `SHORTEST`
seconds is bridged. Whatever is left of the clip is a gap: there nothing is answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from emotion_qwen.records import Clip, FaceTrack

Span = tuple[float, float]
HOLE = 1.5  # sampling steps
VOICED = 0.2  # of the window; 0.4 s in the two seconds around a glimpse
SHORTEST = 1.0  # seconds


def whole_span(clip: Clip) -> Span:
    """Return from when to when there is something to see or to hear, seconds."""
    ends = [float(clip.times[0]), float(clip.times[-1])] if len(clip.times) else []
    if clip.wave is not None and clip.sample_rate:
        ends += [clip.wave_start, clip.wave_start + len(clip.wave) / clip.sample_rate]
    return min(ends, default=0.0), max(ends, default=0.0)


def appearances(clip: Clip, track: FaceTrack) -> list[Span]:
    """Return from when to when a face is seen, seconds, as often as it appears."""
    start, end = whole_span(clip)
    step = float(np.median(np.diff(clip.times))) if len(clip.times) > 1 else 0.0
    times = clip.times[track.frames].tolist()
    return merged(((max(t - step / 2, start), min(t + step / 2, end)) for t in times), (HOLE - 1) * step)


def is_voiced(voice: Sequence[Span], start: float, end: float) -> bool:
    """Whether a voice is active for long enough between two times; `voice` holds spans that do not overlap."""
    return end > start and covered(voice, start, end) >= VOICED * (end - start)


def covered(spans: Sequence[Span], start: float, end: float) -> float:
    """Return how many seconds between two times lie in spans that do not overlap."""
    return sum(max(min(last, end) - max(first, start), 0.0) for first, last in spans)


def merged(spans: Iterable[Span], apart: float = 0.0) -> list[Span]:
    """Sort spans and join those that overlap, touch, or are at most `apart` seconds from each other."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start - joined[-1][1] <= apart + 1e-6:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((start, end))
    return joined


def outside(spans: Sequence[Span], start: float, end: float) -> list[Span]:
    """Return what of the time from `start` to `end` no span covers; `spans` as `merged` gives them."""
    edges = [start, *(time for span in spans for time in span), end]
    left = [(max(a, start), min(b, end)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return [(a, b) for a, b in left if b > a]


def bridged(spans: Iterable[Span], start: float, end: float) -> list[Span]:
    """Join spans across less than `SHORTEST` seconds, likewise to the clip's `start` and `end`."""
    joined = merged(spans, SHORTEST)
    if joined and joined[0][0] - start < SHORTEST:
        joined[0] = start, joined[0][1]
    if joined and end - joined[-1][1] < SHORTEST:
        joined[-1] = joined[-1][0], end
    return joined
