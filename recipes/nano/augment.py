"""Picture augmentation on whole batches, a pure function of its generator.

Geometry (flip, shift, zoom, rotation) is one bilinear resampling, light is one affine map per picture, and an erased
rectangle hides a part. `strength` scales everything: 0 leaves the pictures unchanged except for the flip. Training
starts with weak augmentation and increases it, because a small transformer does not learn under strong augmentation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True, eq=False)
class Geometry:
    """Resampling of each picture of a batch; all fields are (B,) except `shift` (B, 2), in half sides.

    `turn` is in radians: the content is rotated counterclockwise by it, then mirrored where `flip` is -1.
    """

    turn: torch.Tensor
    zoom: torch.Tensor
    shift: torch.Tensor
    flip: torch.Tensor


def draw_geometry(batch: int, strength: float, generator: torch.Generator) -> Geometry:
    """Draw flips, and rotations, zooms and shifts whose size is scaled by `strength` (0 to 1)."""

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    turn = (draw(batch) * 2 - 1) * strength * math.radians(15)
    zoom = torch.exp((draw(batch) * 2 - 1) * strength * 0.18)
    shift = (draw(batch, 2) * 2 - 1) * strength * 0.16
    flip = torch.where(draw(batch) < 0.5, -1.0, 1.0)
    return Geometry(turn, zoom, shift, flip)


def resample(pixels: torch.Tensor, geometry: Geometry, side: int | None = None) -> torch.Tensor:
    """Resample pictures (B, C, S, S) according to `geometry`; the result has `side` pixels, S by default."""
    batch, channels, height, _ = pixels.shape
    cos, sin = torch.cos(geometry.turn) * geometry.zoom, torch.sin(geometry.turn) * geometry.zoom
    flip, shift = geometry.flip, geometry.shift
    theta = torch.stack([cos * flip, -sin, shift[:, 0], sin * flip, cos, shift[:, 1]], dim=1).view(batch, 2, 3)
    grid = F.affine_grid(theta, [batch, channels, side or height, side or height], align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


def augment(pixels: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Return augmented pictures.

    Args:
        pixels: (B, 3, S, S) float in 0..1.
        strength: 0 (flip only) to 1.
        generator: source of all randomness; the same state gives the same pictures.

    Returns:
        (B, 3, S, S) float in 0..1.
    """
    moved = resample(pixels, draw_geometry(len(pixels), strength, generator))
    return relight(moved, strength, generator)


def relight(pixels: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Change contrast, brightness and tint of pictures (B, 3, S, S), and erase a rectangle in some."""
    batch = len(pixels)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    contrast = torch.exp((draw(batch, 1, 1, 1) * 2 - 1) * strength * 0.4)
    light = (draw(batch, 1, 1, 1) * 2 - 1) * strength * 0.2
    tint = 1 + (draw(batch, 3, 1, 1) * 2 - 1) * strength * 0.12
    pixels = ((pixels - mean) * contrast + mean + light) * tint
    return _erase(pixels.clamp(0, 1), strength, draw)


def _erase(pixels: torch.Tensor, strength: float, draw) -> torch.Tensor:
    batch, _, side, _ = pixels.shape
    size = side * (0.1 + 0.3 * draw(batch, 2)) * (draw(batch, 1) < 0.4 * strength)
    corner = draw(batch, 2) * (side - size)
    axis = torch.arange(side).view(1, side)
    rows = (axis >= corner[:, :1]) & (axis < corner[:, :1] + size[:, :1])
    columns = (axis >= corner[:, 1:]) & (axis < corner[:, 1:] + size[:, 1:])
    hidden = (rows[:, :, None] & columns[:, None, :]).unsqueeze(1)
    return torch.where(hidden, pixels.mean(dim=(1, 2, 3), keepdim=True), pixels)
