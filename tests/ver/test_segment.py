"""Shots begin where the pictures change, words are not cut, and a bad file is one named row."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.ver.films import colours, joined, write

from emotion_qwen.ver.settings import SegmentSettings
from emotion_qwen.ver.steps.segment import SegmentVideo, find_shots
from emotion_qwen.ver.store.columns import KEPT, REJECTED
from emotion_qwen.ver.store.sources import source_id

pytest.importorskip("scenedetect")
SHORT = SegmentSettings(shortest=0.5, longest=4.0)


def segment(path, settings=SHORT):
    return SegmentVideo(settings)({"source_id": "s", "path": str(path)})


def test_cuts_are_found_to_the_frame(tmp_path):
    film = write(tmp_path / "film.mp4", colours(17, 23, 12))
    assert find_shots(film, SHORT).cuts == (0, 17, 40)
    rows = segment(film)
    assert [(row["start"], row["end"], row["frames"]) for row in rows] == [(0, 1.7, 17), (1.7, 4.0, 23), (4.0, 5.2, 12)]
    assert {row["status"] for row in rows} == {KEPT} and rows[1]["clip"] == "s-0000017"


def test_a_variable_frame_rate_moves_no_cut(tmp_path):
    times = np.concatenate([np.arange(20) * 0.05, 1.0 + np.arange(20) * 0.2])
    rows = segment(write(tmp_path / "film.mkv", colours(20, 20), times=times))
    assert [row["start"] for row in rows] == pytest.approx([0.0, 1.0], abs=0.002)
    assert sum(row["frames"] for row in rows) == 40 and rows[0]["frames"] == 20


def test_short_shots_are_rejected_and_long_ones_divided(tmp_path):
    rows = segment(write(tmp_path / "film.mp4", colours(4, 90)))
    assert rows[0]["status"] == REJECTED and rows[0]["reason"] == "shorter than 0.5 s"
    assert [row["end"] - row["start"] for row in rows[1:]] == pytest.approx([3.0, 3.0, 3.0])


SUBTITLES = "1\n00:00:00,500 --> 00:00:03,400\nOne long sentence.\n\n2\n00:00:03,600 --> 00:00:05,500\nAnother.\n"


def test_a_long_shot_is_divided_between_utterances(tmp_path):
    film = write(tmp_path / "film.mp4", colours(60))
    (tmp_path / "film.srt").write_text(SUBTITLES)
    first, second = segment(film)
    assert first["end"] == second["start"] == pytest.approx(3.5, abs=0.11)
    assert json.loads(first["words"]) == [[0.5, 3.4, "One long sentence."]]
    assert json.loads(second["words"])[0][2] == "Another."


def test_an_utterance_across_a_cut_is_left_out_whole(tmp_path):
    film = write(tmp_path / "film.mp4", colours(30, 30))
    (tmp_path / "film.srt").write_text("1\n00:00:02,000 --> 00:00:04,000\nAcross the cut.\n")
    first, second = segment(film)
    assert first["end"] == pytest.approx(2.0) and second["start"] == pytest.approx(4.0)
    assert json.loads(first["words"]) == json.loads(second["words"]) == []


def test_an_utterance_longer_than_a_clip_is_rejected_by_name(tmp_path):
    film = write(tmp_path / "film.mp4", colours(60))
    (tmp_path / "film.srt").write_text("1\n00:00:00,000 --> 00:00:06,000\nOn and on.\n")
    assert {row["reason"] for row in segment(film)} == {"an utterance is longer than a clip may be"}


def test_an_unreadable_video_is_one_rejected_row(tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    (row,) = segment(tmp_path / "bad.mp4")
    assert row["status"] == REJECTED and row["reason"].startswith("unreadable: ") and "bad.mp4" in row["reason"]


def test_names_with_quotes_and_newlines_become_plain_ids(tmp_path):
    path = tmp_path / 'a "b"\nc\'d.mp4'
    write(tmp_path / "x.mp4", colours(8)).rename(path)
    name = source_id(tmp_path, path)
    assert name.startswith("a-b-c-d-") and name.replace("-", "").isalnum()
    assert source_id(tmp_path, path) == name
    (row,) = segment(path)
    assert row["path"] == str(path) and row["status"] == KEPT


def test_three_hours_stay_one_pass(tmp_path):
    frames = np.repeat(colours(1, 1, 1, side=(32, 32)), 120, axis=0)
    film = write(tmp_path / "long.mp4", frames, times=[30.0 * place for place in range(360)], fps=1)
    shots = find_shots(film, SHORT)
    assert shots.timeline.duration > 3 * 3600 - 60 and shots.decoded == 360 and len(shots.cuts) >= 3


def test_real_clips_are_cut_within_two_frames(shared_data, tmp_path):
    clips = shared_data / "clips"
    film = tmp_path / "long.mp4"
    starts = joined(film, clips / "WolfgangLanger_Pexels.mp4", clips / "asl_sorry.mkv", clips / "single_face.mp4")
    found = find_shots(film, SegmentSettings.of({})).cuts
    assert len(found) == len(starts) and np.abs(np.array(found) - starts).max() <= 2


def test_the_cartoon_begins_at_its_frame(shared_data):
    assert abs(find_shots(shared_data / "clips" / "face_noface.mov", SegmentSettings.of({})).cuts[1] - 72) <= 2
