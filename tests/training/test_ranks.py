"""Who fills the feature cache, on which device, and how a fault in a worker is told."""

from types import SimpleNamespace

import pytest
import torch

from emotion_qwen.errors import DataError
from emotion_qwen.training import run
from emotion_qwen.training.plan import read_settings
from emotion_qwen.training.ranks import on_rank_zero, without_worker


class Vision:
    def __init__(self):
        self.devices = ["cpu"]

    def parameters(self):
        yield torch.zeros(1)

    def to(self, device):
        self.devices.append(str(device))
        return self


@pytest.mark.parametrize("rank", [0, 1])
def test_rank_zero_fills_on_the_device_of_training_and_from_all_sources(rank, monkeypatch, config_file, tmp_path):
    vision, filled = Vision(), []

    def fill(self, sources, workers):
        filled.append((vision.devices[-1], list(sources), workers))

    monkeypatch.setattr(run, "FeatureFiller", lambda folder, *more: type("Filler", (), {"fill": fill})())
    monkeypatch.setattr(run, "FeatureCache", lambda folder: SimpleNamespace(prepare=f"reads {folder.name}"))
    settings = read_settings(config_file(features=str(tmp_path / "f"), batch={"workers": 3}))
    base = SimpleNamespace(model=SimpleNamespace(visual=vision))
    args = SimpleNamespace(device="cuda:5", process_index=rank)
    prepare = run.sample_preparation(settings, args, base, None, ["training", "held"])
    assert prepare == "reads f"
    assert filled == ([("cuda:5", ["training", "held"], 3)] if rank == 0 else [])
    assert vision.devices[-1] == "cpu"  # where the trainer expects it


def test_a_fault_of_the_work_is_raised_alone():
    def work():
        raise DataError("the disk is full")

    with pytest.raises(DataError, match="the disk is full"):
        on_rank_zero(0, work)
    on_rank_zero(1, work)  # does not work


def test_an_error_of_a_worker_is_its_last_line():
    wrapped = (
        "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "x.py", line 1, in f\nemotion_qwen.errors.DataError: 2 sample(s) cannot be used: raise max_rejected\n'
    )
    assert without_worker(wrapped) == "2 sample(s) cannot be used: raise max_rejected"
    assert without_worker("plain: text") == "plain: text"
