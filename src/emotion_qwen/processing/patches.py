"""Pixels to patches: size limits, resizing, normalisation, and the patch order of the vision transformer.

Sizes follow `smart_resize` of the published release (`qwen-vl-utils` 0.0.10 style): both sides become multiples of
patch x merge, the area stays within the budget. The arithmetic of patches and their order is Qwen2.5-VL's.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from PIL import Image

from emotion_qwen.errors import MediaError
from emotion_qwen.settings import ClipSettings

MAX_ASPECT = 200
_BAND = 32  # output rows per matrix product; small keeps the band narrow, large keeps the product efficient
_CHUNK = 4  # frames in memory as float at a time, a multiple of `temporal` or it is rounded up
_DEVICE_CHUNK = 64  # on an accelerator, where few large products are faster
CPU = torch.device("cpu")
IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)  # CLIP's, as in Qwen2.5-VL's preprocessor_config.json
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)


def normalize(pixels: torch.Tensor) -> torch.Tensor:
    """Shift and scale (..., 3, H, W) float pixels in 0..1 by CLIP's channel means and deviations."""
    mean = torch.tensor(IMAGE_MEAN, dtype=pixels.dtype, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(IMAGE_STD, dtype=pixels.dtype, device=pixels.device).view(3, 1, 1)
    return (pixels - mean) / std


def patchify(frames: torch.Tensor, patch: int, temporal: int, merge: int) -> torch.Tensor:
    """Cut visuals of equal size into flat patches.

    Patches of one merge x merge group are adjacent, groups in reading order, times outermost.

    Args:
        frames: (B, T, 3, H, W); T a multiple of `temporal`, H and W multiples of `patch * merge`.
        patch: patch side, pixels.
        temporal: frames per patch.
        merge: side of the group of patches that becomes one token.

    Returns:
        (B * T/temporal * H/patch * W/patch, 3 * temporal * patch * patch).
    """
    batch, times, channels, height, width = frames.shape
    rows, columns = height // patch // merge, width // patch // merge
    blocks = frames.reshape(batch, times // temporal, temporal, channels, rows, merge, patch, columns, merge, patch)
    blocks = blocks.permute(0, 1, 4, 7, 5, 8, 3, 2, 6, 9)  # (B, T', rows, columns, merge, merge, C, t, p, p)
    return blocks.reshape(-1, channels * temporal * patch * patch)


def smart_resize(height: int, width: int, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Choose the size for resizing a visual: multiples of `factor`, area within the budget, aspect ratio kept.

    Each side is rounded to the nearest multiple; too large an area is scaled down with floor, too small a one scaled
    up with ceiling. A side is never below `factor`, even where the area then exceeds the budget.

    Args:
        height: pixels.
        width: pixels.
        factor: patch side x merge side.
        min_pixels: smallest area.
        max_pixels: largest area.

    Returns:
        (height, width) in pixels.

    Raises:
        MediaError: a side has no pixel, or is more than 200 times the other.
    """
    if min(height, width) < 1 or max(height, width) > MAX_ASPECT * min(height, width):
        raise MediaError(
            f"a visual of {width}x{height} pixels; expected sides of at least 1 pixel, neither more than {MAX_ASPECT} "
            "times the other, crop it first"
        )
    sides = [max(factor, round(side / factor) * factor) for side in (height, width)]
    if sides[0] * sides[1] > max_pixels:
        scale = math.sqrt(height * width / max_pixels)
        sides = [max(factor, math.floor(side / scale / factor) * factor) for side in (height, width)]
    elif sides[0] * sides[1] < min_pixels:
        scale = math.sqrt(min_pixels / (height * width))
        sides = [math.ceil(side * scale / factor) * factor for side in (height, width)]
    return sides[0], sides[1]


def video_frame_budget(frames: int, settings: ClipSettings) -> int:
    """Return the maximum area of one frame of a video, in pixels.

    The total is divided among pairs of frames; a frame gets at most `video_max_pixels`, and at least 1.05 times
    `video_min_pixels` even where the total is then exceeded.

    Args:
        frames: sampled frames of the video, at least 1.
        settings: the three video budgets.
    """
    share = settings.video_total_pixels / frames * 2
    return max(int(min(settings.video_max_pixels, share)), int(settings.video_min_pixels * 1.05))


def on_device(pixels: np.ndarray, device: torch.device) -> torch.Tensor:
    """Copy pixels to a device, for CUDA through pinned memory, so that the copy does not wait for the device."""
    values = torch.from_numpy(np.ascontiguousarray(pixels))
    if device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def picture_patches(
    picture: Image.Image, settings: ClipSettings, patch: int, temporal: int, merge: int, device: torch.device = CPU
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn a picture into the input of the vision transformer, bit-identical to that of `Qwen2VLImageProcessorPil`.

    Only whole grey levels are copied to the device, where they become floats and patches.

    Args:
        picture: RGB.
        settings: the image budgets.
        patch: patch side, pixels.
        temporal: times that the picture is repeated in a patch.
        merge: side of the group of patches that becomes one token.
        device: of the patches.

    Returns:
        (N, 3 * temporal * patch * patch) float32 patches, and their (1, 3) int64 grid of times, rows and columns.

    Raises:
        MediaError: a picture without pixels, or more than 200 times as long as wide.
    """
    width, height = picture.size
    least, most = settings.image_min_pixels, settings.image_max_pixels
    height, width = smart_resize(height, width, patch * merge, least, most)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    pixels = on_device(np.array(picture), device).permute(2, 0, 1).to(torch.float32)
    repeated = normalize(pixels.div_(255)).expand(1, temporal, -1, -1, -1)
    return patchify(repeated, patch, temporal, merge), torch.tensor([[1, height // patch, width // patch]])


def video_patches(
    frames: np.ndarray, settings: ClipSettings, patch: int, temporal: int, merge: int, device: torch.device = CPU
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn sampled frames into the input of the vision transformer.

    Only the uint8 frames are copied to the device, which resizes them.

    Args:
        frames: (T, H, W, 3) uint8 RGB. The last frame is repeated until T is a multiple of `temporal`.
        settings: the video budgets.
        patch: patch side, pixels.
        temporal: frames per patch.
        merge: side of the group of patches that becomes one token.
        device: of the patches; the grid stays on the CPU.

    Returns:
        (N, 3 * temporal * patch * patch) float32 patches, and their (1, 3) int64 grid of times, rows and columns.

    Raises:
        MediaError: frames without pixels, or more than 200 times as long as wide.
    """
    times = math.ceil(len(frames) / temporal)
    budget = video_frame_budget(times * temporal, settings)
    height, width = smart_resize(frames.shape[1], frames.shape[2], patch * merge, settings.video_min_pixels, budget)
    grid = torch.tensor([[times, height // patch, width // patch]])
    per_time = (height // patch) * (width // patch)
    pixels = torch.empty(times * per_time, 3 * temporal * patch * patch, device=device)
    step = max(1, (_CHUNK if device.type == "cpu" else _DEVICE_CHUNK) // temporal)
    for first in range(0, times, step):  # in chunks: all frames as float would be several times the size of the result
        part = frames[first * temporal : (first + step) * temporal]
        floats = normalize(resize_frames(part, height, width, device))
        if lacking := -len(floats) % temporal:
            floats = torch.cat([floats, floats[-1:].expand(lacking, -1, -1, -1)])
        pixels[first * per_time : (first + step) * per_time] = patchify(floats[None], patch, temporal, merge)
    return pixels, grid


def resize_frames(frames: np.ndarray, height: int, width: int, device: torch.device = CPU) -> torch.Tensor:
    """Resize frames by bicubic interpolation with antialiasing, in float.

    The result is `torch.nn.functional.interpolate(mode="bicubic", antialias=True)` without rounding to whole grey
    levels, clamped to the range of pixels; the two passes are matrix products here, several times faster on a CPU.

    Args:
        frames: (T, H, W, 3) uint8.
        height: pixels.
        width: pixels.
        device: that computes.

    Returns:
        (T, 3, height, width) float32 in 0..1, on the device.
    """
    pixels = on_device(frames, device).permute(0, 3, 1, 2)  # (T, 3, H, W)
    pixels = pixels.to(torch.float32, memory_format=torch.contiguous_format)
    if pixels.shape[-1] != width:
        wide = pixels.new_empty(*pixels.shape[:-1], width)
        for out, taken, weights in _bands(pixels.shape[-1], width, pixels.device):
            wide[..., out] = pixels[..., taken] @ weights.T
        pixels = wide
    if pixels.shape[-2] != height:
        tall = pixels.new_empty(*pixels.shape[:-2], height, width)
        for out, taken, weights in _bands(pixels.shape[-2], height, pixels.device):
            torch.matmul(weights, pixels[..., taken, :], out=tall[..., out, :])
        pixels = tall
    return pixels.clamp_(0, 255).div_(255)


@functools.lru_cache(maxsize=64)
def _bands(length: int, size: int, device: torch.device) -> tuple[tuple[slice, slice, torch.Tensor], ...]:
    """Cut the matrix of a resize into bands: (output span, span of the input it needs, weights)."""
    weights = _cubic_weights(length, size)
    bands = []
    height = _BAND if device.type == "cpu" else size  # an accelerator multiplies the whole matrix faster than its bands
    for first in range(0, size, height):
        out = slice(first, min(first + height, size))
        columns = np.flatnonzero(np.abs(weights[out]).sum(0))
        taken = slice(int(columns[0]), int(columns[-1]) + 1)
        bands.append((out, taken, torch.from_numpy(weights[out, taken].astype(np.float32)).to(device)))
    return tuple(bands)


def _cubic_weights(length: int, size: int) -> np.ndarray:
    """Return the (size, length) float64 weights of Keys' cubic with a = -0.5, widened when reducing, rows summing to 1.

    Written as PIL and torch apply it: a pixel counts if its centre is within the kernel's support.
    """
    scale = length / size
    widen = max(scale, 1.0)
    centres = (np.arange(size) + 0.5) * scale
    distance = np.abs(np.arange(length) + 0.5 - centres[:, None]) / widen
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    return weights / weights.sum(1, keepdims=True)
