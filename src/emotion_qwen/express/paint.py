"""Paint a scene into a picture with OpenCV: anti-aliased fills, soft shadows, and shapes cut to others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

import cv2
import numpy as np

from emotion_qwen.express.scene import STILL, VIEW, Colour, Shape, on_picture, projected

Outline = tuple[np.ndarray, float]
"""Points (N, 2) in pixels, and the opacity of the shape."""
FAINTEST = 0.004
"""Opacity up to which a shape is not painted."""
SHIFT = 4
"""Fractional bits of OpenCV's coordinates."""
CRISP = 1.5
"""Standard deviation in pixels up to which the edges of a blurred shape are anti-aliased first."""

_SHARES = np.arange(256, dtype=np.float32) * np.float32(1 / 255)
_OTHERS = 1 - _SHARES
"""Coverage as uint8 -> share of the ink in a pixel, and of what is below it."""


def paint(shapes: Sequence[Shape], head: Sequence[float], size: int, fine: int = 2) -> np.ndarray:
    """Paint shapes from back to front.

    Args:
        shapes: of the scene; the first fills the picture with its colour.
        head: yaw, pitch and roll in degrees.
        size: side of the picture, pixels.
        fine: pixels painted per pixel of the picture and axis; 1 is four times as fast, 2 has smoother edges.

    Returns:
        (size, size, 3) uint8 RGB; the same arguments give the same pixels.
    """
    glow = shapes[1] if shapes[1].turns == STILL else None
    canvas = _start(size * fine, shapes[0].colour, glow and _Glow(glow)).copy()
    masks: dict[str, np.ndarray] = {}
    rest = shapes[1 + (glow is not None) :]
    pairs = zip(rest, projected(rest, head, size * fine), strict=True)
    for (colour, blur, clip, name, _), group in groupby(pairs, lambda pair: _kind(pair[0])):
        outlines = []
        for shape, points in group:
            if name:
                masks[name] = _mask([(points, 1.0)], (0, 0, size * fine, size * fine), 0.0)
            if shape.opacity > FAINTEST:
                outlines.append((points, shape.opacity))
        if outlines:
            _fill(canvas, outlines, colour, blur, masks[clip] if clip else None)
    return canvas if fine == 1 else cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)


class _Glow:
    """A soft shape that does not move, as the key of a cache: two with the same values are equal."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._key = (shape.points.tobytes(), shape.colour, shape.opacity, shape.blur)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Glow) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@lru_cache(maxsize=16)
def _start(side: int, background: Colour, glow: _Glow | None) -> np.ndarray:
    """Return a canvas with its background."""
    canvas = np.empty((side, side, 3), np.uint8)
    canvas[:] = np.round(background).astype(np.uint8)
    if glow is not None:
        points = on_picture(glow.shape.points[:, :2], side)
        _fill(canvas, [(points, glow.shape.opacity)], glow.shape.colour, glow.shape.blur, None)
    return canvas


def _kind(shape: Shape) -> tuple[Colour, float, str, str, float]:
    """Return the key that neighbouring soft shapes share if they are painted together; overlaps then do not add up."""
    return shape.colour, shape.blur, shape.clip, shape.name, 0.0 if shape.blur else id(shape)


def _fill(
    canvas: np.ndarray, outlines: Sequence[Outline], colour: Colour, blur: float, clip: np.ndarray | None
) -> None:
    """Blend shapes of one colour into the canvas, within their bounds."""
    side = len(canvas)
    ink = [round(float(value)) for value in colour]
    if clip is None and not blur and outlines[0][1] == 1:
        cv2.fillPoly(canvas, [_fixed(outlines[0][0])], ink, cv2.LINE_AA, SHIFT)
        return
    sigma = blur * side / (VIEW[2] - VIEW[0])
    margin = 3 * sigma + 2
    low = np.min([points.min(0) for points, _ in outlines], axis=0) - margin
    high = np.max([points.max(0) for points, _ in outlines], axis=0) + margin
    x1, y1 = np.maximum(np.floor(low), 0).astype(int).tolist()
    x2, y2 = np.minimum(np.ceil(high), side).astype(int).tolist()
    if x2 <= x1 or y2 <= y1:
        return
    mask = _mask(outlines, (x1, y1, x2, y2), sigma)
    if clip is not None:
        mask = cv2.multiply(mask, clip[y1:y2, x1:x2], scale=1 / 255)
    x, y, width, height = cv2.boundingRect(mask)  # of what is covered
    mask, part = mask[y : y + height, x : x + width], canvas[y1 + y : y1 + y + height, x1 + x : x1 + x + width]
    if not part.size:
        return
    plain = np.empty(part.shape, np.uint8)
    cv2.rectangle(plain, (0, 0), (width, height), ink, cv2.FILLED)
    part[:] = cv2.blendLinear(plain, part, cv2.LUT(mask, _SHARES), cv2.LUT(mask, _OTHERS))


def _fixed(points: np.ndarray) -> np.ndarray:
    """Return points (N, 2) as OpenCV takes them, with `SHIFT` fractional bits."""
    return np.rint(points * (1 << SHIFT)).astype(np.int32)


def _mask(outlines: Sequence[Outline], box: tuple[int, int, int, int], sigma: float) -> np.ndarray:
    """Return the coverage (H, W) uint8 by polygons within a box; soft masks are painted at a lower resolution."""
    x1, y1, x2, y2 = box
    step = 8 if sigma > 16 else 4 if sigma > 8 else 2 if sigma > 3 else 1
    height, width = -(-(y2 - y1) // step), -(-(x2 - x1) // step)
    mask: Any = np.zeros((height, width), np.uint8)
    for points, opacity in outlines:
        edge = cv2.LINE_8 if sigma > CRISP else cv2.LINE_AA
        cv2.fillPoly(mask, [_fixed((points - (x1, y1)) / step)], round(255 * opacity), edge, SHIFT)
    if sigma:
        mask = cv2.GaussianBlur(mask, (0, 0), sigma / step, borderType=cv2.BORDER_CONSTANT)
    if step > 1:
        mask = cv2.resize(mask, (width * step, height * step), interpolation=cv2.INTER_LINEAR)[: y2 - y1, : x2 - x1]
    return mask
