"""Recordings of others become tracks; files that do not fit are refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.express import importers
from emotion_qwen.express.commands import RECORDINGS, express
from emotion_qwen.express.importers import SUFFIXES, beat_emotion, read_recording
from emotion_qwen.express.livelink import HEADER, live_link_csv
from emotion_qwen.express.motion import held, make_track
from emotion_qwen.express.prototypes import emotion_weights
from emotion_qwen.express.track import CHANNELS, EMOTIONS, PLACE, read_track

NAMES = [name for name in reversed(CHANNELS) if name != "tongueOut"]


def smiling(fps: float = 30.0):
    return make_track(held(emotion_weights({"happiness": 1.0}), 1.4), 1.4, fps=fps, seed=2)


def live_link(path: Path, codes: list[str], smiles: list[float | None], *, fields: tuple[str, ...] = HEADER) -> Path:
    """Write a CSV with a smile per frame; None is a frame without a tracked face."""
    rows = [",".join(fields)]
    for code, smile in zip(codes, smiles, strict=True):
        values = ["0.1" if name != "MouthSmileLeft" else str(smile) for name in fields[2:]]
        rows.append(",".join([code, "61", *values]) if smile is not None else code + ",0" + "," * len(fields[2:]))
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize("fps", [24.0, 30.0, 60.0])
def test_what_we_write_for_live_link_is_read_again(tmp_path: Path, fps: float) -> None:
    track = smiling(fps)
    (tmp_path / "a.csv").write_text(live_link_csv(track))
    again = read_recording("livelink", tmp_path / "a.csv")
    assert again.fps == fps and again.provenance.details["measured_on_a_person"]
    np.testing.assert_allclose(again.frames, track.frames, atol=2e-3)
    np.testing.assert_allclose(again.head, track.head, atol=0.05)


def test_timecodes_of_half_frames_past_midnight_and_lost_frames(tmp_path: Path) -> None:
    codes = ["23:59:59:29.000", "23:59:59:29.500", "00:00:00:00.000", "00:00:00:01.500"]
    track = read_recording("livelink", live_link(tmp_path / "a.csv", codes, [0.1, 0.2, 0.3, 0.6]))
    assert track.fps == 60
    assert track.frames[:, PLACE["mouthSmileLeft"]] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert track.frames[0, PLACE["jawOpen"]] == 0.1


def test_frames_without_a_face_are_bridged_if_they_are_few(tmp_path: Path) -> None:
    codes = [f"10:00:00:{frame:02d}" for frame in range(12)]
    smiles: list[float | None] = [0.0, None, 0.4, *[0.4] * 9]
    track = read_recording("livelink", live_link(tmp_path / "a.csv", codes, smiles), fps=24)
    assert track.frames[:3, PLACE["mouthSmileLeft"]] == pytest.approx([0.0, 0.2, 0.4]) and track.fps == 24
    late = [f"10:00:0{frame}:00" for frame in range(3)]
    with pytest.raises(DataError, match=r"a.csv: the face is not tracked for 2.0 s; cut the recording there"):
        read_recording("livelink", live_link(tmp_path / "a.csv", late, [0.0, None, 0.4]))


def test_a_recording_without_the_tongue_is_read(tmp_path: Path) -> None:
    fields = tuple(name for name in HEADER if name != "TongueOut")
    codes = ["10:00:00:00", "10:00:00:01"]
    track = read_recording("livelink", live_link(tmp_path / "a.csv", codes, [0.3, 0.4], fields=fields))
    assert not track.frames[:, PLACE["tongueOut"]].any() and track.frames[0, PLACE["eyeBlinkLeft"]] == 0.1


def beat(path: Path, count: int = 5, **changes: object) -> Path:
    frames = [{"weights": [0.1 * (place == 3) * row for place in range(51)], "time": row / 60} for row in range(count)]
    path.write_text(json.dumps({"names": NAMES, "frames": frames, **changes}))
    return path


def test_beat_gives_channels_by_name_and_the_emotion_of_its_number(tmp_path: Path) -> None:
    track = read_recording("beat", beat(tmp_path / "1_wayne_0_81_81.json"))
    assert track.fps == 60 and track.frames[:, PLACE[NAMES[3]]] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert track.emotion == "sadness" and track.emotions.max() == 1.0
    assert [beat_emotion(f"2_scott_0_{number}_{number}") for number in (1, 65, 90, 95, 110, 118, 119)] == [
        "neutral", "happiness", "", "surprise", "fear", "disgust", "",
    ]  # fmt: skip
    assert beat_emotion("2_scott_1_3_3") == "" and beat_emotion("take") == ""


def test_express4d_gives_the_columns_of_live_link(tmp_path: Path) -> None:
    values = np.zeros((4, 61), np.float32)
    values[:, PLACE["jawOpen"]], values[:, 52] = 0.25, np.radians(20)
    np.save(tmp_path / "s.npy", values)
    track = read_recording("express4d", tmp_path / "s.npy")
    assert track.fps == 60 and track.frames[0, PLACE["jawOpen"]] == 0.25 and track.head[0] == pytest.approx([20, 0, 0])
    assert not track.emotions.any() and len(EMOTIONS) == 7


def changed(column: int, value: float) -> np.ndarray:
    values = np.zeros((4, 61))
    values[2, column] = value
    return values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((4, 60)), r"holds float64 \(4, 60\); expected floating-point numbers of the shape \(frames, 61\)"),
        (np.zeros((4, 61), int), r"holds int64"),
        (np.zeros((0, 61)), r"the track has 0 s"),
        (np.zeros((36_001, 61)), r"the track has 600.017 s; expected more than 0 and at most 600 s"),
        (changed(3, np.nan), r"eyeLookOutLeft in frame 2 is not a finite number"),
        (changed(3, 1.2), r"eyeLookOutLeft is 1.2 in frame 2; expected 0 to 1"),
        (changed(53, 2.0), r"headPitch reaches 115 degrees; expected radians"),
        (np.array([{"a": 1}], object), r"cannot be read \(.*pickle"),
    ],
)
def test_odd_arrays_are_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    np.save(tmp_path / "s.npy", values)
    with pytest.raises(DataError, match=message) as error:
        read_recording("express4d", tmp_path / "s.npy")
    assert "\n" not in str(error.value) and str(error.value).startswith("s.npy")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no header; expected the columns Timecode"),
        ("Timecode,BlendShapeCount,EyeBlinkLeft\n", "no column"),
        ("{}", "no column"),
        (",".join(HEADER) + "\n", "no frame with a tracked face"),
        (",".join(HEADER) + "\nnoon," + ",".join(["0"] * 62), "line 2: timecode 'noon'; expected hours"),
        (",".join(HEADER) + "\n00:00:00:01,61," + ",".join(["nan"] * 61), "line 2: 'nan' is not a finite number"),
        (
            ",".join(HEADER) + "".join(f"\n00:00:00:0{f},61," + ",".join(["0"] * 61) for f in (2, 1)),
            "line 3: the timecode does not ascend",
        ),
    ],
)
def test_odd_csv_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=f"^a.csv: {message}") as error:
        read_recording("livelink", tmp_path / "a.csv")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": []}, "expected BEAT's JSON"),
        ({"names": [*NAMES[:-1], "wink"]}, "no channel eyeBlinkLeft"),
        ({"frames": [{"weights": [0.0]}]}, "frame 0 has not 51 weights"),
        ({"frames": [{"weights": [0.0] * 50 + [None], "time": 0}]}, "frame 0: None is not a finite number"),
        ({"frames": [{"weights": [0.0] * 51, "time": time} for time in (1, 0)]}, "frame 1: the time does not ascend"),
    ],
)
def test_odd_json_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=f"^b.json: {message}"):
        read_recording("beat", beat(tmp_path / "b.json", **changes))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importers, "MOST_BYTES", 100)
    with pytest.raises(DataError, match=r"expected at most 0 MiB, cut the recording"):
        read_recording("beat", beat(tmp_path / "b.json"))
    with pytest.raises(SettingsError, match="fps is 500; expected above 0, at most 120"):
        read_recording("beat", tmp_path / "b.json", fps=500)


def test_the_command_imports_what_fits_and_names_what_does_not(tmp_path: Path) -> None:
    source = tmp_path / "beat"
    (source / "1").mkdir(parents=True)
    beat(source / "1" / "1_wayne_0_65_65.json")
    (source / "odd.json").write_text("[]")
    (source / "._odd.json").write_bytes(b"\x00\x05\x16\x07")  # left behind by a file manager
    result = CliRunner().invoke(express, ["import", "beat", str(source), str(tmp_path / "tracks")])
    assert isinstance(result.exception, DataError) and "1 of 2 recordings could not be imported" in str(
        result.exception
    )
    assert read_track(tmp_path / "tracks" / "1" / "1_wayne_0_65_65.json").emotion == "happiness"
    assert "odd.json: expected BEAT's JSON" in result.output
    for where, message in ((tmp_path / "none", "does not exist"), (tmp_path / "tracks", "holds no .csv file")):
        result = CliRunner().invoke(express, ["import", "livelink", str(where), str(tmp_path / "out")])
        assert isinstance(result.exception, DataError) and message in str(result.exception)


def test_a_recording_is_never_overwritten_by_its_track(tmp_path: Path) -> None:
    path = beat(tmp_path / "1_wayne_0_1_1.json")
    before = path.read_bytes()
    result = CliRunner().invoke(express, ["import", "beat", str(tmp_path), str(tmp_path)])
    assert "is a recording itself" in str(result.exception) and path.read_bytes() == before
    assert tuple(SUFFIXES) == RECORDINGS
