"""Divide views into batches for the language model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emotion_qwen.engine.encoding import BATCH, VISUALS, Part, medium_of
from emotion_qwen.errors import ShapeError
from emotion_qwen.processing.encoded import MediumTokens

TOKENS = 16_384
"""Approximate maximum number of tokens per batch of the language model, including padding."""
LONG = 32
"""Number of tokens from which a visual of several views is processed by the language model only once."""
SHARED = 8
"""Factor by which views that share a visual may exceed `TOKENS`: only their caches contain it several times."""


def per_view(value: str | Sequence[str], count: int, what: str) -> list[str]:
    """Return one text per view.

    Raises:
        ShapeError: there are neither one nor `count`.
    """
    values = [value] * count if isinstance(value, str) else list(value)
    if len(values) != count:
        raise ShapeError(f"{len(values)} {what} for {count} views; give one for all, or one for each")
    return values


def by_visual(views: Sequence[Sequence[Part]]) -> Iterator[tuple[list[int], list[MediumTokens] | None]]:
    """Divide encoded views into groups whose visuals are processed by the language model once each, and the others.

    The visuals of a group have the same kind, grid and time per patch, so that their prompts begin with equal tokens.

    Yields:
        The rows of views that are scored together, and the visual of each, or None.
    """
    alike: dict[tuple, list[int]] = {}
    for row, parts in enumerate(views):
        if parts and parts[0]["type"] in VISUALS and len(medium_of(parts[0]).tokens) >= LONG:
            visual = medium_of(parts[0])
            grid = tuple(visual.grid_thw.tolist())
            alike.setdefault((parts[0]["type"], grid, visual.seconds), []).append(row)
    groups = [rows for rows in alike.values() if len({id(medium_of(views[row][0])) for row in rows}) < len(rows)]
    grouped = {row for rows in groups for row in rows}
    others = [row for row in range(len(views)) if row not in grouped]
    if others:
        yield others, None
    for rows in groups:
        first = {id(medium_of(views[row][0])): row for row in reversed(rows)}
        rows.sort(key=lambda row: first[id(medium_of(views[row][0]))])  # views of a visual are adjacent
        yield rows, [medium_of(views[row][0]) for row in rows]


def fitting(sizes: Sequence[int], most: int = BATCH, tokens: int = TOKENS) -> Iterator[slice]:
    """Divide rows of given sizes into batches of at most `most` rows and about `tokens` tokens including padding."""
    start, longest = 0, 0
    for row, size in enumerate(sizes):
        longest = max(longest, size)
        if row > start and (row - start == most or (row - start + 1) * longest > tokens):
            yield slice(start, row)
            start, longest = row, size
    if sizes:
        yield slice(start, len(sizes))
