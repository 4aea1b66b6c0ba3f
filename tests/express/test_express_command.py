"""The command `express`: its sources, its outputs, and one line for what does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emotion_qwen.cli import main
from emotion_qwen.errors import SettingsError, ShapeError
from emotion_qwen.express.check import check_track, explanation, peak
from emotion_qwen.express.motion import held, make_track
from emotion_qwen.express.prototypes import emotion_weights, seven_shares
from emotion_qwen.express.readers import CallableReader, cut, reader_of
from emotion_qwen.express.rigs import DrawnRig
from emotion_qwen.express.track import EMOTIONS, ExpressionTrack, read_track
from emotion_qwen.faces.detect import Detections

KEYFRAMES = [{"time": 0, "emotions": {"neutral": 1}}, {"time": 0.5, "emotions": {"sad": 0.8}, "intensity": 1.2}]


def make(*arguments: object) -> int:
    return main(["express", *map(str, arguments)])


def test_emotions_become_a_track_with_the_given_length_and_provenance(tmp_path: Path, capsys) -> None:
    json_file, table = tmp_path / "a.json", tmp_path / "a.csv"
    options = ("--seconds", 1, "--fps", 25, "--seed", 7, "--intensity", 0.5)
    assert make("--emotion", "sadness:0.6,fear:0.4", *options, "--output", json_file, "--output", table) == 0
    track = read_track(json_file)
    assert len(track.frames) == 25 and track.provenance.source == "emotion"
    assert track.provenance.details == {"emotion": "sadness:0.6,fear:0.4", "intensity": 0.5, "seed": 7}
    assert track.emotions.max(0)[EMOTIONS.index("sadness")] == pytest.approx(0.3)
    assert table.read_text().startswith("Timecode,") and "25 frames, fear 0.20, sadness 0.30" in capsys.readouterr().out


def test_a_place_in_the_plane_and_keyframes(tmp_path: Path) -> None:
    assert make("--va", "-0.8,-0.4", "--seconds", 1, "--output", tmp_path / "va.json") == 0
    assert read_track(tmp_path / "va.json").emotions.max(0)[EMOTIONS.index("sadness")] == pytest.approx(1)
    (tmp_path / "k.json").write_text(json.dumps(KEYFRAMES))
    assert make("--keyframes", tmp_path / "k.json", "--output", tmp_path / "track.json") == 0
    track = read_track(tmp_path / "track.json")
    assert track.seconds == pytest.approx(1.5)
    assert track.emotions[-1, EMOTIONS.index("sadness")] == pytest.approx(0.96)


def test_a_text_shows_what_the_model_reads_in_it(tmp_path: Path, capsys) -> None:
    text = "I am so happy, this is wonderful!"
    assert make("--text", text, "--model", "nano", "--seconds", 1, "--output", tmp_path / "text.json") == 0
    track = read_track(tmp_path / "text.json")
    assert track.emotion == "happiness" and track.provenance.details["text"] == text
    assert "happiness" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--emotion", "hangry"], "unknown emotion 'hangry'"),
        (["--emotion", "fear", "--va", "0,0"], "--emotion and --va given; expected one of"),
        ([], "no source given"),
        (["--emotion", "fear", "--seconds", "36000"], "the track has 36000 s; expected more than 0"),
        (["--emotion", "fear", "--seconds", "0"], "the track has 0 s"),
        (["--emotion", "fear", "--intensity", "nan"], "intensity is nan; expected 0 to 1.5"),
        (["--emotion", "fear", "--fps", "0"], "fps is 0; expected above 0"),
        (["--emotion", "fear", "--identity", "mona"], "unknown identity 'mona'"),
        (["--emotion", "fear", "--rig", "none.glb"], "'none.glb' cannot be read as a head"),
        (["--emotion", "fear", "--person", "1"], "--person is a person of a report"),
        (["--emotion", "fear", "--model", "nano"], "--model reads a text"),
        (["--va", "high"], "--va 'high'; expected valence and arousal"),
        (["--text", " "], "--text is empty"),
        (["--keyframes", "none.json"], "'none.json' cannot be read"),
        (["--report", "none.json"], "'none.json' does not exist"),
    ],
)
def test_what_does_not_fit_is_one_line(arguments: list[str], message: str, tmp_path: Path, capsys) -> None:
    assert make(*arguments, "--output", tmp_path / "out.json") == 2
    error = capsys.readouterr().err
    assert message in error and error.strip().count("\n") == 0
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "has no list of keyframes"),
        ('[{"time": -1, "emotions": {}}]', "keyframe 1: time = -1"),
        ('[{"time": 0, "emotion": {}}]', "keyframe 1: emotions is missing"),
        ('[{"time": 0, "emotions": {"fear": 2}}]', "keyframe 1: the share of 'fear' is 2"),
        ('[{"time": 2, "emotions": {}}, {"time": 1, "emotions": {}}]', "expected at least one, in order of time"),
    ],
)
def test_faulty_keyframes_are_named(content: str, message: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "k.json").write_text(content)
    assert make("--keyframes", tmp_path / "k.json", "--output", tmp_path / "out.json") == 2
    assert message in capsys.readouterr().err


def test_an_input_is_not_overwritten_and_no_output_is_an_error(tmp_path: Path, capsys) -> None:
    (tmp_path / "k.json").write_text(json.dumps(KEYFRAMES))
    assert make("--keyframes", tmp_path / "k.json", "--output", tmp_path / "k.json") == 2
    assert "is the analyzed file itself" in capsys.readouterr().err
    assert make("--emotion", "fear") == 2 and "no output; give --output" in capsys.readouterr().err


def track_of(name: str) -> ExpressionTrack:
    return make_track(held(emotion_weights({name: 1.0}), 1), 1, fps=3)


def nobody(frame: np.ndarray) -> Detections:
    return Detections.none()


def seeing(label: str) -> CallableReader:
    return CallableReader(lambda picture: {label: 0.9, "neutral": 0.1}, f"always {label}")


def test_a_check_agrees_or_says_what_is_read_instead() -> None:
    agreed = check_track(track_of("fear"), DrawnRig(), "amber", seeing("afraid"))
    assert agreed.agrees and agreed.detected == agreed.frames and "agrees: fear 90%" in explanation(agreed)[-1]
    other = check_track(track_of("fear"), DrawnRig(), "amber", seeing("joy"), nobody)
    assert not other.agrees and other.label == "happiness" and other.detected == 0
    assert any("does not react to this face" in line for line in explanation(other))
    silent = check_track(track_of("fear"), DrawnRig(), "amber", CallableReader(lambda picture: None, "silent"), nobody)
    assert not silent.agrees and "gives no answer" in explanation(silent)[-1]


def test_the_frames_of_a_check_are_those_of_the_peak() -> None:
    track = track_of("anger")
    intended, rows = peak(track)
    assert intended == "anger" and len(rows) <= 8
    assert track.emotions[rows, EMOTIONS.index("anger")].min() >= 0.7
    assert peak(track_of("neutral"))[0] == "neutral"


def test_check_on_the_command_line_uses_a_function_of_the_user(tmp_path: Path, capsys) -> None:
    (tmp_path / "reads_happiness.py").write_text("def read(picture):\n    return {'happy': 1.0}\n")
    for name, code in (("happiness", 0), ("fear", 1)):
        assert make("--emotion", name, "--seconds", 1, "--fps", 2, "--output", tmp_path / f"{name}.json") == 0
        assert (
            main(["express", "check", str(tmp_path / f"{name}.json"), "--model", f"{tmp_path}/reads_happiness.py:read"])
            == code
        )
    out = capsys.readouterr().out
    assert "agrees: happiness 100%" in out and "disagrees: fear 0%" in out


def test_labels_of_other_sets_count_for_the_seven() -> None:
    assert seven_shares({"joy": 2.0, "afraid": 1.0, "no such": 5.0})["happiness"] == pytest.approx(2 / 3)
    with pytest.raises(SettingsError, match="labels no such; expected shares of anger"):
        seven_shares({"no such": 1.0})


def test_a_reader_that_does_not_exist_or_returns_something_else_is_refused() -> None:
    with pytest.raises(SettingsError, match="no module 'nowhere'; expected module:function"):
        reader_of("nowhere:read")
    with pytest.raises(SettingsError, match="json has no function 'read'"):
        reader_of("json:read")
    with pytest.raises(ShapeError, match="odd returned int; expected emotion -> share"):
        CallableReader(lambda picture: 3, "odd")([np.zeros((8, 8, 3), np.uint8)], np.array([[0, 0, 8, 8]]))
    assert cut(np.zeros((100, 100, 3)), np.array([40, 40, 60, 60])).shape == (28, 28, 3)
