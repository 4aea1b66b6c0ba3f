"""Voices are varied without losing what they say, and asked about."""

from __future__ import annotations

import random

import numpy as np
import pytest
from tests.data.voice_files import pitch, tone, write_voices

from emotion_qwen.data.parts import read_part
from emotion_qwen.data.voices import read_voices
from recipes.nano import parts
from recipes.nano.voices import vary

KIND = f"{parts.__file__}:voices"


@pytest.fixture
def file(tmp_path):
    return write_voices(tmp_path / "voices.parquet")


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
    part = read_part(KIND, "speech", "emotion", file, "train")
    samples = [part.sample(index, turn) for index in range(2) for turn in range(12)]
    assert {sample.labels["emotion"] for sample in samples} == {"anger", "fear"}
    answers = {sample.messages[1]["content"] for sample in samples}
    assert {"anger", "fear"} & answers and any("愤怒" in answer or "害怕" in answer for answer in answers)
    first, again = part.sample(0, 1), part.sample(0, 1)
    sounds = [one.messages[0]["content"][0]["audio"] for one in (first, again, part.sample(0, 2))]
    assert np.array_equal(sounds[0], sounds[1]) and not np.array_equal(sounds[0], sounds[2])
    plain = read_part(KIND, "speech", "emotion", file, "train", varied=False)
    assert np.array_equal(plain.sample(0, 1).messages[0]["content"][0]["audio"], read_voices(file, "train").waves[0])
    assert plain.identity != part.identity
