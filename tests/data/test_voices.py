"""Voices are read by split and speaker, and varied without losing what they say."""

from __future__ import annotations

import io
import random

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emotion_qwen.data.parts import read_part
from emotion_qwen.data.voices import decode, read_voices, vary
from emotion_qwen.errors import DataError

RATE = 22050


def tone(hertz: float, seconds: float = 1.0, rate: int = 16000) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def flac(wave: np.ndarray) -> bytes:
    kept = io.BytesIO()
    with av.open(kept, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray((wave * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return kept.getvalue()


@pytest.fixture
def file(tmp_path):
    rows = [("a", "anger", 3, "train"), ("b", "fear", 3, "train"), ("c", "anger", 8, "validation")]
    sounds = [flac(tone(200 + 100 * n, rate=RATE)) for n in range(3)]
    columns = {
        "id": [row[0] for row in rows], "audio": sounds, "label": [row[1] for row in rows],
        "speaker": [row[2] for row in rows], "split": [row[3] for row in rows],
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "voices.parquet")
    return tmp_path / "voices.parquet"


def pitch(wave: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(wave)).argmax() * 16000 / len(wave))


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
        decode(b"not a sound at all", "v.parquet: x")
    half = flac(np.random.default_rng(0).normal(0, 0.1, RATE).clip(-1, 1))
    with pytest.raises(DataError, match="v.parquet: x: the sound is not whole .*cut short.*leave the row out"):
        decode(half[: len(half) // 3], "v.parquet: x")


def test_a_voice_is_decoded_as_a_plain_decoder_does():
    data = flac(np.random.default_rng(0).normal(0, 0.1, 3 * RATE).clip(-1, 1))
    pieces = []
    with av.open(io.BytesIO(data)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=16000)
        for frame in [*container.decode(audio=0), None]:
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
    assert np.abs(decode(data) - np.concatenate(pieces)).max() < 1e-6


def test_a_varied_voice_has_its_length_another_pitch_and_comes_again_with_its_draw():
    wave = tone(220.0)
    varied = [vary(wave, random.Random(seed)) for seed in range(20)]
    assert all(len(one) == len(wave) and one.dtype == np.float32 for one in varied)
    pitches = [pitch(one) for one in varied]
    assert 220 * 0.87 < min(pitches) < 205 and 235 < max(pitches) < 220 * 1.13
    assert np.array_equal(varied[3], vary(wave, random.Random(3))) and not np.array_equal(varied[3], varied[4])
    levels = [float(np.sqrt(np.mean(one**2))) for one in varied]
    assert max(levels) / min(levels) > 1.5


def test_a_part_asks_about_every_voice_in_both_languages(file):
    part = read_part("voices", "speech", "emotion", file, "train")
    samples = [part.sample(index, turn) for index in range(2) for turn in range(12)]
    assert {sample.labels["emotion"] for sample in samples} == {"anger", "fear"}
    answers = {sample.messages[1]["content"] for sample in samples}
    assert {"anger", "fear"} & answers and any("愤怒" in answer or "害怕" in answer for answer in answers)
    first, again = part.sample(0, 1), part.sample(0, 1)
    sounds = [one.messages[0]["content"][0]["audio"] for one in (first, again, part.sample(0, 2))]
    assert np.array_equal(sounds[0], sounds[1]) and not np.array_equal(sounds[0], sounds[2])
    plain = read_part("voices", "speech", "emotion", file, "train", varied=False)
    assert np.array_equal(plain.sample(0, 1).messages[0]["content"][0]["audio"], read_voices(file, "train").waves[0])
    assert plain.identity != part.identity
