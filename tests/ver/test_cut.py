"""Clips hold exactly their frames, copied where keyframes allow, with their sound."""

from __future__ import annotations

import av
import numpy as np
import pytest
from tests.ver.films import colours, tone, write

from emotion_qwen.errors import StorageError
from emotion_qwen.media.clip import Sources, read_clip
from emotion_qwen.settings import ClipSettings
from emotion_qwen.ver.settings import CutSettings, SegmentSettings
from emotion_qwen.ver.steps.cut import CutClip
from emotion_qwen.ver.steps.segment import SegmentVideo
from emotion_qwen.ver.store.columns import KEPT, REJECTED

pytest.importorskip("scenedetect")
ALL = ClipSettings.of({"fps": 1000, "min_frames": 2, "max_frames": 4000})
SETTINGS = SegmentSettings(shortest=0.5, longest=9.0)


def rows_of(path):
    return SegmentVideo(SETTINGS)({"source_id": "s", "path": str(path)})


def cut(row, folder, **settings):
    return CutClip(CutSettings(**settings), str(folder))(row)[0]


def read(folder, made):
    return read_clip(folder / made["media"], ALL, sources=Sources(sound=True))


@pytest.mark.parametrize("keys, copied", [((20,), True), ((), False)])
def test_packets_are_copied_where_a_keyframe_allows(tmp_path, keys, copied):
    frames = colours(20, 30)
    film = write(tmp_path / "film.mp4", frames, keys=keys, sound=tone(5.0))
    _, row = rows_of(film)
    made = cut(row, tmp_path)
    assert made["status"] == KEPT and made["copied"] is copied
    clip = read(tmp_path, made)
    assert len(clip.frames) == 30 and clip.times[-1] == pytest.approx(2.9, abs=0.01)
    assert np.abs(clip.frames.astype(int).mean((1, 2)) - frames[20:].mean((1, 2))).max() < 12
    assert clip.wave is not None and len(clip.wave) / clip.sample_rate == pytest.approx(3.0, abs=0.065)  # a packet


def test_sound_stays_with_its_pictures(tmp_path):
    sound = np.zeros(16000 * 5, np.float32)
    sound[round(16000 * 3.0) : round(16000 * 3.2)] = tone(1.0)[:3200]
    film = write(tmp_path / "film.mp4", colours(20, 30), sound=sound)
    clip = read(tmp_path, cut(rows_of(film)[1], tmp_path))
    whole = read_clip(film, ALL, sources=Sources(sound=True))  # an encoder's own delay is in the film already
    for one, later in ((whole, 0.0), (clip, 2.0)):
        loud = np.flatnonzero(np.abs(one.wave) > 0.05) / one.sample_rate + later
        assert loud[[0, -1]] == pytest.approx([3.11, 3.26], abs=0.03)


def test_copying_can_be_switched_off_and_the_last_frame_is_there(tmp_path):
    film = write(tmp_path / "film.mp4", colours(20, 30), keys=(20,))
    made = cut(rows_of(film)[1], tmp_path, copy_packets=False)
    assert made["copied"] is False and len(read(tmp_path, made).frames) == 30


def test_an_upright_video_is_written_upright_at_its_times(tmp_path):
    times = np.cumsum([0.04, 0.11, 0.02] * 10)
    film = write(tmp_path / "film.mkv", colours(30, side=(96, 54)), times=times)
    (row,) = rows_of(film)
    clip = read(tmp_path, cut(row, tmp_path))
    assert clip.size == (96, 54)
    assert clip.times == pytest.approx(times - times[0], abs=0.002)


def test_a_source_that_went_away_is_a_named_rejection(tmp_path):
    film = write(tmp_path / "film.mp4", colours(20))
    (row,) = rows_of(film)
    film.unlink()
    made = cut(row, tmp_path)
    assert made["status"] == REJECTED and made["reason"].startswith("cannot be cut: ") and "film.mp4" in made["reason"]


def test_a_full_disk_leaves_the_clip_open_and_nothing_half_written(tmp_path, monkeypatch):
    film = write(tmp_path / "film.mp4", colours(20))
    (row,) = rows_of(film)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    folder = tmp_path / "clips"
    folder.mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(av, "open", full)
        patched.setattr("emotion_qwen.ver.steps.cut._copy", full)
        with pytest.raises(StorageError, match="No space left on device.; free space and run again"):
            cut(row, folder)
    assert not list(folder.iterdir())
    assert cut(row, folder)["status"] == KEPT
