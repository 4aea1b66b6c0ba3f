"""Numbers that are none, names that do not exist, and lengths without end are one line each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emotion_qwen.cli import main
from emotion_qwen.errors import DataError
from emotion_qwen.express.track import CHANNELS, EMOTIONS, ExpressionTrack


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--emotion", "fear:nan"], "'fear:nan'; expected emotions with shares"),
        (["--emotion", "fear:-0.5"], "the share of 'fear' is -0.5; expected 0 to 1"),
        (["--emotion", "fear:inf"], "the share of 'fear' is inf; expected 0 to 1"),
        (["--emotion", "fear:0.5,"], "expected emotions with shares"),
        (["--va", "nan,0"], "valence nan and arousal 0; expected two numbers from -1 to 1"),
        (["--va", "0.1,0.2,0.3"], "expected valence and arousal"),
        (["--emotion", "fear", "--seconds", "nan"], "the track has nan s"),
        (["--emotion", "fear", "--seconds", "inf"], "the track has inf s"),
        (["--emotion", "fear", "--seconds", "-1"], "the track has -1 s"),
        (["--emotion", "fear", "--fps", "nan"], "fps is nan; expected above 0"),
        (["--emotion", "fear", "--fps", "1000"], "fps is 1000; expected above 0, at most 120"),
        (["--emotion", "fear", "--intensity", "inf"], "intensity is inf; expected 0 to 1.5"),
        (["--emotion", "fear", "--generator", "none"], "'none' holds no expression generator"),
        (["--report", "none.json", "--generator", "none"], "--generator makes faces of emotions"),
    ],
)
def test_a_setting_that_does_not_fit(arguments: list[str], message: str, tmp_path: Path, capsys) -> None:
    assert main(["express", *arguments, "--output", str(tmp_path / "out.json")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.strip().count("\n") == 0 and not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('{"time": NaN, "emotions": {"fear": 1}}', "keyframe 1: time"),
        ('{"time": 36000, "emotions": {"fear": 1}}', "the track has 36001 s"),
        ('{"time": 0, "emotions": {"fear": NaN}}', "keyframe 1: the share of 'fear' is nan"),
        ('{"time": 0, "emotions": {"fear": 1}, "intensity": -2}', "keyframe 1: intensity is -2"),
        ('{"time": 0, "emotions": {"smirk": 1}}', "keyframe 1: unknown emotion 'smirk'"),
    ],
)
def test_a_keyframe_that_does_not_fit(entry: str, message: str, tmp_path: Path, capsys) -> None:
    path = tmp_path / "keys.json"
    path.write_text(f"[{entry}]")
    assert main(["express", "--keyframes", str(path), "--output", str(tmp_path / "out.json")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.strip().count("\n") == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.01, 1.01])
def test_a_channel_out_of_range_is_named_with_its_frame(value: float) -> None:
    frames = np.zeros((3, len(CHANNELS)))
    frames[1, 4] = value
    with pytest.raises(DataError, match=f"{CHANNELS[4]} is .* in frame 1; expected 0 to 1"):
        ExpressionTrack(30.0, frames, np.zeros((3, 3)), np.zeros((3, len(EMOTIONS))))


def test_a_stored_track_with_a_value_that_is_no_number_cannot_be_checked(tmp_path: Path, capsys) -> None:
    track = ExpressionTrack(30.0, np.zeros((2, 52)), np.zeros((2, 3)), np.zeros((2, 7)))
    from emotion_qwen.express.track import track_json

    stored = json.loads(track_json(track))
    stored["frames"][1][3] = "NaN"
    (tmp_path / "t.json").write_text(json.dumps(stored))
    assert main(["express", "check", str(tmp_path / "t.json"), "--model", "none:none"]) == 2
    error = capsys.readouterr().err
    assert "frames.1.3" in error and error.strip().count("\n") == 0
