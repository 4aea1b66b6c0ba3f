"""Voices are read by split and speaker."""

from __future__ import annotations

import io

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.data.voice_files import RATE, flac, pitch, write_voices

from emotion_qwen.data.voices import decode_voice, read_voices
from emotion_qwen.errors import DataError


@pytest.fixture
def file(tmp_path):
    return write_voices(tmp_path / "voices.parquet")


def test_a_split_and_a_speaker_are_read_at_16_khz(file):
    train = read_voices(file, "train")
    assert (train.ids, train.labels, train.speakers) == (("a", "b"), ("anger", "fear"), (3, 3))
    assert [pitch(wave) for wave in train.waves] == pytest.approx([200, 300], abs=2)
    assert all(abs(len(wave) - 16000) < 20 and wave.dtype == np.float32 for wave in train.waves)
    assert read_voices(file, speakers={8}).ids == ("c",) and len(read_voices(file)) == 3


def test_faults_are_named(file, tmp_path):
    with pytest.raises(DataError, match=r"no voice has split 'test' and a speaker of None; it has splits \['train'"):
        read_voices(file, "test")
    with pytest.raises(DataError, match="gone.parquet' does not exist; give a Parquet file with id, audio, label"):
        read_voices(tmp_path / "gone.parquet")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "thin.parquet")
    with pytest.raises(DataError, match=r"thin.parquet: missing column\(s\) \['audio', 'label', 'speaker', 'split'\]"):
        read_voices(tmp_path / "thin.parquet")
    with pytest.raises(DataError, match="v.parquet: x: the sound cannot be decoded"):
        decode_voice(b"not a sound at all", "v.parquet: x")
    half = flac(np.random.default_rng(0).normal(0, 0.1, RATE).clip(-1, 1))
    with pytest.raises(DataError, match="v.parquet: x: the sound is not whole .*cut short.*leave the row out"):
        decode_voice(half[: len(half) // 3], "v.parquet: x")


def test_a_voice_is_decoded_as_a_plain_decoder_does():
    data = flac(np.random.default_rng(0).normal(0, 0.1, 3 * RATE).clip(-1, 1))
    pieces = []
    with av.open(io.BytesIO(data)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=16000)
        for frame in [*container.decode(audio=0), None]:
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
    assert np.abs(decode_voice(data) - np.concatenate(pieces)).max() < 1e-6
