"""Write resize.npz: bicubic antialiasing in float64, one output pixel at a time, and our own patches for regression.

Run it only when the format of the file changes: `python tests/golden/make_resize.py`. The reference below shares no
code with the package.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("resize.npz")
SIZES = {"reduced": (50, 64), "enlarged": (15, 21)}
SIDE = 28


def picture(height: int, width: int, times: int = 1) -> np.ndarray:
    """Paint (T, H, W, 3) uint8: gradients that move, with an integer hash as noise."""
    t, y, x, c = np.meshgrid(*(np.arange(n) for n in (times, height, width, 3)), indexing="ij")
    noise = (x * 7919 + y * 104729 + t * 1299709 + c * 15485863) % 97
    return ((x * 3 + y * (2 + c) + t * 11 + noise) % 256).astype(np.uint8)


def kernel(x: float) -> float:
    x = abs(x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


def resize_line(line: np.ndarray, size: int) -> np.ndarray:
    scale = len(line) / size
    stretch = max(1.0, scale)
    out = np.zeros((size, *line.shape[1:]))
    for i in range(size):
        centre = (i + 0.5) * scale
        first = max(0, math.floor(centre - 2 * stretch))
        last = min(len(line), math.ceil(centre + 2 * stretch))
        weights = [kernel((j + 0.5 - centre) / stretch) for j in range(first, last)]
        for j, weight in zip(range(first, last), weights, strict=True):
            out[i] += line[j] * (weight / sum(weights))
    return out


def reference(frame: np.ndarray, side: int) -> np.ndarray:
    """Resize (H, W, 3) uint8 to (3, side, side) float64 in 0..1."""
    wide = resize_line(frame.astype(np.float64).swapaxes(0, 1), side).swapaxes(0, 1)
    return np.clip(resize_line(wide, side), 0, 255).transpose(2, 0, 1) / 255


if __name__ == "__main__":
    from emotion_qwen.processing.patches import video_patches
    from emotion_qwen.settings import ClipSettings

    settings = ClipSettings(video_min_pixels=SIDE * SIDE, video_max_pixels=SIDE * SIDE)
    patches, grid = video_patches(picture(*SIZES["enlarged"], 3), settings, 14, 2, 2)
    arrays = {name: reference(picture(*size)[0], SIDE).astype(np.float32) for name, size in SIZES.items()}
    np.savez_compressed(FILE, patches=patches.numpy()[:, ::7], grid=grid.numpy(), **arrays)
    print(FILE, FILE.stat().st_size, "bytes")
