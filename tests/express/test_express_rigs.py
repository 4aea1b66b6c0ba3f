"""Heads from files, and the rasteriser that draws them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emotion_qwen.errors import MediaError
from emotion_qwen.express.gltf import quaternions, write_gltf
from emotion_qwen.express.mesh import channel_of
from emotion_qwen.express.paper_head import paper_head
from emotion_qwen.express.raster import rasterise, vertex_normals
from emotion_qwen.express.rigs import DrawnRig, rig_of, rotation
from emotion_qwen.express.track import CHANNELS, EMOTIONS, PLACE, ExpressionTrack, channel_values


@pytest.fixture(scope="module")
def head_file(tmp_path_factory) -> Path:
    track = ExpressionTrack(10.0, np.zeros((2, len(CHANNELS))), np.zeros((2, 3)), np.zeros((2, len(EMOTIONS))))
    path = tmp_path_factory.mktemp("heads") / "head.glb"
    write_gltf(track, DrawnRig(), "amber", path)
    return path


def test_the_nearer_of_two_triangles_is_seen_whatever_their_order() -> None:
    far = np.array([(0, 0, 0.0), (20, 0, 0), (0, 20, 0)])
    near = far * 0.5 + (0, 0, 1)
    points = np.concatenate([far, near])
    front = np.array([(0, 2, 1), (3, 5, 4)])
    for faces in (front, front[::-1]):
        seen = rasterise(points, faces, 20)
        picture = np.full(400, -1)
        picture[seen.pixels] = faces[seen.faces, 0]
        picture = picture.reshape(20, 20)
        assert picture[2, 2] == 3 and picture[2, 14] == 0 and picture[15, 15] == -1
        assert (seen.weights >= 0).all() and np.allclose(seen.weights.sum(1), 1)
    assert not len(rasterise(points, front[:, ::-1], 20).pixels)


def test_a_triangle_larger_than_a_block_is_drawn_whole() -> None:
    points = np.array([(-50, -50, 0.0), (-50, 900, 0), (900, -50, 0)])
    assert len(rasterise(points, np.array([(0, 1, 2)]), 300).pixels) == 300 * 300


def test_normals_point_outwards() -> None:
    points = np.array([(0, 0, 0.0), (1, 0, 0), (0, 1, 0)])
    assert np.allclose(vertex_normals(points, np.array([(0, 1, 2)])), [(0, 0, 1)] * 3)


@pytest.mark.parametrize(
    ("morph", "channel"),
    [
        ("browDownLeft", "browDownLeft"),
        ("browDown_L", "browDownLeft"),
        ("BrowDown_R", "browDownRight"),
        ("blendShape1.eyeBlink_L", "eyeBlinkLeft"),
        ("browInnerUp_L", "browInnerUp"),
        ("cheekPuff_R", "cheekPuff"),
        ("cheekRaiser_L", "cheekSquintLeft"),
        ("jawOpen", "jawOpen"),
        ("mouthLeft", "mouthLeft"),
        ("jawRight", "jawRight"),
        ("viseme_aa", None),
    ],
)
def test_morphs_are_known_by_their_usual_names(morph: str, channel: str | None) -> None:
    assert channel_of(morph) == channel


def test_a_written_head_reads_back_and_moves(head_file: Path) -> None:
    rig, mesh = rig_of(head_file), paper_head("amber")
    assert rig.mesh is not None and rig.name == "head"
    assert set(rig.mesh.has) == set(mesh.has) and len(mesh.has) >= 48
    move = mesh.morphs[PLACE["mouthSmileLeft"]]
    again = rig.mesh.morphs[PLACE["mouthSmileLeft"]]
    rows = np.abs(move).max(1) > 0.02
    ratio = again[rows, 1] / move[rows, 1]
    assert rows.any() and np.abs(ratio / np.median(ratio) - 1).max() < 0.01
    pictures = [
        rig.render(channel_values(actions), np.zeros(3), "amber", 64, 1).astype(int)
        for actions in ({}, {"jawOpen": 1.0}, {"jawOpen": 1.0})
    ]
    assert np.abs(pictures[0] - pictures[1]).mean() > 1 and (pictures[1] == pictures[2]).all()


def test_quaternions_turn_as_the_rotation_matrix() -> None:
    head = np.array([[20.0, -10.0, 5.0], [0, 0, 0]])
    for row, (x, y, z, w) in zip(head, quaternions(head), strict=True):
        matrix = np.array([
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ])  # fmt: skip
        assert np.allclose(matrix, rotation(row), atol=1e-9)


def test_a_file_that_is_no_head_is_refused_in_one_line(head_file: Path, tmp_path: Path) -> None:
    document = json.loads(head_file.read_bytes()[20:].partition(b"}\x00")[0].split(b"BIN\x00")[0][:-4])
    bare = {**document, "meshes": [{**document["meshes"][0], "extras": {"targetNames": ["viseme_aa"] * 48}}]}
    (tmp_path / "bare.gltf").write_text(json.dumps(bare))
    data = head_file.read_bytes()
    (tmp_path / "cut.glb").write_bytes(data[:2000])
    (tmp_path / "text.glb").write_text("no head")
    np.savez(tmp_path / "empty.npz", a=np.zeros(3))
    (tmp_path / "one.gltf").write_text('{"asset": {"version": "1.0"}}')
    (tmp_path / "away.gltf").write_text('{"asset": {"version": "2.0"}, "buffers": [{"uri": "../../x.bin"}]}')
    (tmp_path / "draco.gltf").write_text(
        '{"asset": {"version": "2.0"}, "extensionsRequired": ["KHR_draco_mesh_compression"]}'
    )
    many = {"count": 10**12, "type": "VEC3", "componentType": 5126}
    mesh = {"primitives": [{"attributes": {"POSITION": 0}}]}
    for name, parts in {
        "circle.gltf": {"nodes": [{"children": [1]}, {"children": [2]}, {"children": [1]}]},
        "huge.gltf": {"nodes": [{"mesh": 0}], "meshes": [mesh], "accessors": [many]},
        "words.gltf": {"nodes": ["head"]},
    }.items():
        (tmp_path / name).write_text(json.dumps({"asset": {"version": "2.0"}, **parts}))
    (tmp_path / "list.gltf").write_text("[1, 2]")
    for name, message in (
        ("circle.gltf", "a node has two parents"),
        ("huge.gltf", "cannot be read as a head"),
        ("words.gltf", "cannot be read as a head"),
        ("list.gltf", "cannot be read as a head"),
        ("bare.gltf", "cannot be read as a head"),
        ("cut.glb", "cannot be read as a head"),
        ("text.glb", "cannot be read as a head"),
        ("empty.npz", "cannot be read as a head"),
        ("none.glb", "cannot be read as a head"),
        ("one.gltf", "is no glTF 2.0 file"),
        ("away.gltf", "is not beside the file"),
        ("draco.gltf", "needs KHR_draco_mesh_compression; export the head without compression"),
        ("head.obj", "ends in '.obj'; expected a head as .glb, .gltf, .npz"),
    ):
        with pytest.raises(MediaError, match=message) as caught:
            rig_of(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_head_without_morphs_is_named(head_file: Path, tmp_path: Path) -> None:
    data = head_file.read_bytes()
    renamed = data
    for name in CHANNELS:
        renamed = renamed.replace(f'"{name}"'.encode(), f'"{"x" * len(name)}"'.encode())
    (tmp_path / "masked.glb").write_bytes(renamed)
    with pytest.raises(MediaError, match=r"has 0 of the 52 ARKit morphs; its morphs are x+"):
        rig_of(tmp_path / "masked.glb")


def test_the_ict_head_is_read_and_its_face_is_found(shared_data) -> None:
    from emotion_qwen.faces import CenterFaceDetector
    from emotion_qwen.faces.detect import overlaps

    rig = rig_of(shared_data / "face_rig_ict.npz")
    assert rig.mesh is not None and set(CHANNELS) - set(rig.mesh.has) == {"tongueOut"}
    picture = rig.render(channel_values({"mouthSmileLeft": 1, "mouthSmileRight": 1}), np.zeros(3), "cedar", 224, 1)
    detections = CenterFaceDetector()(picture)
    assert len(detections.scores) == 1
    assert overlaps(detections.boxes, rig.box(np.zeros(3), 224)[None].astype(np.float32))[0, 0] > 0.5
