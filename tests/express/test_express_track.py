"""Expression tracks: what they hold, how they are stored, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emotion_qwen.errors import DataError
from emotion_qwen.express.track import (
    CHANNELS,
    EMOTIONS,
    ExpressionTrack,
    Provenance,
    channel_values,
    parse_track,
    read_track,
    schema_text,
    track_json,
    write_track,
)

SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "expression_track.schema.json"


def small_track(count: int = 4) -> ExpressionTrack:
    values = np.random.default_rng(3).random((count, len(CHANNELS)))
    head = np.linspace(-20, 20, count * 3).reshape(count, 3)
    curve = np.zeros((count, len(EMOTIONS)))
    curve[:, EMOTIONS.index("fear")] = 1.2
    return ExpressionTrack(30.0, values, head, curve, Provenance(source="emotion", details={"seed": 3}))


def test_the_channels_are_those_of_arkit() -> None:
    assert len(set(CHANNELS)) == 52
    assert {"browInnerUp", "cheekPuff", "eyeLookInLeft", "mouthRollLower", "noseSneerRight", "tongueOut"} < {*CHANNELS}


def test_a_stored_track_reads_back(tmp_path: Path) -> None:
    track = small_track()
    write_track(track, tmp_path / "track.json")
    again = read_track(tmp_path / "track.json")
    assert np.abs(again.frames - track.frames).max() <= 5.1e-5
    assert np.abs(again.head - track.head).max() <= 5.1e-4
    assert again.emotion == "fear" and again.fps == 30 and again.seconds == pytest.approx(4 / 30)
    assert again.provenance.details == {"seed": 3}
    assert json.loads((tmp_path / "track.json").read_text())["provenance"]["synthetic"] is True


def test_channels_in_another_order_are_read_by_name() -> None:
    stored = json.loads(track_json(small_track()))
    stored["channels"] = stored["channels"][::-1]
    stored["frames"] = [row[::-1] for row in stored["frames"]]
    assert np.abs(parse_track(json.dumps(stored)).frames - small_track().frames).max() <= 5.1e-5


def test_the_published_schema_is_that_of_the_code() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": 0}, r"fps: Input should be greater than 0"),
        ({"frames": [[float("nan")] * 52] * 4}, r"frames.0.0: Input should be a finite number"),
        ({"frames": [[1.5] * 52] * 4}, r"frames.0.0: Input should be less than or equal to 1"),
        ({"channels": ["smile", *CHANNELS[1:]]}, r"unexpected names: smile"),
        ({"emotions": ["joy", *EMOTIONS[1:]]}, r"unexpected names: joy"),
        ({"frames": [], "head": [], "emotion_curve": []}, r"the track has 0 s"),
        ({"head": [[0, 0, 0]]}, r"head has the shape \(1, 3\); expected \(4, 3\)"),
        ({"fps": 0.001}, r"the track has 4000 s; expected more than 0 and at most 600 s"),
        ({"version": "9"}, r"version: Input should be '1.0.0'"),
        ({"provenance": {"synthetic": False}}, r"provenance.synthetic"),
    ],
)
def test_a_faulty_track_is_refused_in_one_line(change: dict, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        parse_track(json.dumps({**json.loads(track_json(small_track())), **change}))
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_an_unknown_action_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.json' cannot be read"):
        read_track(tmp_path / "none.json")
    with pytest.raises(DataError, match=r"unknown facial actions grin; expected ARKit names"):
        channel_values({"grin": 1.0})
    assert channel_values({"jawOpen": 1.5})[CHANNELS.index("jawOpen")] == 1.0
