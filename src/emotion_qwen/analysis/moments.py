"""Build the timeline: windows over a clip, their smoothing, and the episodes they form.

Windows of `LENGTH` seconds, or of the length that the user chooses, start every quarter of their length and cover the
clip; the last one ends with it. Each window's distribution is averaged with its two neighbours, weighted 1 : 2 : 1 (at
the ends with the only neighbour). The leading label of the average is the label of the window. A run of windows with
the same label is an episode. It lasts from the midpoint between its first window's centre and the previous centre to
the midpoint between its last centre and the next one. An episode shorter than half a window joins the neighbour whose
label has the larger share in its windows. Every label of the timeline can therefore be recomputed from the `raw` shares
stored with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from emotion_qwen.records import Episode

LENGTH = 2.0
"""Length of a window in seconds, unless the user chooses another."""
OVERLAPPING = 4
"""Number of windows that start within the length of one."""
SHORTEST = 0.5
"""Length of the shortest episode, in windows."""


def windows(start: float, end: float, length: float = LENGTH) -> list[tuple[float, float]]:
    """Divide a span into overlapping windows (start, end) of equal length; a shorter span becomes a single window.

    Args:
        start: seconds.
        end: seconds, not before `start`.
        length: of a window, seconds.
    """
    if end - start <= length:
        return [(start, end)]
    hop = length / OVERLAPPING
    count = int(np.ceil((end - start - length) / hop - 1e-9))
    return [(start + number * hop, start + number * hop + length) for number in range(count)] + [(end - length, end)]


def smooth(raw: np.ndarray) -> np.ndarray:
    """Average (W, K) distributions with their neighbours, weighted 1 : 2 : 1; row sums are preserved."""
    if len(raw) < 2:
        return raw.copy()
    total, weight = 2 * raw, np.full((len(raw), 1), 2.0)
    total[1:] += raw[:-1]
    weight[1:] += 1
    total[:-1] += raw[1:]
    weight[:-1] += 1
    return total / weight


def find_episodes(
    labels: Sequence[str], spans: Sequence[tuple[float, float]], shares: np.ndarray, shortest: float = SHORTEST * LENGTH
) -> tuple[Episode, ...]:
    """Join windows with the same label into episodes.

    Args:
        labels: K names of the columns of `shares`.
        spans: W windows in order of time, seconds.
        shares: (W, K) smoothed distributions.
        shortest: seconds below which an episode joins a neighbour.

    Returns:
        Episodes in order of time, without gaps, from the first window's start to the last one's end.
    """
    if not len(spans):
        return ()
    centres = np.array([(start + end) / 2 for start, end in spans])
    bounds = np.concatenate([[spans[0][0]], (centres[1:] + centres[:-1]) / 2, [spans[-1][1]]])
    leading = shares.argmax(1)
    edges = [0, *(np.flatnonzero(np.diff(leading)) + 1).tolist(), len(leading)]
    runs = [[int(leading[a]), a, b] for a, b in pairwise(edges)]
    while len(runs) > 1:
        lengths = [bounds[stop] - bounds[start] for _, start, stop in runs]
        place = int(np.argmin(lengths))
        if lengths[place] >= shortest:
            break
        runs = _join(runs, place, shares)
    return tuple(_episode(labels, run, centres, bounds, shares) for run in runs)


def _join(runs: list[list[int]], place: int, shares: np.ndarray) -> list[list[int]]:
    """Assign a run's windows to the neighbour whose label has the larger share in them, and merge equal runs."""
    _, start, stop = runs[place]
    around = [runs[n] for n in (place - 1, place + 1) if 0 <= n < len(runs)]
    label = max(around, key=lambda run: shares[start:stop, run[0]].mean())[0]
    merged: list[list[int]] = []
    for number, (column, first, last) in enumerate(runs):
        column = label if number == place else column
        if merged and merged[-1][0] == column:
            merged[-1][2] = last
        else:
            merged.append([column, first, last])
    return merged


def _episode(
    labels: Sequence[str], run: list[int], centres: np.ndarray, bounds: np.ndarray, shares: np.ndarray
) -> Episode:
    column, start, stop = run
    peak = start + int(shares[start:stop, column].argmax())
    return Episode(
        label=labels[column],
        onset=float(bounds[start]),
        offset=float(bounds[stop]),
        peak=float(centres[peak]),
        share=float(shares[peak, column]),
    )
