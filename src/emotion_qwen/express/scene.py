"""Scenes of flat shapes in three dimensions: curves, strokes, and their projection onto a picture.

Units are half widths of a head: x to the right of the picture, y upwards, z towards the viewer, with the pivot of the
head at the origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Colour = tuple[float, float, float]
"""Red, green and blue, 0 to 255."""
FRONT, OUTLINE, BODY, STILL = "front", "outline", "body", "still"
"""How a shape turns: with the surface of the head, as the outline of a rounded body, a little, or not at all."""
TURNS = (FRONT, OUTLINE, BODY, STILL)
VIEW = (-1.62, -1.86, 1.62, 1.38)
"""x1, y1, x2, y2 of the square that a picture shows."""
BODY_SHARE = 0.12
"""Part of the head's turn by which the shoulders follow."""


@dataclass(frozen=True, eq=False)
class Shape:
    """A filled shape.

    Attributes:
        points: (N, 3) outline, closed.
        colour: of the fill.
        opacity: 0 to 1.
        blur: standard deviation of its soft edge, in units of the scene.
        clip: name of the shape that it is cut to; "" for none.
        name: by which other shapes are cut to it; "" for none.
        turns: FRONT, OUTLINE, BODY or STILL.
    """

    points: np.ndarray
    colour: Colour
    opacity: float = 1.0
    blur: float = 0.0
    clip: str = ""
    name: str = ""
    turns: str = FRONT


def spline(points: Sequence[Sequence[float]] | np.ndarray, *, closed: bool = False, steps: int = 8) -> np.ndarray:
    """Return a Catmull-Rom curve through points.

    Args:
        points: (N, D) points, N >= 2.
        closed: also connect the last with the first.
        steps: curve points per point.

    Returns:
        (M, D) curve points.
    """
    given = np.asarray(points, float)
    return _curve(len(given), closed, steps) @ given


@lru_cache(maxsize=64)
def _curve(count: int, closed: bool, steps: int) -> np.ndarray:
    """Return the matrix (M, count) that turns points into the points of their curve, which depends on them linearly."""
    given = np.eye(count)
    ends = (given[-1:], given[:2]) if closed else (2 * given[:1] - given[1:2], 2 * given[-1:] - given[-2:-1])
    wide = np.concatenate([ends[0], given, ends[1]])
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    a, b, c, d = (wide[k : len(wide) - 3 + k, None, :] for k in range(4))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    curve = curve.reshape(-1, count)
    return curve if closed else np.concatenate([curve, given[-1:]])


def stroke(line: np.ndarray, width: float, *, start: float = 0.0, end: float = 0.0, bulge: float = 0.5) -> np.ndarray:
    """Return the outline (2N, 2) of a tapered stroke.

    Args:
        line: (N, 2) centre line.
        width: of the middle.
        start: width of the first end relative to the middle, `end` of the last.
        bulge: exponent of the taper; smaller is fuller.
    """
    along = np.empty_like(line)
    along[1:-1] = line[2:] - line[:-2]
    along[0], along[-1] = line[1] - line[0], line[-1] - line[-2]
    across = along[:, ::-1] * (-1.0, 1.0)
    across /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    side = across * (width / 2 * _taper(len(line), start, end, bulge))
    return np.concatenate([line + side, (line - side)[::-1]])


@lru_cache(maxsize=256)
def _taper(count: int, start: float, end: float, bulge: float) -> np.ndarray:
    """Return the width of a stroke along its line, (count, 1), relative to its middle."""
    t = np.linspace(0, 1, count)
    profile = np.sin(np.pi * t).clip(0) ** bulge
    return np.maximum(profile, np.where(t < 0.5, start, end) * (1 - profile) + profile)[:, None]


def ellipse(x: float, y: float, width: float, height: float, tilt: float = 0.0, count: int = 28) -> np.ndarray:
    """Return the outline (count, 2) of an ellipse with the given half axes, turned by `tilt` radians."""
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    return (_circle(count) * (width, height)) @ turn + (x, y)


@lru_cache(maxsize=8)
def _circle(count: int) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def lifted(points: np.ndarray, y: float) -> np.ndarray:
    """Return (N, 2) points moved upwards by `y`."""
    return points + np.array([0.0, y])


def depth(points: np.ndarray) -> np.ndarray:
    """Return z of the surface of a head at (N, 2) points: an ellipsoid."""
    x, y = points[:, 0], points[:, 1]
    return 0.82 * np.sqrt(np.maximum(1 - (x / 1.02) ** 2 - ((y - 0.05) / 1.5) ** 2, 0.02))


def on_head(points: np.ndarray, raised: float = 0.0) -> np.ndarray:
    """Return (N, 3) points on the surface of the head, raised from it by the given amount."""
    return at_depth(points, depth(points) + raised)


def at_depth(points: np.ndarray, z: float | np.ndarray = 0.0) -> np.ndarray:
    """Return (N, 3) points at the depth `z`."""
    solid = np.empty((len(points), 3))
    solid[:, :2] = points
    solid[:, 2] = z
    return solid


def turned(points: np.ndarray, head: Sequence[float] | np.ndarray, turns: str = FRONT) -> np.ndarray:
    """Turn points by the angles of a head.

    Args:
        points: (N, 3).
        head: yaw, pitch and roll in degrees, with the signs of `records.HEAD_ANGLES`.
        turns: as of a shape. An outline moves with its depth but is not foreshortened, as that of a rounded body.

    Returns:
        (N, 2) in the plane of the picture.
    """
    if turns == STILL:
        return points[:, :2]
    share = BODY_SHARE if turns == BODY else 1.0
    yaw, pitch, roll = (np.radians(share * angle) for angle in head)
    x, y, z = points.T
    if turns == FRONT:
        x, z = x * np.cos(yaw) + z * np.sin(yaw), z * np.cos(yaw) - x * np.sin(yaw)
        y = y * np.cos(pitch) + z * np.sin(pitch)
    else:
        x, y = x + z * np.sin(yaw), y + z * np.sin(pitch)
    return np.stack([x * np.cos(roll) + y * np.sin(roll), y * np.cos(roll) - x * np.sin(roll)], 1)


def on_picture(points: np.ndarray, size: int) -> np.ndarray:
    """Return (N, 2) points of the plane in pixels of a square picture, y downwards."""
    scale = size / (VIEW[2] - VIEW[0])
    return np.stack([(points[:, 0] - VIEW[0]) * scale, (VIEW[3] - points[:, 1]) * scale], 1)


def projected(shapes: Sequence[Shape], head: Sequence[float] | np.ndarray, size: int) -> list[np.ndarray]:
    """Return the points (N, 2) of every shape in pixels of a square picture, for the angles of a head.

    All points that turn in the same way are computed at once.
    """
    counts = [len(shape.points) for shape in shapes]
    points, plane = np.concatenate([shape.points for shape in shapes]), np.empty((sum(counts), 2))
    kinds = np.repeat([TURNS.index(shape.turns) for shape in shapes], counts)
    for kind, turns in enumerate(TURNS):
        rows = np.flatnonzero(kinds == kind)
        plane[rows] = on_picture(turned(points[rows], head, turns), size)
    return np.split(plane, np.cumsum(counts)[:-1])
