"""Words by recognition, with a stand-in of faster-whisper's interface (its weights cannot be had by a test)."""

from __future__ import annotations

import socket
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from emotion_qwen.errors import CheckpointError, MediaError, MissingPackage
from emotion_qwen.media import read_clip
from emotion_qwen.media.clip import Sources
from emotion_qwen.media.speech import FILES, Recognizer
from emotion_qwen.records import Utterance
from emotion_qwen.settings import ClipSettings

from .films import write_video
from .test_sound import noise, record

SETTINGS = ClipSettings()


@dataclass
class Segment:
    """As of faster-whisper 1.2.1, as far as it is read here."""

    start: float
    end: float
    text: str
    avg_logprob: float = -0.1
    no_speech_prob: float = 0.01


@dataclass
class Info:
    language: str = "en"


@dataclass
class Model:
    """Tells what it is given, and gives what it is told."""

    segments: list[Segment]
    heard: list[np.ndarray] = field(default_factory=list)

    def transcribe(self, audio: np.ndarray):
        self.heard.append(audio)
        return iter(self.segments), Info()


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "whisper-tiny"
    made.mkdir()
    for name in FILES:
        (made / name).touch()
    return made


@pytest.fixture
def package(monkeypatch):
    """A module `faster_whisper` whose model says what it was made with."""
    module = types.ModuleType("faster_whisper")
    module.asked = []
    module.segments = [Segment(0.2, 1.0, " Well done. ")]

    def make(path, **options):
        module.asked.append((path, options))
        return Model(module.segments)

    module.WhisperModel = make
    monkeypatch.setitem(sys.modules, "faster_whisper", module)
    return module


def test_a_model_is_loaded_from_its_folder_and_never_from_the_network(folder, package, monkeypatch):
    monkeypatch.setattr(socket, "socket", None)
    recognizer = Recognizer.load(folder, "cuda")
    assert package.asked == [(str(folder), {"device": "cuda", "local_files_only": True})]
    assert "faster-whisper" in recognizer.name and "(whisper-tiny)" in recognizer.name


def test_what_is_missing_is_one_line(folder, package, monkeypatch, tmp_path):
    def refused(place, error, *texts):
        with pytest.raises(error) as caught:
            Recognizer.load(place)
        assert all(text in str(caught.value) for text in texts) and "\n" not in str(caught.value)

    refused(tmp_path / "tiny", CheckpointError, "tiny' is not a folder", "nothing is downloaded")
    refused("tiny.en", CheckpointError, "'tiny.en' is not a folder")  # a name the package would download

    def fail(*_, **__):
        raise RuntimeError("Unsupported model\nbinary version")

    monkeypatch.setattr(package, "WhisperModel", fail)
    refused(folder, CheckpointError, "cannot load it (Unsupported model binary version)")
    (folder / "tokenizer.json").unlink()  # without it the package asks the network
    refused(folder, CheckpointError, "no tokenizer.json; expected a Whisper model in CTranslate2's format")
    (folder / "tokenizer.json").touch()
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    refused(folder, MissingPackage, "needs the package faster-whisper; pip install 'emotion-qwen[asr]'")


def test_segments_become_utterances_on_the_clips_clock():
    model = Model([Segment(1.5, 9.0, "  and   bye "), Segment(-0.1, 0.5, "你好，"), Segment(0.5, 1.5, "there")])
    words = Recognizer(model, "it").words(noise(2.0, 16000), start=10.0)
    assert words.utterances == (
        Utterance(10.0, 10.5, "你好，"),
        Utterance(10.5, 11.5, "there"),
        Utterance(11.5, 12.0, "and bye"),
    )
    assert words.source == "recognised by it, language en" and words.language == "en"
    assert words.warnings == ("the words were recognised by it, at 90% per token; they may be wrong",)
    assert model.heard[0].dtype == np.float32 and len(model.heard[0]) == 32000


def test_what_is_likely_no_speech_is_left_out_and_counted():
    model = Model(
        [
            Segment(0.0, 1.0, "Thanks for watching!", avg_logprob=-1.4, no_speech_prob=0.9),
            Segment(0.0, 1.0, "quiet", avg_logprob=-0.3, no_speech_prob=0.9),
            Segment(1.0, 1.5, "unsure", avg_logprob=-1.4, no_speech_prob=0.1),
            Segment(1.5, 1.5, "no time"),
            Segment(1.5, 1.8, " ♪ ... "),
            Segment(5.0, 6.0, "behind the end"),
        ]
    )
    words = Recognizer(model, "it").words(noise(2.0, 16000))
    assert [one.text for one in words.utterances] == ["quiet", "unsure"]
    assert words.warnings[1] == "4 of 6 recognised segments are left out: likely no speech"
    assert Recognizer(Model([]), "it").words(noise(1.0, 16000)).warnings == ("it recognised no words",)


def test_silence_is_not_transcribed():
    model = Model([Segment(0.0, 1.0, "Thank you.")])
    for wave in (np.zeros(16000, np.float32), np.zeros(0, np.float32)):
        words = Recognizer(model, "it").words(wave)
        assert words.utterances == () and words.warnings == ("the sound is silent; it had no words to recognise",)
    assert model.heard == []


def test_a_recogniser_that_fails_is_one_line():
    class Failing:
        def transcribe(self, audio):
            raise RuntimeError("out of\nmemory")

    with pytest.raises(MediaError, match=r"it failed \(out of memory\); try another model or leave --transcribe out"):
        Recognizer(Failing(), "it").words(noise(1.0, 16000))


def test_a_clip_takes_recognised_words_in_place_of_others_and_only_if_asked(tmp_path):
    path = record(tmp_path / "a.mkv", noise(4.0, 16000), "pcm_s16le", 16000, picture=0.0)
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nWritten.\n\n")
    model = Model([Segment(0.5, 1.0, "Spoken."), Segment(2.0, 3.0, "Spoken late.")])
    asked = Sources(words=True, recognizer=Recognizer(model, "it"))
    clip = read_clip(path, SETTINGS, sources=asked)
    assert clip.utterances == (Utterance(0.5, 1.0, "Spoken."), Utterance(2.0, 3.0, "Spoken late."))
    assert clip.words_from == "recognised by it, language en" and "may be wrong" in clip.warnings[-1]
    assert len(model.heard[0]) == 4 * 16000
    part = read_clip(path, SETTINGS, start=1.0, sources=asked)
    assert part.utterances[0].start == pytest.approx(1.5) and len(model.heard[1]) == 3 * 16000
    read = read_clip(path, SETTINGS, sources=Sources(words=True))
    assert [one.text for one in read.utterances] == ["Written."] and read.words_from == str(tmp_path / "a.srt")
    silent = read_clip(write_video(tmp_path / "v.mp4"), SETTINGS, sources=asked)
    assert silent.utterances == () and silent.warnings == ("no sound, so no words were recognised",)
    assert silent.words_from == "" and len(model.heard) == 2
    alone = read_clip(record(tmp_path / "s.wav", noise(2.0, 16000), "pcm_s16le", 16000), SETTINGS, sources=asked)
    assert [one.text for one in alone.utterances] == ["Spoken."]
