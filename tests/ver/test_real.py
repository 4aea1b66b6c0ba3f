"""A full build on real clips and a longer video joined from them, with a scripted teacher over HTTP."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pytest
from rich.console import Console
from tests.ver.films import joined
from tests.ver.sets import settings
from tests.ver.teachers import ServedTeacher

from emotion_qwen.media.clip import read_clip
from emotion_qwen.settings import ClipSettings
from emotion_qwen.ver.export import load_ver
from emotion_qwen.ver.pipeline import Build

pytest.importorskip("scenedetect")


@pytest.mark.slow
def test_real_clips_from_source_second_to_sample(shared_data, tmp_path):
    clips, folder = shared_data / "clips", tmp_path / "videos"
    folder.mkdir()
    for name in ("face_noface.mov", "asl_hungry.mkv"):
        shutil.copy(clips / name, folder / name)
    names = ("WolfgangLanger_Pexels.mp4", "asl_sorry.mkv", "single_face.mp4", "asl_thanks.mkv")
    starts = joined(folder / "long.mp4", *(clips / name for name in names))
    with ServedTeacher() as teacher:
        chosen = settings(folder, tmp_path / "set", teacher.url, segment={"shortest": 1.0, "longest": 15.0},
                          select={"expressions": False, "side": 480, "most_frames": 48})  # fmt: skip
        made = Build(chosen, console=Console(file=io.StringIO()))
        made.run()
    segments = list(made.tables["segment"].rows())
    found = [row["first_frame"] for row in segments if row["source"] == "long.mp4"]
    assert np.abs(np.array(found) - starts).max() <= 2
    cartoon = next(row for row in segments if row["source"] == "face_noface.mov" and row["start"] > 1)
    assert abs(cartoon["first_frame"] - 72) <= 2
    reasons = {row["clip"]: row["reason"] for row in made.tables["select"].rows()}
    assert reasons[cartoon["clip"]] == "no face"
    assert sum(reason.startswith("near duplicate") for reason in reasons.values()) == 1  # the man, in two films
    by_clip = {row["clip"]: row for row in segments}
    samples = load_ver(tmp_path / "set", language="en")
    assert len(samples) >= 4
    few = {"fps": 1000, "min_frames": 2, "max_frames": 4, "working_side": 160}
    for sample in samples:
        row = by_clip[sample.id.partition("/")[0]]
        assert sample.source == f"{row['source']} {row['start']:.3f}-{row['end']:.3f} s"
        ours = read_clip(sample.messages[0]["content"][0]["video"], ClipSettings.of(few))
        theirs = read_clip(row["path"], ClipSettings.of(few), start=row["start"], end=row["end"])
        assert np.abs(ours.frames[0].astype(int) - theirs.frames[0]).mean() < 6
        assert np.abs(ours.frames[-1].astype(int) - theirs.frames[-1]).mean() < 6
    figures = json.loads((tmp_path / "set" / "stats.json").read_text())
    assert figures["clips"] == len(samples) and figures["rejections"]["no face"] == 1
