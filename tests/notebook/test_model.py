"""The public model: files, folders, pictures and frames in; reports with methods out."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.batch.test_folder import EveryFace
from tests.conftest import write_clip

from emotion_qwen import EmotionQwen, FailedClip, Report
from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.errors import MediaError, SettingsError
from emotion_qwen.media.clip import Sources


@pytest.fixture(scope="module")
def model(shallow):
    return EmotionQwen(shallow, EveryFace())


@pytest.fixture
def folder(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (1, 48, 64, 3), dtype=np.uint8)
    write_clip(tmp_path / "a.mp4", frames.repeat(6, 0))
    (tmp_path / "b.mp4").write_text("no video at all\n" * 30)
    Image.fromarray(frames[0]).save(tmp_path / "c.png")
    return tmp_path


def test_a_file_gives_the_report_of_the_analyzer_with_methods(model, shallow, folder):
    report = model.analyze(str(folder / "a.mp4"), "mer6", context="They won.")
    plain = Analyzer(shallow, EveryFace()).analyze(folder / "a.mp4", "mer6", context="They won.")
    assert isinstance(report, Report) and report.distribution == pytest.approx(plain.distribution, abs=1e-6)
    with pytest.raises(MediaError, match="b.mp4"):
        model.analyze(folder / "b.mp4")


def test_many_clips_are_analyzed_in_order_and_a_broken_one_stops_nothing(model, folder, capsys):
    results = list(model.analyze_many(folder))
    assert [result.source for result in results] == [str(folder / name) for name in ("a.mp4", "b.mp4", "c.png")]
    assert [type(result) for result in results] == [Report, FailedClip, Report]
    assert "is text" in results[1].error
    assert "analyzing: 100%" in capsys.readouterr().err
    turned = model.analyze([folder / "c.png", str(folder / "b.mp4")])
    assert [type(result) for result in turned] == [Report, FailedClip]
    assert turned[0].distribution == pytest.approx(results[2].distribution, abs=1e-6)


def test_progress_may_be_a_function_or_nothing(model, folder, capsys):
    calls = []
    list(model.analyze_many([folder / "c.png", folder / "b.mp4"], progress=lambda *numbers: calls.append(numbers)))
    list(model.analyze_many(folder / "c.png", progress=False))
    assert calls == [(1, 2), (2, 2)] and not capsys.readouterr().err


def test_many_clips_come_one_after_another_and_may_be_stopped(model, folder):
    results = model.analyze_many([folder / "c.png", folder / "b.mp4"], progress=False)
    assert next(results).source == str(folder / "c.png")
    results.close()
    with pytest.raises(MediaError, match="does not exist"):
        next(model.analyze_many("nowhere"))


def test_a_picture_in_memory_is_as_its_file(model, folder):
    pixels = np.asarray(Image.open(folder / "c.png"))
    shares = model.analyze(folder / "c.png").distribution
    reports = [
        model.analyze(pixels),
        model.analyze(Image.fromarray(pixels)),
        model.analyze(Image.open(folder / "c.png")),
    ]
    assert [report.distribution for report in reports] == [pytest.approx(shares, abs=1e-6)] * 3
    assert [report.source for report in reports] == ["picture", "picture", str(folder / "c.png")]


def test_frames_have_the_times_of_their_rate(model):
    frames = np.random.default_rng(1).integers(0, 255, (30, 48, 64, 3), dtype=np.uint8)
    report = model.analyze(list(frames), frame_rate=10, start=1.0)
    times = [seen.time for seen in report.people[0].seen]
    assert times[0] == pytest.approx(1.0) and times[-1] == pytest.approx(2.9) and report.timeline
    assert model.analyze(frames, frame_rate=10, start=1.0).to_dict() | {"provenance": 0} == report.to_dict() | {
        "provenance": 0
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_rate": 25}, "frame_rate is of a list of frames; a file has its own"),
        ({"medium": np.zeros((8, 8, 3), np.uint8), "frame_rate": 25}, "a picture has no time; leave frame_rate"),
        ({"medium": np.zeros((2, 8, 8, 3), np.uint8)}, "frames without a frame rate; give frame_rate"),
        ({"medium": np.zeros((8, 8, 3), np.uint8), "sources": Sources()}, "sources are read beside a file"),
    ],
)
def test_options_that_do_not_fit_are_named(model, folder, options, message):
    with pytest.raises(SettingsError, match=message):
        model.analyze(**{"medium": folder / "a.mp4", **options})


def test_loading_shows_no_bar(nano_in_commands, capsys):
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled()
    assert isinstance(EmotionQwen.load(device="cpu"), EmotionQwen)
    assert logging.is_progress_bar_enabled() == before and not capsys.readouterr().err
