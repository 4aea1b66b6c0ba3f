import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize as theirs

from emotion_qwen.errors import MediaError
from emotion_qwen.processing import patches
from emotion_qwen.processing.patches import (
    normalize,
    patchify,
    picture_patches,
    resize_frames,
    smart_resize,
    video_frame_budget,
    video_patches,
)
from emotion_qwen.settings import ClipSettings

GOLDEN = Path(__file__).parents[1] / "golden"
SETTINGS = ClipSettings()
LOW, HIGH = SETTINGS.video_min_pixels, SETTINGS.video_max_pixels


@pytest.fixture(scope="module")
def make_resize():
    sys.path.insert(0, str(GOLDEN))
    import make_resize

    sys.path.remove(str(GOLDEN))
    return make_resize


@pytest.mark.parametrize(
    ("size", "caps", "expected", "tokens"),
    [
        ((720, 1280), (LOW, 448 * 448), (336, 588), 252),  # official_release.md 1.4
        ((720, 1280), (LOW, HIGH), (560, 1008), 720),
        ((1080, 1920), (LOW, HIGH), (560, 1008), 720),
        ((224, 224), (LOW, HIGH), (336, 336), 144),
        ((360, 640), (LOW, HIGH), (364, 644), 299),
        ((3000, 4000), (3136, 1_003_520), (840, 1148), 1230),
        ((1, 1), (3136, 1_003_520), (56, 56), 4),
        ((10, 2000), (3136, 1_003_520), (28, 1988), 71),
    ],
)
def test_smart_resize_golden(size, caps, expected, tokens):
    assert smart_resize(*size, 28, *caps) == expected
    assert expected[0] * expected[1] // 28**2 == tokens


def test_smart_resize_is_theirs_in_the_budget():
    rng = np.random.default_rng(0)
    for height, width in rng.integers(28, 3000, (200, 2)).tolist():
        assert smart_resize(height, width, 28, LOW, HIGH) == theirs(height, width, 28, LOW, HIGH)


@pytest.mark.parametrize(("height", "width"), [(1, 201), (402, 2), (0, 5)])
def test_smart_resize_refuses_slivers(height, width):
    with pytest.raises(MediaError, match=rf"a visual of {width}x{height} pixels; .*200 times the other, crop it first"):
        smart_resize(height, width, 28, LOW, HIGH)


def test_frame_budget():
    assert video_frame_budget(38, SETTINGS) == HIGH
    assert video_frame_budget(400, SETTINGS) == 90_316_800 // 200
    assert video_frame_budget(100_000, SETTINGS) == int(1.05 * LOW)


@pytest.mark.parametrize("name", ["reduced", "enlarged"])
def test_resize_equals_the_float64_reference(make_resize, name):
    golden = np.load(GOLDEN / "resize.npz")[name]
    frames = make_resize.picture(*make_resize.SIZES[name])
    ours = resize_frames(frames, 28, 28)
    assert ours.shape == (1, 3, 28, 28) and ours.dtype == torch.float32
    assert np.abs(ours[0].numpy() - golden).max() < 1e-6


@pytest.mark.parametrize("size", [(364, 644), (56, 84), (200, 300), (201, 301)])
def test_resize_equals_torch(size):
    """The difference is torch's: it computes kernel centres in float32 (0.03 grey levels)."""
    frames = np.random.default_rng(3).integers(0, 256, (2, 200, 300, 3), dtype=np.uint8)
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    torchs = F.interpolate(pixels, size=size, mode="bicubic", antialias=True).clamp(0, 255) / 255
    assert (resize_frames(frames, *size) - torchs).abs().max() < 1e-4


def test_video_patches_regression(make_resize):
    """Three frames: the last is repeated. Tolerance is that of float32 sums in another order."""
    golden = np.load(GOLDEN / "resize.npz")
    settings = ClipSettings(video_min_pixels=28 * 28, video_max_pixels=28 * 28)
    frames = make_resize.picture(*make_resize.SIZES["enlarged"], 3)
    patches, grid = video_patches(frames, settings, 14, 2, 2)
    assert patches.shape == (8, 1176) and grid.tolist() == golden["grid"].tolist() == [[2, 2, 2]]
    assert np.abs(patches.numpy()[:, ::7] - golden["patches"]).max() < 2e-6


