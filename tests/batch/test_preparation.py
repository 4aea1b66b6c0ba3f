"""Clips are prepared by other processes: in order, not too many at once, and the death of one costs one clip."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from emotion_qwen.batch.preparation import Preparation, prepare_all
from emotion_qwen.errors import MediaError
from emotion_qwen.prepare import PreparedClip
from emotion_qwen.records import Clip


class Scripted(Preparation):
    """Prepares by the file's name: `kill` ends the process, `bad` is no clip, `slow` waits."""

    def __init__(self) -> None:
        pass

    def __call__(self, path: Path) -> PreparedClip:
        if "kill" in path.name:
            os.kill(os.getpid(), signal.SIGKILL)
        if "bad" in path.name:
            raise MediaError(f"{str(path)!r} is bad")
        if "slow" in path.name:
            time.sleep(0.3)
        path.with_suffix(".seen").touch()
        clip = Clip(np.zeros((1, 2, 2, 3), np.uint8), np.zeros(1), str(path))
        return PreparedClip(clip, clip, (), float(os.getpid()))


def files(folder: Path, *names: str) -> list[Path]:
    return [folder / name for name in names]


def test_a_killed_worker_costs_its_clip_and_nothing_else(tmp_path):
    wanted = files(tmp_path, "a", "kill1", "slow", "bad", "kill2", "b", "c")
    found = list(prepare_all(wanted, Scripted(), workers=2))
    assert [file for file, _ in found] == wanted
    told = {file.name: str(clip) for file, clip in found if isinstance(clip, MediaError)}
    assert set(told) == {"kill1", "bad", "kill2"}
    assert "could not be prepared: the process that read it was ended by signal 9" in told["kill1"]
    assert told["bad"].endswith("bad' is bad")
    pids = {clip.took for _, clip in found if isinstance(clip, PreparedClip)}
    assert os.getpid() not in pids


def test_no_more_clips_wait_than_asked_for_and_all_processes_end(tmp_path):
    wanted = files(tmp_path, *(f"{number:02}" for number in range(12)))
    clips = prepare_all(wanted, Scripted(), workers=1, ahead=2)
    _, first = next(clips)
    time.sleep(0.5)
    assert len(list(tmp_path.glob("*.seen"))) <= 1 + 2 + 1
    clips.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(first.took), 0)


def test_without_workers_files_are_prepared_when_they_are_asked_for(tmp_path):
    clips = prepare_all(files(tmp_path, "a", "bad", "b"), Scripted(), workers=0)
    _, first = next(clips)
    assert first.took == os.getpid() and len(list(tmp_path.glob("*.seen"))) == 1
    assert isinstance(next(clips)[1], MediaError)
