"""The files of a track: each is read by another reader than the one that wrote it."""

from __future__ import annotations

import csv
import json
import struct
from pathlib import Path

import av
import numpy as np
import pytest

from emotion_qwen.errors import SettingsError
from emotion_qwen.express.livelink import HEADER, timecode
from emotion_qwen.express.motion import held, make_track
from emotion_qwen.express.prototypes import emotion_weights
from emotion_qwen.express.rigs import DrawnRig
from emotion_qwen.express.track import PLACE, ExpressionTrack, Provenance, read_track
from emotion_qwen.express.writers import write_output

COMPONENT_BYTES = {5126: 4, 5125: 4}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}


@pytest.fixture(scope="module")
def track() -> ExpressionTrack:
    provenance = Provenance(source="emotion", details={"emotion": "fear"})
    return make_track(held(emotion_weights({"fear": 1.0}), 0.5), 0.5, fps=10, provenance=provenance)


def test_csv_is_that_of_live_link_face(track: ExpressionTrack, tmp_path: Path) -> None:
    write_output(track, DrawnRig(), "amber", tmp_path / "track.csv")
    with (tmp_path / "track.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(HEADER) == 63 and len(rows) == 5 and {row["BlendShapeCount"] for row in rows} == {"61"}
    assert [row["Timecode"] for row in rows][::4] == ["00:00:00:00.000", "00:00:00:04.000"]
    jaw = [float(row["JawOpen"]) for row in rows]
    assert np.allclose(jaw, track.frames[:, PLACE["jawOpen"]], atol=1e-6)
    assert np.allclose([float(row["HeadYaw"]) for row in rows], np.radians(track.head[:, 0]), atol=1e-6)
    assert json.loads((tmp_path / "track.provenance.json").read_text())["synthetic"] is True


def test_time_codes_count_hours_and_frames() -> None:
    assert timecode(0, 30) == "00:00:00:00.000"
    assert timecode(108_000 + 1800 + 45, 30) == "01:01:01:15.000"


def test_gltf_is_whole(track: ExpressionTrack, tmp_path: Path) -> None:
    write_output(track, DrawnRig(), "amber", tmp_path / "head.glb")
    data = (tmp_path / "head.glb").read_bytes()
    magic, version, length, size, kind = struct.unpack_from("<4sIII4s", data)
    assert (magic, version, length, kind) == (b"glTF", 2, len(data), b"JSON") and size % 4 == 0
    document = json.loads(data[20 : 20 + size])
    binary = data[28 + size :]
    assert document["asset"]["extras"]["synthetic"] is True and len(binary) == document["buffers"][0]["byteLength"]
    for view in document["bufferViews"]:
        assert view["byteOffset"] % 4 == 0 and view["byteOffset"] + view["byteLength"] <= len(binary)
    for entry in document["accessors"]:
        if "bufferView" in entry:
            size = entry["count"] * COMPONENT_BYTES[entry["componentType"]] * WIDTHS[entry["type"]]
            assert document["bufferViews"][entry["bufferView"]]["byteLength"] == size
    mesh, animation = document["meshes"][0], document["animations"][0]
    names, primitive = mesh["extras"]["targetNames"], mesh["primitives"][0]
    assert len(names) == len(mesh["weights"]) == len(primitive["targets"]) >= 48
    vertices = document["accessors"][primitive["attributes"]["POSITION"]]
    assert {document["accessors"][t["POSITION"]]["count"] for t in primitive["targets"]} == {vertices["count"]}
    indices = document["accessors"][primitive["indices"]]
    view = document["bufferViews"][indices["bufferView"]]
    assert np.frombuffer(binary, "<u4", indices["count"], view["byteOffset"]).max() == vertices["count"] - 1
    weights = document["accessors"][animation["samplers"][0]["output"]]
    assert weights["count"] == len(track.frames) * len(names)
    stored = np.frombuffer(
        binary, "<f4", weights["count"], document["bufferViews"][weights["bufferView"]]["byteOffset"]
    )
    stored = stored.reshape(len(track.frames), -1)
    assert np.allclose(stored[:, names.index("jawOpen")], track.frames[:, PLACE["jawOpen"]], atol=1e-6)


def test_a_video_is_marked_and_has_every_frame(track: ExpressionTrack, tmp_path: Path) -> None:
    write_output(track, DrawnRig(), "amber", tmp_path / "face.mp4")
    with av.open(str(tmp_path / "face.mp4")) as file:
        assert json.loads(file.metadata["comment"])["synthetic"] is True
        assert json.loads(file.metadata["comment"])["details"] == {"emotion": "fear"}
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert len(frames) == 5 and frames[0].shape == (512, 512, 3)
    plain = DrawnRig().render(track.frames[2], track.head[2], "amber", 512, 1).astype(int)
    difference = np.abs(frames[2].astype(int) - plain).max(2) > 60
    assert difference[480:, 380:].sum() > 200 and difference[:300].mean() < 0.01


def test_json_and_svg_frames(track: ExpressionTrack, tmp_path: Path) -> None:
    write_output(track, DrawnRig(), "amber", tmp_path / "track.json")
    assert np.allclose(read_track(tmp_path / "track.json").frames, track.frames, atol=1e-4)
    write_output(track, DrawnRig(), "amber", tmp_path / "frames.svg")
    files = sorted((tmp_path / "frames.svg").iterdir())
    assert [file.name for file in files][-1] == "frame_00004.svg" and len(files) == 5
    assert files[0].read_text() != files[3].read_text()


def test_an_unknown_suffix_is_refused(track: ExpressionTrack, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"face.gif': unknown suffix '.gif'; expected one of: .csv"):
        write_output(track, DrawnRig(), "amber", tmp_path / "face.gif")
