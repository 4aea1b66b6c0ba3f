"""Waves longer than what is held in memory: the same samples, at flat memory, or one line where the disk is full."""

from __future__ import annotations

import tempfile
import tracemalloc

import numpy as np
import pytest

from emotion_qwen.errors import StorageError
from emotion_qwen.media import wave
from emotion_qwen.media.level import settled
from emotion_qwen.media.sound import read_sound
from emotion_qwen.media.wave import WaveWriter

from .test_sound import noise, write_wav

PIECES = ((5, 10), (-3, 8), (40, 20), (2, 4))  # place, samples; before the beginning, apart, and over each other


@pytest.mark.parametrize("limit", [2**20, 100, 0], ids=["memory", "memory, then disk", "disk"])
@pytest.mark.parametrize("length", [0, 3, 30, 60, 90])
def test_pieces_stand_at_their_places_wherever_they_are_kept(monkeypatch, limit, length):
    monkeypatch.setattr(wave, "IN_MEMORY", limit)
    writer, expected = WaveWriter(), np.zeros(100, np.float32)
    for number, (place, count) in enumerate(PIECES, start=1):
        samples = np.arange(count, dtype=np.float32) + 100 * number
        writer.write(place, samples)
        expected[max(place, 0) : place + count] = samples[max(-place, 0) :]
    assert writer.end == 60
    written = writer.wave(length)
    assert type(written) is np.ndarray and written.dtype == np.float32 and written.flags.writeable
    assert np.array_equal(written, expected[:length])


def test_a_sound_is_the_same_in_memory_and_on_disk(tmp_path, monkeypatch):
    path = write_wav(tmp_path / "a.wav", (noise(5, 44_100)[:, None] + 0.3).astype("<f4"), 44_100)
    kept = settled(read_sound(path))
    monkeypatch.setattr(wave, "IN_MEMORY", 2**10)
    mapped = settled(read_sound(path))
    assert np.array_equal(mapped.wave, kept.wave) and mapped.warnings == kept.warnings and kept.warnings


@pytest.mark.parametrize("offset", [0.0, 0.3], ids=["as it is", "with its offset taken out"])
def test_memory_does_not_follow_the_length(tmp_path, monkeypatch, offset):
    """Limits and blocks are small here, so that minutes are long."""
    monkeypatch.setattr(wave, "IN_MEMORY", 2**18)
    monkeypatch.setattr("emotion_qwen.media.level._BLOCK", 2**14)
    peaks = []
    for seconds in (20, 80):  # at 16 kHz 1.3 and 5.1 MB
        samples = (np.tile(noise(10, 8000)[:, None], (seconds // 10, 1)) + offset).astype("<f4")
        path = write_wav(tmp_path / f"{seconds}.wav", samples, 8000)
        tracemalloc.start()
        sound = settled(read_sound(path))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(sound.wave) == seconds * 16_000 and bool(sound.warnings) == bool(offset)
    assert peaks[1] < peaks[0] + 500_000, peaks


def test_a_temporary_folder_without_room_is_named(monkeypatch):
    def full(_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wave, "IN_MEMORY", 0)
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", full)
    with pytest.raises(StorageError, match=r"temporary folder '.*' \(No space left on device\); free space there"):
        WaveWriter().write(0, np.ones(3, np.float32))
