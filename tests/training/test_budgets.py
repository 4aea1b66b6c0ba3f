"""Budgets for clips: a clip of 30 seconds at 7B geometry fits, and the limits go with the trained model."""

import numpy as np
import pytest
from PIL import Image
from tests.conftest import write_clip

from emotion_qwen.data.manifest import write_manifest
from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.processing.folder import load_processor
from emotion_qwen.processing.patches import smart_resize, video_frame_budget
from emotion_qwen.settings import ClipSettings
from emotion_qwen.training.budgets import ClipBudgets
from emotion_qwen.training.plan import read_settings
from emotion_qwen.training.run import run_stage

from .training_runs import chat

PUBLISHED = ClipSettings.of({})


def tokens_of(seconds: float, height: int, width: int, settings: ClipSettings) -> int:
    """Return the tokens of a video at 7B geometry: one per 28 x 28 pixels of two frames."""
    frames = int(min(max(seconds * settings.fps, settings.min_frames), settings.max_frames))
    times = -(-frames // 2)
    area = video_frame_budget(times * 2, settings)
    sides = smart_resize(height, width, 28, settings.video_min_pixels, area)
    return times * sides[0] * sides[1] // 28**2


def with_budgets(**limits) -> ClipSettings:
    return PUBLISHED.model_copy(update=ClipBudgets.of(limits).settings(PUBLISHED, 28))


@pytest.mark.parametrize("tokens", [256, 1000, 4096, 6144])
@pytest.mark.parametrize(("height", "width"), [(405, 720), (720, 405), (720, 720), (96, 720), (20, 30), (30, 230)])
def test_no_clip_has_more_tokens_than_its_budget(tokens, height, width):
    settings = with_budgets(tokens=tokens)
    for seconds in (0.5, 2, 10, 30, 60, 300, 3000):
        assert tokens_of(seconds, height, width, settings) <= tokens
    wide = smart_resize(3000, 2000, 28, settings.image_min_pixels, settings.image_max_pixels)
    assert wide[0] * wide[1] / 28**2 <= tokens
    assert tokens_of(2, 405, 720, with_budgets(tokens=6144)) == tokens_of(2, 405, 720, PUBLISHED)  # it fits as it is


def test_a_clip_of_30_seconds_is_longer_than_a_row_without_a_budget():
    assert tokens_of(30, 405, 720, PUBLISHED) > 8192 > 6144 >= tokens_of(30, 405, 720, with_budgets(tokens=6144)) > 3000


def test_each_limit_changes_its_settings():
    assert with_budgets() == PUBLISHED
    assert with_budgets(fps=1).fps == 1 and with_budgets(frames=8).max_frames == 8
    few = with_budgets(frames=2, pixels=784)
    assert few.min_frames == 2 and few.video_max_pixels == few.image_max_pixels == few.video_min_pixels == 784
    with pytest.raises(SettingsError, match=r"clip.tokens 100 is less than the 167 tokens of the smallest pair"):
        with_budgets(tokens=100)
    assert tokens_of(60, 405, 720, with_budgets(tokens=100, pixels=20 * 784)) <= 100


def test_a_long_clip_stops_no_run_that_has_a_budget(config_file, tiny_start, tmp_path):
    write_clip(tmp_path / "long.mp4", np.zeros((40, 96, 160, 3), np.uint8), fps=2)
    Image.fromarray(np.zeros((48, 48, 3), np.uint8)).save(tmp_path / "face.png")
    samples = [chat(str(n), f"What is {n}?", "happy", str(tmp_path / "face.png")) for n in range(3)]
    asked = [{"type": "video", "video": str(tmp_path / "long.mp4")}, {"type": "text", "text": "What?"}]
    messages = ({"role": "user", "content": asked}, {"role": "assistant", "content": "sad"})
    samples.append(type(samples[0])("long", messages))
    for name in ("general", "emotion"):
        write_manifest(samples, tmp_path / f"{name}.jsonl")
    values = {"folder": str(tmp_path), "batch": {"row_tokens": 128}, "optim": {"steps": 2, "learning_rate": 1e-3}}
    with pytest.raises(DataError, match=r"1 sample\(s\) cannot be used.*'long', \d+ tokens, longer than 128"):
        run_stage(read_settings(config_file(**values)))
    path = config_file(**values, clip={"tokens": 80}, output=str(tmp_path / "fits"))
    run_stage(read_settings(path))
    before, after = (load_processor(folder).settings for folder in (tiny_start, tmp_path / "fits" / "model"))
    assert after.video_total_pixels < before.video_total_pixels and after != before
