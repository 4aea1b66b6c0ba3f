"""Pictures and frames in memory become the clips that files of them would be."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.conftest import write_clip

from emotion_qwen.errors import MediaError, ShapeError
from emotion_qwen.media.in_memory import frames_clip, picture_clip
from emotion_qwen.media.picture import read_picture
from emotion_qwen.media.video import read_video
from emotion_qwen.settings import ClipSettings

SETTINGS = ClipSettings(working_side=64, max_frames=8)
NOISE = np.random.default_rng(3)
PICTURE = NOISE.integers(0, 255, (40, 60, 3), dtype=np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_a_picture_of_pil_is_as_its_file(tmp_path, mode):
    image = Image.fromarray(PICTURE).convert(mode)
    image.save(tmp_path / "picture.png")
    read, made = read_picture(tmp_path / "picture.png", SETTINGS), picture_clip(image)
    assert np.array_equal(read.frames, made.frames)
    assert (made.still, made.size, made.source) == (True, (40, 60), "picture")


def test_the_orientation_of_a_pil_picture_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    Image.fromarray(PICTURE).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as image:
        assert picture_clip(image).size == (60, 40)


def test_an_array_is_taken_as_it_is():
    assert np.array_equal(picture_clip(PICTURE).frames[0], PICTURE)


def test_a_large_picture_is_reduced():
    clip = picture_clip(np.zeros((8, 5000, 3), np.uint8))
    assert clip.size == (8, 5000) and clip.frames.shape[2] == 4096


@pytest.mark.parametrize(
    "picture", [PICTURE.astype(np.float32), PICTURE[..., :2], PICTURE[0], np.zeros((0, 4, 3), np.uint8), "a.png"]
)
def test_what_is_no_picture_is_named(picture):
    kind = "str" if isinstance(picture, str) else str(picture.dtype)
    with pytest.raises(ShapeError, match=rf"^the picture is {kind}.*expected uint8 \(H, W, 3\) in RGB"):
        picture_clip(picture)


def test_frames_are_chosen_as_of_a_file(tmp_path):
    frames = NOISE.integers(0, 255, (25, 32, 48, 3), dtype=np.uint8)
    read = read_video(write_clip(tmp_path / "clip.mp4", frames, fps=5), SETTINGS)
    made = frames_clip(list(frames), 5, SETTINGS)
    assert np.allclose(made.times, read.times) and len(made.times) == 8
    assert (made.duration, made.size, made.still) == (pytest.approx(read.duration), (32, 48), False)
    assert np.array_equal(made.frames, frames[np.rint(made.times * 5).astype(int)])


def test_frames_may_be_an_array_or_pictures_and_are_reduced():
    frames = np.zeros((6, 100, 200, 3), np.uint8)
    clips = [frames_clip(given, 12.5, SETTINGS) for given in (frames, [Image.fromarray(frame) for frame in frames])]
    assert [clip.frames.shape[1:3] for clip in clips] == [(32, 64)] * 2
    assert clips[0].size == (100, 200)


def test_start_and_end_cut_frames():
    frames = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    clip = frames_clip(frames, 10, ClipSettings(fps=10), start=0.5, end=1.5)
    assert clip.times.tolist() == pytest.approx(np.arange(5, 15) / 10) and clip.frames[0, 0, 0, 0] == 5


@pytest.mark.parametrize(
    ("frames", "rate", "error", "message"),
    [
        ([], 25, MediaError, "the list has no frames; expected at least one picture"),
        ([PICTURE], 0, MediaError, "frame_rate is 0; expected the frames per second"),
        ([PICTURE], float("nan"), MediaError, "frame_rate is nan; expected"),
        ([PICTURE, PICTURE[:8]], 25, ShapeError, r"frame 1 is \(8, 60, 3\), the first \(40, 60, 3\)"),
    ],
)
def test_what_is_no_clip_is_named(frames, rate, error, message):
    with pytest.raises(error, match=message):
        frames_clip(frames, rate, SETTINGS)
