"""Clips are prepared while the model works, and cross to its process as whole grey levels, never as float patches."""

import dataclasses
import time
from multiprocessing.reduction import ForkingPickler
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.batch.slow_preparation import SlowPreparation

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.request import Request
from emotion_qwen.batch import folder, following, preparation
from emotion_qwen.batch.commands import _tell_waiting
from emotion_qwen.batch.demo import make_demo_clip
from emotion_qwen.batch.folder import ASKING, READING, analyze_all
from emotion_qwen.batch.following import Following
from emotion_qwen.batch.preparation import Preparation, prepare_all, spare_workers
from emotion_qwen.batch.sharding import TOGETHER
from emotion_qwen.errors import MediaError
from emotion_qwen.media.clip import Sources
from emotion_qwen.prepare import ClipBudget
from emotion_qwen.settings import ClipSettings


def device_model(monkeypatch, read) -> SimpleNamespace:
    """A model on another device, which leaves the cores free: `read` gets the number of clips."""

    def results(reader, clips, request):
        read(len(clips))
        return [MediaError("read")] * len(clips)

    monkeypatch.setattr(folder, "Preparation", SlowPreparation)
    return SimpleNamespace(
        detector=None, budget=ClipBudget(ClipSettings(), 28), sources=Sources, reader=lambda request: None,
        engine=SimpleNamespace(device=torch.device("cuda")), read=results,
    )  # fmt: skip


def test_the_next_group_is_prepared_while_the_model_works(monkeypatch, tmp_path):
    seen = []

    def read(count):
        end = time.monotonic() + 30
        wanted = 2 * TOGETHER if not seen else 0
        while len(list(tmp_path.glob("*.seen"))) < wanted and time.monotonic() < end:
            time.sleep(0.02)
        seen.append(len(list(tmp_path.glob("*.seen"))))

    files = [tmp_path / f"{number:02}.mp4" for number in range(34)]
    assert len(list(analyze_all(device_model(monkeypatch, read), files, Request(), workers=3))) == 34
    assert seen[0] >= 2 * TOGETHER  # a process that prepares its clips itself would wait for ever


@pytest.mark.slow
def test_a_model_on_another_device_waits_less_than_a_fifth_of_the_time(monkeypatch, tmp_path):
    shown, files = Following(64), [tmp_path / f"{number:02}.mp4" for number in range(64)]
    model = device_model(monkeypatch, lambda count: time.sleep(0.15 * count))
    began = time.time()
    assert len(list(analyze_all(model, files, Request(), workers=3, stage=shown.stage))) == 64
    seconds = shown.seconds()
    # Starting processes is left out, as it takes between 1 and 10 s by what else the machine does.
    start = min(file.stat().st_mtime for file in tmp_path.glob("*.seen")) - 0.1 - began
    assert (seconds[READING] - start) / (sum(seconds.values()) - start) < 0.2, seconds  # 0.4 without processes
    assert seconds[ASKING] >= 64 * 0.15


def test_a_run_says_how_long_its_model_waited(monkeypatch, capsys):
    clock = iter([0.0, 1.0, 4.0, 6.0, 7.0])
    monkeypatch.setattr(following.time, "perf_counter", lambda: next(clock))
    shown = Following(2)
    assert shown.seconds() == {}  # at 0: no stage was told, as with other engines
    for stage in (READING, ASKING, READING):  # from 1, 4 and 6 on
        shown.stage(stage)
    spent = shown.seconds()
    assert spent == {READING: 4.0, ASKING: 2.0}
    _tell_waiting(spent)
    assert capsys.readouterr().err == "the model waited for clips during 67% of 6.0 s\n"


def arrays(value, found=None) -> list:
    """Every array and tensor in nested records."""
    found = [] if found is None else found
    if isinstance(value, np.ndarray | torch.Tensor):
        found.append(value)
    elif dataclasses.is_dataclass(value):
        [arrays(getattr(value, each.name), found) for each in dataclasses.fields(value)]
    elif isinstance(value, dict | list | tuple):
        [arrays(each, found) for each in (value.values() if isinstance(value, dict) else value)]
    return found


def test_no_float_patches_cross_the_border_of_a_process(nano, tmp_path):
    file, analyzer = make_demo_clip(tmp_path / "astronaut.mp4"), Analyzer(nano)
    how = Preparation(analyzer.detector, analyzer.budget, analyzer.sources())
    ((_, prepared),) = prepare_all([file], how, workers=1)
    assert prepared.people
    pictures = [array for array in arrays(prepared) if array.ndim > 2]
    assert len(pictures) == 2 + len(prepared.people) and {array.dtype for array in pictures} == {np.dtype("uint8")}
    # What is sent are these pictures, the sound, and little else: boxes, times, words.
    waves = 0 if prepared.clip.wave is None else prepared.clip.wave.nbytes
    assert len(ForkingPickler.dumps(prepared)) < sum(array.nbytes for array in pictures) + waves + 20_000


@pytest.mark.parametrize(
    ("cores", "device", "expected"),
    [
        (2, "cpu", 0),
        (4, "cpu", 2),
        (16, "cpu", 4),
        (1, "cuda", 1),
        (2, "service", 1),
        (16, "cuda", 15),
        (96, "cuda", 32),
    ],
)
def test_processes_by_cores_and_device(cores, device, expected, monkeypatch):
    monkeypatch.setattr(preparation.os, "sched_getaffinity", lambda process: set(range(cores)))
    assert spare_workers(device) == expected
