"""Lips that speak: what belongs to speech, what to the emotion, and one line for what does not fit."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.media.footage import sounds

from emotion_qwen.cli import main
from emotion_qwen.errors import SettingsError
from emotion_qwen.express import visemes as spoken
from emotion_qwen.express.check import check_track
from emotion_qwen.express.lips import speaking, with_lips
from emotion_qwen.express.readers import CallableReader
from emotion_qwen.express.rigs import DrawnRig
from emotion_qwen.express.track import CHANNELS, EMOTIONS, PLACE, ExpressionTrack, Provenance, read_track
from emotion_qwen.express.visemes import Visemes, spoken_visemes
from emotion_qwen.faces.detect import Detections

from .lip_package import MODULE, PRESETS, VISEMES, write_voice

VOICE = [(0.25, 0.75), (1.25, 1.75)]


@pytest.fixture
def package(monkeypatch):
    """Put the stand-in in place of the package, and a fixed answer in place of the voice detector."""
    monkeypatch.setitem(sys.modules, "openfacefx", MODULE)
    monkeypatch.setattr(spoken, "voice_spans", lambda wave: VOICE if np.abs(wave).max() > 0 else [])
    return MODULE


def face(count: int, fps: float = 10.0, **actions: float) -> ExpressionTrack:
    frames = np.zeros((count, len(CHANNELS)))
    for name, strength in actions.items():
        frames[:, PLACE[name]] = strength
    provenance = Provenance(source="emotion", details={"seed": 3})
    return ExpressionTrack(fps, frames, np.zeros((count, 3)), np.zeros((count, len(EMOTIONS))), provenance)


def shapes(rows: list[list[float]]) -> Visemes:
    poses = np.zeros((len(VISEMES), len(CHANNELS)))
    for row, name in enumerate(VISEMES):
        for action, strength in PRESETS["arkit"].get(name, ()):
            poses[row, PLACE[action]] = strength
    return Visemes(tuple(VISEMES), np.array(rows, float), poses, len(rows) / 10, None, {"package": "openfacefx 9"})


def make(*arguments: object) -> int:
    return main(["express", *map(str, arguments)])


SHAPES = [[0.0, 0.0, 1.0, 0.0], [0.0, 0.9, 0.1, 0.0], [0.5, 0.25, 0.25, 0.0], [0.0, 0.0, 0.5, 0.5]]
"""Shares of `VISEMES` in four frames: an open mouth, pressed lips, half at rest, half rounded."""


@pytest.mark.parametrize(
    ("action", "emotion", "strengths"),
    [
        ("jawOpen", 0.84, [0.6, 0.06, 0.15, 0.5]),  # speech takes over
        ("mouthSmileLeft", 0.7, [0.7, 0.7, 0.7, 0.7]),  # the emotion keeps its corners
        ("mouthLowerDownLeft", 0.5, [0.5, 0.05, 0.375, 0.5]),  # the lips can meet
        ("mouthUpperUpRight", 0.8, [0.8, 0.08, 0.6, 0.8]),
        ("mouthPressLeft", 0.95, [0.0, 0.855, 0.7125, 0.0]),  # the lips can part
        ("mouthPressRight", 0.2, [0.0, 0.45, 0.15, 0.0]),
        ("mouthFunnel", 0.1, [0.0, 0.09, 0.075, 0.35]),
        ("browInnerUp", 0.6, [0.6, 0.6, 0.6, 0.6]),
    ],
)
def test_speech_and_emotion_share_the_mouth(action: str, emotion: float, strengths: list[float]) -> None:
    track = with_lips(face(4, **{action: emotion}), shapes(SHAPES))
    assert track.frames[:, PLACE[action]] == pytest.approx(strengths)
    assert track.provenance.details == {"seed": 3, "lips": {"package": "openfacefx 9"}}


def test_after_the_last_word_the_mouth_rests_and_the_emotion_returns() -> None:
    track = with_lips(face(40, jawOpen=0.8, mouthPressLeft=0.4), shapes([[0.0, 0.0, 1.0, 0.0]] * 10))
    jaw, press = track.frames[:, PLACE["jawOpen"]], track.frames[:, PLACE["mouthPressLeft"]]
    assert jaw[:9] == pytest.approx(0.6) and jaw[15:] == pytest.approx(0.8)
    assert press[9] == 0 and press[10] == pytest.approx(0.4 / 1.5) and press[11:] == pytest.approx(0.4)


def test_short_pauses_do_not_end_the_speech() -> None:
    moving = np.array([0.0] * 10 + [0.9] * 5 + [0.0] * 2 + [0.2] + [0.9] * 5 + [0.0] * 10)
    levels = speaking(moving, 10)
    assert levels[11:21].min() == 1 and levels[:6].max() == 0 and levels[-5:].max() == 0


def test_lips_longer_than_the_track_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"takes 0.4 s, the track 0.3 s; give at least --seconds 0.4"):
        with_lips(face(3), shapes(SHAPES))


def test_a_text_is_spoken_at_a_steady_rate_and_lips_meet_in_it(package) -> None:
    visemes = spoken_visemes(24, "Mop it!")
    assert visemes.seconds == pytest.approx(0.25 + 5 / 12 + 0.25) and visemes.sound is None
    assert visemes.details == {"package": "openfacefx 9.9.9", "say": "Mop it!"}
    assert len(visemes.shares) == 22 and visemes.shares.sum(1) == pytest.approx(1)
    kinds = [VISEMES[row] for row in visemes.shares.argmax(1)]
    assert kinds == ["sil"] * 6 + ["PP"] * 2 + ["O"] * 2 + ["PP"] * 2 + ["aa"] * 4 + ["sil"] * 6
    assert visemes.shares[6] == pytest.approx([0, 0.9, 0.1, 0])  # the open jaw makes room
    assert not visemes.poses[:, PLACE["tongueOut"]].any() and visemes.poses[2, PLACE["jawOpen"]] == 0.6


def test_a_voice_alone_opens_the_mouth_by_its_loudness(package, tmp_path: Path) -> None:
    visemes = spoken_visemes(4, sound=write_voice(tmp_path / "voice.wav", [0.0, 0.8, 0.2, 0.0, 0.0, 0.4, 0.0, 0.0]))
    assert visemes.seconds == 2 and visemes.details["sound"] == "voice.wav" and "say" not in visemes.details
    assert visemes.share("aa") == pytest.approx([0, 1, 0.25, 0, 0, 0.5, 0, 0], abs=0.05)
    assert visemes.share("sil") == pytest.approx(1 - visemes.share("aa")) and visemes.sound[:4] == b"RIFF"


def test_words_are_spread_over_the_spans_of_a_voice(package, tmp_path: Path) -> None:
    path = write_voice(tmp_path / "voice.wav", [0.0, 0.8, 0.2, 0.0, 0.0, 0.8, 0.2, 0.0])
    visemes = spoken_visemes(8, "pa ap oo", path)  # four phonemes fit into the first span, two into the second
    kinds = [VISEMES[row] for row in visemes.shares.argmax(1)]
    assert kinds[2] == kinds[5] == "PP" and kinds[6:10] == ["sil"] * 4
    assert visemes.share("PP")[[2, 5]] == pytest.approx(0.9)  # pressed lips do not depend on the loudness
    assert visemes.share("O")[10:14] == pytest.approx([1, 1, 0.5, 0.5], abs=0.05)  # the root of a quarter
    assert visemes.share("aa")[4] == pytest.approx(0.5, abs=0.05)


def test_a_voice_that_the_detector_misses_speaks_all_the_time(package, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(spoken, "voice_spans", lambda wave: [])
    visemes = spoken_visemes(8, "papapapa", write_voice(tmp_path / "voice.wav", [0.5, 0.5, 0.5, 0.5]))
    assert (visemes.share("PP") > 0).tolist() == [True, False] * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--say", ""], "the text to say is ''; expected a sentence of English words"),
        (["--say", "?! '"], "expected a sentence of English words"),
        (["--say", "Hello 你好"], "'你好' has letters that openfacefx cannot read"),
        (["--say", "Schön ist das"], "'Schön' has letters that openfacefx cannot read"),
        (["--say", "I have 2 cats"], "'2' has a number or a sign; write it in words"),
        (["--say", "salt & pepper"], "'&' has a number or a sign"),
        (["--say", "This is far too long for it.", "--seconds", "1"], "what is spoken takes 2.2 s, the track 1.0 s"),
        (["--say", "ab " * 4000], "the track has 667.167 s"),
        (["--sound", "silent.wav"], "'silent.wav' is silent, or too quiet"),
        (["--sound", "broken.wav"], "'broken.wav'"),
        (["--sound", "empty.wav"], "'empty.wav'"),
        (["--sound", "none.wav"], "'none.wav'"),
        (["--sound", "voice.wav", "--seconds", "1.5"], "what is spoken takes 2.0 s, the track 1.5 s"),
        (["--sound", "voice.wav", "--output", "voice.wav.mp4", "--fps", "0"], "fps is 0; expected above 0"),
        (["--say", "Hello", "--report", "r.json"], "a report has its own"),
    ],
)
def test_what_cannot_be_spoken_is_one_line(arguments, message, package, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    write_voice(Path("voice.wav"), [0.0, 0.8, 0.2, 0.0, 0.0, 0.8, 0.2, 0.0])
    write_voice(Path("silent.wav"), [0.0] * 4)
    Path("broken.wav").write_bytes(b"RIFF\x10\x00\x00\x00WAVEbroken")
    Path("empty.wav").write_bytes(b"")
    before = set(tmp_path.iterdir())
    source = [] if "--report" in arguments else ["--emotion", "fear"]
    assert make(*source, *arguments, "--output", "out.json", "--output", "out.mp4") == 2
    error = capsys.readouterr().err
    assert message in error and error.strip().count("\n") == 0 and set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("option", ["--say", "--sound"])
def test_without_the_package_one_line_says_how_to_install_it(option, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "openfacefx", None)
    assert make("--emotion", "fear", option, "Hello", "--output", tmp_path / "out.json") == 2
    error = capsys.readouterr().err
    assert "'openfacefx' is not installed" in error and "pip install 'emotion-qwen[lips]'" in error
    assert error.strip().count("\n") == 0 and not any(tmp_path.iterdir())


def test_the_sound_is_not_overwritten(package, tmp_path: Path, capsys) -> None:
    path = write_voice(tmp_path / "voice.mkv", [0.0, 0.5])
    content = path.read_bytes()
    assert make("--emotion", "fear", "--sound", path, "--output", path) == 2
    assert "is the analyzed file itself" in capsys.readouterr().err and path.read_bytes() == content


def test_every_output_has_the_lips_and_videos_the_sound(package, tmp_path: Path, monkeypatch, capsys) -> None:
    render = DrawnRig.render
    monkeypatch.setattr(
        DrawnRig, "render", lambda self, frame, head, who, size=512, fine=2: render(self, frame, head, who, 64, 1)
    )
    voice = write_voice(tmp_path / "voice.wav", [0.0, 0.8, 0.2, 0.0, 0.0, 0.8, 0.2, 0.0])
    names = ("t.json", "t.csv", "t.gltf", "t.mp4", "t.webm", "t.html")
    outputs = [part for name in names for part in ("--output", tmp_path / name)]
    assert make("--emotion", "surprise", "--fps", 8, "--say", "pa ap oo", "--sound", voice, *outputs) == 0
    assert "2.0 s, 16 frames, surprise" in capsys.readouterr().out
    track = read_track(tmp_path / "t.json")
    assert track.provenance.details["lips"] == {
        "package": "openfacefx 9.9.9", "say": "pa ap oo", "sound": "voice.wav"
    }  # fmt: skip
    jaw = track.frames[:, PLACE["jawOpen"]]
    assert jaw[5] < 0.1 < 0.3 < jaw[11] and track.emotions.max() == 1
    with (tmp_path / "t.csv").open(newline="") as file:
        assert [float(row["JawOpen"]) for row in csv.DictReader(file)] == pytest.approx(jaw, abs=1e-4)
    marks = [json.loads((tmp_path / "t.provenance.json").read_text())["details"]["lips"]["sound"]]
    document = json.loads((tmp_path / "t.gltf").read_text())
    marks.append(document["asset"]["extras"]["provenance"]["details"]["lips"]["sound"])
    assert marks == ["voice.wav"] * 2 and "openfacefx 9.9.9" in (tmp_path / "t.html").read_text()
    (mp4,), (webm,) = sounds(tmp_path / "t.mp4"), sounds(tmp_path / "t.webm")
    assert mp4 == ("aac", pytest.approx(2.0, abs=0.1)) and webm == ("opus", pytest.approx(2.0, abs=0.1))
    reader = CallableReader(lambda picture: {"surprise": 1.0}, "always surprise")
    reading = check_track(track, DrawnRig(), "amber", reader, lambda frame: Detections.none())
    assert reading.agrees and reading.frames == 8


def test_keyframes_last_until_the_end_of_the_speech(package, tmp_path: Path) -> None:
    (tmp_path / "k.json").write_text('[{"time": 0, "emotions": {"fear": 1}}]')
    text = "This takes more than a second"
    assert make("--keyframes", tmp_path / "k.json", "--say", text, "--output", tmp_path / "t.json") == 0
    assert read_track(tmp_path / "t.json").seconds == pytest.approx(0.5 + 24 / 12, abs=0.05)


def test_the_installed_package_moves_and_closes_the_lips(tmp_path: Path) -> None:
    real = pytest.importorskip("openfacefx", reason="the extra lips is not installed")
    assert all(hasattr(real, name) for name in vars(MODULE))
    visemes = spoken_visemes(30, "Mama made a pie.")
    track = with_lips(replace(face(len(visemes.shares), jawOpen=0.8, mouthSmileLeft=0.7), fps=30.0), visemes)
    jaw, shut = track.frames[:, PLACE["jawOpen"]], visemes.share("PP") > 0.85
    assert (np.diff(shut.astype(int)) == 1).sum() == 4  # m, m, m, p
    assert jaw[shut].max() < 0.1 and jaw[10:-15].max() > 0.5
    assert (track.frames[:, PLACE["mouthSmileLeft"]] >= 0.7).all()
    voice = write_voice(tmp_path / "voice.wav", [0.0, 0.5, 0.0, 0.0, 0.5, 0.0])
    rest = spoken_visemes(20, sound=voice).share("sil")
    assert rest[[7, 22]].max() < 0.2 and rest[[2, 16]].min() > 0.8
    assert spoken_visemes(20, "Mama", voice).share("PP").max() > 0.85
