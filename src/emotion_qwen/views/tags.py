"""Choose the position of the label of every box, so that it covers no face and no other label as far as space allows.

The page (`tags.js`) and annotated videos and pictures follow this rule. Every label has a fixed list of places around
its box; the place with the lowest cost is chosen, first one label after the other, then each once more with all others
in place. A label away from its box is joined to it by a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Rectangle = tuple[float, float, float, float]
"""x1, y1, x2, y2; y points down."""

OVER_TAG, OVER_FACE, OVER_SELF = 4.0, 1.0, 0.5
"""Cost of a label that is entirely on another label, on another face, or on its own face."""
AWAY = 0.12
"""Cost of each step of one label's height away from the box."""
STEPS = 4
"""Maximum number of such steps."""
KEPT = 0.2
"""Advantage of the place in the frame before, so that labels in a video do not jump."""
HAIR = 0.2
"""Part of a face's height that is added above it, because a box ends at the forehead."""
ORDER = 0.001
"""Cost of a place's rank, so that of equally good places the first is chosen."""


@dataclass(frozen=True)
class Tag:
    """The place of a label.

    Attributes:
        area: of the label.
        place: number of the place in the list of all places around a box, for `before` of the next frame.
        leader: line x1, y1, x2, y2 from the label to its box; None next to the box.
    """

    area: Rectangle
    place: int
    leader: Rectangle | None


@dataclass(frozen=True)
class _Place:
    area: Rectangle
    number: int
    steps: int


def place_tags(
    boxes: Sequence[Rectangle],
    sizes: Sequence[tuple[float, float]],
    picture: tuple[float, float],
    gap: float,
    before: Sequence[int | None] = (),
) -> list[Tag]:
    """Place the labels of the boxes of one picture.

    Args:
        boxes: N boxes in pixels.
        sizes: N widths and heights of the labels.
        picture: width and height; labels stay inside, unless they are wider or higher.
        gap: between a box and its label.
        before: per box the `place` of its label in the frame before; None or absent without one.

    Returns:
        N places.
    """
    heads = [(x1, y1 - HAIR * (y2 - y1), x2, y2) for x1, y1, x2, y2 in boxes]
    candidates = [_places(box, size, picture, gap) for box, size in zip(boxes, sizes, strict=True)]
    # From the previous frame, so that well-placed labels stay.
    chosen = {
        number: place
        for number, (places, kept) in enumerate(zip(candidates, before, strict=False))
        for place in places
        if place.number == kept
    }
    for number in (*range(len(boxes)), *range(len(boxes))):
        others = [place.area for index, place in chosen.items() if index != number]
        faces = [head for index, head in enumerate(heads) if index != number]
        kept = before[number] if number < len(before) else None
        costs = [_cost(place, boxes[number], faces, others, kept) for place in candidates[number]]
        chosen[number] = candidates[number][costs.index(min(costs))]
    return [Tag(chosen[n].area, chosen[n].number, _leader(boxes[n], chosen[n])) for n in range(len(boxes))]


def _cost(place: _Place, face: Rectangle, faces: list[Rectangle], tags: list[Rectangle], kept: int | None) -> float:
    """Return the weighted share of the label that covers something, plus the cost of its distance."""
    x1, y1, x2, y2 = place.area
    covered = OVER_SELF * _shared(place.area, face)
    covered += OVER_TAG * sum(_shared(place.area, area) for area in tags)
    covered += OVER_FACE * sum(_shared(place.area, other) for other in faces)
    moved = AWAY * place.steps + ORDER * place.number - KEPT * (place.number == kept)
    return covered / ((x2 - x1) * (y2 - y1)) + moved


def _places(box: Rectangle, size: tuple[float, float], picture: tuple[float, float], gap: float) -> list[_Place]:
    """Return the places around a box that are inside the picture; at least one."""
    (x1, y1, x2, y2), (width, height) = box, size
    aligned = (x1, x2 - width, (x1 + x2 - width) / 2)
    above, below = y1 - gap - height, y2 + gap
    beside = (x2 + gap, x1 - gap - width)
    corners = [(x, y, 0) for y in (above, below) for x in aligned]
    corners += [(x, y, 0) for x in beside for y in (y1, y2 - height)]
    corners += [(x1, y, 0) for y in (y2 - gap - height, y1 + gap)]
    for steps in range(1, STEPS + 1):
        far = steps * (height + gap)
        corners += [(x, y, steps) for y in (above - far, below + far) for x in aligned]
    rightmost, lowest = max(picture[0] - width, 0.0), max(picture[1] - height, 0.0)
    places = []
    for number, (x, y, steps) in enumerate(corners):
        inside = min(max(x, 0.0), rightmost)
        if 0 <= y <= lowest and (inside == x or x not in beside):
            places.append(_Place((inside, y, inside + width, y + height), number, steps))
    x, y = min(max(x1, 0.0), rightmost), min(max(above, 0.0), lowest)
    return places or [_Place((x, y, x + width, y + height), 0, 0)]


def _leader(box: Rectangle, place: _Place) -> Rectangle | None:
    if not place.steps:
        return None
    x1, y1, x2, y2 = place.area
    from_x = min(max((box[0] + box[2]) / 2, x1), x2)
    to_x = min(max((x1 + x2) / 2, box[0]), box[2])
    return (from_x, y2, to_x, box[1]) if y2 < box[1] else (from_x, y1, to_x, box[3])


def _shared(first: Rectangle, second: Rectangle) -> float:
    """Return the area that two rectangles share."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0.0) * max(height, 0.0)
