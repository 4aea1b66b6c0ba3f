"""Frames per second and windows that the user chooses."""

from __future__ import annotations

import numpy as np
import pytest
from tests.analysis.test_every_frame import PaintedFaces, painted
from tests.conftest import write_clip

from emotion_qwen import EmotionQwen
from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.request import Request
from emotion_qwen.errors import MediaError, SettingsError
from emotion_qwen.media import video
from emotion_qwen.media.video import read_video
from emotion_qwen.prepare import ClipBudget
from emotion_qwen.settings import ClipSettings


@pytest.fixture
def analyzer(shallow):
    return Analyzer(shallow, PaintedFaces())


@pytest.fixture
def film(tmp_path):
    """Ten seconds at 10 frames per second with one face."""
    return write_clip(tmp_path / "film.mp4", painted(100, {230: (0, 99)}))


def test_the_rate_decides_how_many_frames_are_read_and_all_have_shares(analyzer, film):
    usual, finer = analyzer.analyze(film), analyzer.analyze(film, fps=8)
    assert (usual.provenance["frames"], finer.provenance["frames"]) == (20, 80)
    assert len(finer.people[0].seen) == 80 and all(seen.distribution for seen in finer.people[0].seen)
    assert usual.timeline[1].start == finer.timeline[1].start == 0.5  # the windows are the same


def test_a_window_decides_the_timeline_and_the_shortest_episode(analyzer, film):
    report = analyzer.analyze(film, fps=10, window=0.8)
    lengths = {round(moment.end - moment.start, 6) for moment in report.timeline}
    assert lengths == {0.8} and report.timeline[1].start == pytest.approx(0.2)
    assert all(episode.offset - episode.onset >= 0.4 - 1e-9 for episode in report.episodes)


def test_the_clip_as_a_whole_keeps_the_number_of_frames_that_the_model_knows(analyzer, tmp_path):
    most = analyzer.engine.processor.settings.max_frames
    film = write_clip(tmp_path / "long.mp4", painted(most + 21, {230: (0, most + 20)}))
    prepared = analyzer.prepare(film, Request(fps=10))
    assert len(prepared.clip.frames) == most + 20  # an even number
    assert len(prepared.shown.frames) == most
    assert prepared.shown.times[[0, -1]].tolist() == prepared.clip.times[[0, -1]].tolist()


def test_frames_too_far_apart_for_the_windows_are_said(analyzer, film):
    def sparse(**options) -> list[str]:
        return [text for text in analyzer.analyze(film, **options).provenance["warnings"] if "apart" in text]

    (text,) = sparse(window=0.2)
    assert "the 20 analyzed frames are 0.5 s apart" in text and "--fps" in text
    assert not sparse() and not sparse(fps=10, window=0.2)


def test_frames_in_memory_are_counted_before_they_are_read(film, monkeypatch):
    monkeypatch.setattr(video, "MOST_BYTES", 60 * 96 * 96 * 3)
    assert len(read_video(film, ClipSettings(fps=6)).frames) == 60
    with pytest.raises(MediaError, match=r"80 frames, 8 per second.*--every-frame"):
        read_video(film, ClipSettings(fps=8))


def test_frames_of_an_array_are_read_at_the_rate(shallow):
    model = EmotionQwen(shallow, PaintedFaces())
    frames = list(painted(40, {230: (0, 39)}))
    assert model.analyze(frames, frame_rate=10, fps=10).provenance["frames"] == 40
    with pytest.raises(SettingsError, match="fps"):
        model.analyze(frames[0], fps=10)


def test_a_budget_without_a_rate_is_the_model_s(analyzer):
    budget = ClipBudget(ClipSettings(), 28)
    assert budget.at(None) is budget
    assert budget.at(5).settings.fps == 5 and budget.at(5).whole_frames == 768


@pytest.mark.parametrize("options", [{"fps": 0}, {"fps": -2.0}, {"window": 0.0}, {"window": np.nan}])
def test_a_rate_and_a_window_are_above_zero(options):
    with pytest.raises(SettingsError, match="expected a number above 0"):
        Request(**options)
