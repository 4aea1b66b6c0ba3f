"""Prosody is measured and put in words; words come from subtitles, or from a local Whisper where there are none."""

from __future__ import annotations

import json
import types

import numpy as np
import pytest
from tests.ver.films import colours, tone, write

from emotion_qwen.errors import CheckpointError
from emotion_qwen.media.prosody import prosody_of
from emotion_qwen.media.speech import Recognizer
from emotion_qwen.ver.settings import ListenSettings
from emotion_qwen.ver.steps.listen import ListenToClip, in_words


def test_a_voice_is_measured():
    found = prosody_of(tone(4.0, 160.0), 16000)
    assert found.pitch == pytest.approx(160, abs=3) and found.spread < 0.5 and found.voiced > 0.5
    assert found.rate == pytest.approx(4.0, abs=1.2)
    assert found.pauses == 1 and found.longest_pause == pytest.approx(0.6, abs=0.25)


def test_higher_and_louder_are_heard():
    low, high = prosody_of(tone(3.0, 110.0, 0.05), 16000), prosody_of(tone(3.0, 260.0, 0.8), 16000)
    assert high.pitch > 2 * low.pitch and high.level > low.level + 15
    assert "low (110 Hz)" in in_words(low, "en") and "quiet" in in_words(low, "en")
    assert "音高偏高（258" in in_words(high, "zh") and "响亮" in in_words(high, "zh")


def test_silence_is_no_voice_and_noise_is_no_speech():
    assert prosody_of(np.zeros(16000, np.float32), 16000) is None and in_words(None, "en") == ""
    noise = np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32)
    found = prosody_of(noise, 16000)
    assert in_words(found, "en").startswith("Sound without a voice") and in_words(found, "zh").startswith(
        "有声音但没有"
    )


def listen(folder, name, words="[]", whisper=""):
    return ListenToClip(ListenSettings(whisper=whisper), str(folder))({"clip": "a", "media": name, "words": words})[0]


def test_a_silent_video_has_no_sentences_and_subtitles_are_kept(tmp_path):
    write(tmp_path / "a.mp4", colours(12))
    row = listen(tmp_path, "a.mp4", '[[0.0, 1.0, "Hello."]]')
    assert row["prosody"] == row["voice_en"] == row["voice_zh"] == ""
    assert row["words_from"] == "subtitles" and json.loads(row["words"])[0][2] == "Hello."


def test_a_local_whisper_writes_down_what_has_no_subtitles(tmp_path, monkeypatch):
    write(tmp_path / "a.mp4", colours(20), sound=tone(2.0))
    with pytest.raises(CheckpointError, match="is not a folder"):
        listen(tmp_path, "a.mp4", whisper=str(tmp_path / "missing"))

    class WhisperModel:
        def transcribe(self, wave):
            told = {"text": " Guten Tag. ", "no_speech_prob": 0.0, "avg_logprob": -0.1}
            return [types.SimpleNamespace(start=0.1234, end=1.9, **told)], types.SimpleNamespace(language="de")

    monkeypatch.setattr(Recognizer, "load", lambda folder: Recognizer(WhisperModel(), "whisper (tiny)"))
    row = listen(tmp_path, "a.mp4", whisper=str(tmp_path))
    assert json.loads(row["words"]) == [[0.123, 1.9, "Guten Tag."]]
    assert row["words_from"] == "recognised by whisper (tiny), language de"
    assert listen(tmp_path, "a.mp4", '[[0, 1, "Hi."]]', str(tmp_path))["words_from"] == "subtitles"