def test_video_patches_do_not_depend_on_chunks():
    frames = np.random.default_rng(3).integers(0, 256, (11, 40, 60, 3), dtype=np.uint8)
    settings = ClipSettings(video_min_pixels=56 * 84, video_max_pixels=56 * 84)
    patches, grid = video_patches(frames, settings, 14, 2, 2)
    whole = resize_frames(np.concatenate([frames, frames[-1:]]), *(14 * side for side in grid[0, 1:].tolist()))
    assert grid[0, 0] == 6
    assert (patches - patchify(normalize(whole)[None], 14, 2, 2)).abs().max() < 1e-6


def test_one_frame_is_repeated():
    frames = np.full((1, 224, 224, 3), 90, dtype=np.uint8)
    patches, grid = video_patches(frames, SETTINGS, 14, 2, 2)
    assert grid.tolist() == [[1, 24, 24]] and len(patches) == 4 * 144
    halves = patches.reshape(-1, 3, 2, 14 * 14)
    assert torch.equal(halves[:, :, 0], halves[:, :, 1])


@pytest.mark.parametrize(("size", "grid"), [((720, 1280), [1, 52, 92]), ((224, 224), [1, 16, 16])])
def test_pictures_have_the_grid_of_the_image_processor(size, grid):
    settings = ClipSettings()
    processor = Qwen2VLImageProcessorPil(min_pixels=settings.image_min_pixels, max_pixels=settings.image_max_pixels)
    out = processor(np.zeros((*size, 3), dtype=np.uint8), return_tensors="np")
    height, width = smart_resize(*size, 28, settings.image_min_pixels, settings.image_max_pixels)
    assert out["image_grid_thw"].tolist() == [grid] == [[1, height // 14, width // 14]]


def test_patch_order_and_values_are_the_image_processors():
    """At a size that needs no resizing, a still video's patches are the picture's."""
    frame = np.random.default_rng(5).integers(0, 256, (336, 308, 3), dtype=np.uint8)
    processor = Qwen2VLImageProcessorPil(min_pixels=LOW, max_pixels=HIGH)
    theirs = processor(frame, return_tensors="pt")["pixel_values"]
    ours, _ = video_patches(frame[None], SETTINGS, 14, 2, 2)
    assert (ours - theirs).abs().max() < 1e-5


def test_whole_grey_levels_are_copied_to_the_device_and_become_patches_there(monkeypatch):
    copied = []
    copy = patches.on_device

    def counted(pixels, device):
        copied.append((pixels.dtype, device.type))
        return copy(pixels, device)

    monkeypatch.setattr(patches, "on_device", counted)
    frames = np.random.default_rng(0).integers(0, 256, (5, 60, 90, 3), dtype=np.uint8)
    meta = torch.device("meta")
    made = [
        video_patches(frames, SETTINGS, 14, 2, 2, meta),
        picture_patches(Image.fromarray(frames[0]), SETTINGS, 14, 2, 2, meta),
    ]
    plain = [
        video_patches(frames, SETTINGS, 14, 2, 2),
        picture_patches(Image.fromarray(frames[0]), SETTINGS, 14, 2, 2),
    ]
    assert set(copied) == {(np.dtype("uint8"), "meta"), (np.dtype("uint8"), "cpu")}
    for (pixels, grid), (wanted, same) in zip(made, plain, strict=True):
        assert pixels.device.type == "meta" and pixels.shape == wanted.shape and pixels.dtype == torch.float32
        assert torch.equal(grid, same)


@pytest.mark.gpu
def test_patches_of_a_gpu_are_those_of_the_cpu():
    frames = np.random.default_rng(0).integers(0, 256, (70, 61, 90, 3), dtype=np.uint8)
    gpu = torch.device("cuda")
    fitting = Image.fromarray(frames[0, :56, :84])
    assert torch.equal(
        picture_patches(fitting, SETTINGS, 14, 2, 2, gpu)[0].cpu(), picture_patches(fitting, SETTINGS, 14, 2, 2)[0]
    )
    ours = video_patches(frames, SETTINGS, 14, 2, 2, gpu)[0].cpu()
    assert (ours - video_patches(frames, SETTINGS, 14, 2, 2)[0]).abs().max() <= 1e-4
