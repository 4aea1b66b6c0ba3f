"""Rasterise triangle meshes with numpy: a depth buffer over all pixels of all triangles at once.

No GPU and no library is needed. The result does not depend on the order of the triangles, except where two have exactly
the same depth at a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCKS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
"""Sides in pixels of the squares over which triangles are tested; a triangle uses the smallest that contains it."""
AT_ONCE = 2_000_000
"""Largest number of pixels tested in one step; bounds the memory."""


@dataclass(frozen=True, eq=False)
class Coverage:
    """The visible part of a mesh in a picture.

    Attributes:
        pixels: (P,) flat indices of the covered pixels.
        faces: (P,) index of the visible triangle.
        weights: (P, 3) barycentric weights of its corners.
    """

    pixels: np.ndarray
    faces: np.ndarray
    weights: np.ndarray

    def interpolate(self, values: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """Return (P, C) values of (V, C) vertices at the covered pixels; `faces` (F, 3) are those rasterised."""
        return np.einsum("pk,pkc->pc", self.weights, values[faces[self.faces]])


def rasterise(points: np.ndarray, faces: np.ndarray, size: int) -> Coverage:
    """Find the nearest triangle of every pixel.

    Args:
        points: (V, 3) x and y in pixels, y downwards, and z, larger is nearer to the viewer.
        faces: (F, 3) vertex indices; triangles whose corners run clockwise on the picture are seen from the front, the
            others are left out.
        size: side of the picture, pixels.
    """
    corners = points[faces]
    (ax, ay), (bx, by), (cx, cy) = (corners[:, k, :2].T for k in range(3))
    area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
    low = np.ceil(corners[:, :, :2].min(1) - 0.5)
    high = np.floor(corners[:, :, :2].max(1) - 0.5)
    inside = (high >= low).all(1) & (high[:, 0] >= 0) & (high[:, 1] >= 0) & (low < size).all(1)
    rows = np.flatnonzero((area < -1e-9) & inside)
    extent = (high - low)[rows].max(1) + 1
    parts, smaller = [], 0
    for block in BLOCKS:
        chosen = rows[(extent > smaller) & (extent <= block)]
        smaller = block
        step = max(AT_ONCE // block**2, 1)
        for start in range(0, len(chosen), step):
            part = chosen[start : start + step]
            parts.append(_covered(corners[part], area[part], low[part], part, block, size))
    if not parts:
        return Coverage(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3)))
    pixels, faces_hit, weights, depth = (np.concatenate(values) for values in zip(*parts, strict=True))
    order = np.argsort(depth, kind="stable")
    nearest = np.full(size * size, -1)
    nearest[pixels[order]] = order  # the nearest is assigned last
    winners = nearest[nearest >= 0]
    return Coverage(pixels[winners], faces_hit[winners], weights[winners])


def _covered(
    corners: np.ndarray, area: np.ndarray, low: np.ndarray, rows: np.ndarray, block: int, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return pixel, triangle, weights and depth of every covered pixel of N triangles within squares of pixels."""
    step = np.arange(block)
    x = low[:, 0, None, None] + step[None, None, :] + np.zeros((1, block, 1))
    y = low[:, 1, None, None] + step[None, :, None] + np.zeros((1, 1, block))
    px, py = x + 0.5, y + 0.5
    (ax, ay), (bx, by), (cx, cy) = (corners[:, k, :2].T[:, :, None, None] for k in range(3))
    scale = 1 / area[:, None, None]
    first = ((bx - px) * (cy - py) - (cx - px) * (by - py)) * scale
    second = ((cx - px) * (ay - py) - (ax - px) * (cy - py)) * scale
    third = 1 - first - second
    hit = (first >= 0) & (second >= 0) & (third >= 0) & (x >= 0) & (y >= 0) & (x < size) & (y < size)
    triangle = np.nonzero(hit)[0]
    weights = np.stack([first[hit], second[hit], third[hit]], 1)
    depth = np.einsum("pk,pk->p", weights, corners[triangle, :, 2])
    return (y[hit] * size + x[hit]).astype(int), rows[triangle], weights, depth


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return the unit normals (V, 3) of vertices (V, 3): of the triangles (F, 3) around each, weighted by area."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    of_faces = np.cross(b - a, c - a)
    normals = np.stack(
        [np.bincount(faces.ravel(), np.repeat(of_faces[:, axis], 3), minlength=len(vertices)) for axis in range(3)],
        1,
    )
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
