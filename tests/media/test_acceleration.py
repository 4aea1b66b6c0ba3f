"""Decoding on a device is asked for, tried once, and given up with one line; a fake stands for the device."""

import subprocess
import sys
from typing import ClassVar

import av
import numpy as np
import pytest
from tests.conftest import write_clip

from emotion_qwen.media import acceleration, container
from emotion_qwen.media.video import read_video
from emotion_qwen.settings import ClipSettings


@pytest.fixture(autouse=True)
def untried():
    acceleration._is_usable.cache_clear()
    yield
    acceleration._is_usable.cache_clear()


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    write_clip(path, np.random.default_rng(0).integers(0, 255, (6, 48, 64, 3), dtype=np.uint8))
    return path


class FakeDevice:
    """Stands for PyAV's HWAccel: a device of kind "fake", or "broken", whose driver is missing."""

    made: ClassVar[list] = []

    def __init__(self, kind, device=None, allow_software_fallback=False):
        self.kind, self.fallback = kind, allow_software_fallback
        self.made.append((kind, device))

    def create(self, codec):
        assert codec.name == "h264"
        if self.kind == "broken":
            raise av.error.ExternalError(1, "no driver\nat all")


@pytest.fixture
def opened(monkeypatch):
    """What is handed to PyAV as device for each file; the file itself is decoded on the CPU."""
    devices, plain = [], av.open
    monkeypatch.setattr(acceleration, "HWAccel", FakeDevice)
    monkeypatch.setattr(acceleration, "hwdevices_available", lambda: ["fake", "broken"])
    monkeypatch.setattr(FakeDevice, "made", [])

    def recorded(*arguments, hwaccel=None, **options):
        devices.append(hwaccel)
        return plain(*arguments, **options)

    monkeypatch.setattr(container.av, "open", recorded)
    return devices


def test_nothing_is_asked_for_by_default(clip, opened, monkeypatch, capfd):
    monkeypatch.delenv(acceleration.VARIABLE, raising=False)
    read_video(clip, ClipSettings())
    assert opened and set(opened) == {None} and not FakeDevice.made and not capfd.readouterr().err


def test_a_device_decodes_every_file_and_falls_back_by_format(clip, opened, monkeypatch, capfd):
    monkeypatch.setenv(acceleration.VARIABLE, "fake:1")
    frames = read_video(clip, ClipSettings()).frames
    assert opened and all(device.kind == "fake" and device.fallback for device in opened)
    assert set(FakeDevice.made) == {("fake", "1")} and not capfd.readouterr().err
    monkeypatch.delenv(acceleration.VARIABLE)
    assert np.array_equal(frames, read_video(clip, ClipSettings()).frames)


@pytest.mark.parametrize(
    ("name", "reason"), [("broken", "no driver at all"), ("nvdec", "this FFmpeg offers fake, broken")]
)
def test_a_device_that_cannot_be_used_is_one_warning(name, reason, clip, opened, monkeypatch, capfd):
    monkeypatch.setenv(acceleration.VARIABLE, name)
    for _ in range(2):
        assert len(read_video(clip, ClipSettings()).frames)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"warning: EMOTION_QWEN_HWACCEL={name}: not usable (") and reason in line
    assert line.endswith("videos are decoded on the CPU") and set(opened) == {None}
    code = "import os; print(os.environ.get('EMOTION_QWEN_HWACCEL'))"
    later = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert later.stdout == "None\n"  # processes that begin later do not try again
