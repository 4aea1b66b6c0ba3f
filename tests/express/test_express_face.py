"""The drawn face: it moves with the actions, is found by a face detector, and is the same for the same numbers."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from emotion_qwen.errors import SettingsError
from emotion_qwen.express.face import draw_face, drawn_box, face_shapes
from emotion_qwen.express.identities import IDENTITIES, identity_of, toned
from emotion_qwen.express.paper_head import paper_head
from emotion_qwen.express.prototypes import emotion_weights, expression
from emotion_qwen.express.svg import scene_svg
from emotion_qwen.express.track import CHANNELS, EMOTIONS, channel_values

STILL = np.zeros(3)


def drawn(actions: dict[str, float], head: np.ndarray = STILL, size: int = 96) -> np.ndarray:
    return draw_face(channel_values(actions), head, size=size, fine=1).astype(int)


def test_every_action_moves_the_face() -> None:
    assert set(CHANNELS) - set(paper_head("amber").has) == {"mouthClose", "tongueOut"}
    for name, before in (("mouthClose", {"jawOpen": 0.6}), ("tongueOut", {}), ("cheekPuff", {}), ("noseSneerLeft", {})):
        change = drawn({**before, name: 1.0}) - drawn(before)
        assert (np.abs(change).max(2) > 12).sum() > 12, name


def test_left_and_right_are_those_of_the_person() -> None:
    change = np.abs(drawn({"eyeBlinkLeft": 1.0}) - drawn({})).sum((0, 2))
    assert change[48:].sum() > 20 * change[:48].sum()
    turned = drawn_box(np.array([30.0, 0, 0]))
    assert turned[[0, 2]].mean() > drawn_box(STILL)[[0, 2]].mean() + 10
    assert drawn_box(np.array([0, 20.0, 0]))[1] < drawn_box(STILL)[1]


def test_emotions_and_identities_look_different_and_the_same_numbers_look_the_same() -> None:
    faces = [
        draw_face(expression(emotion_weights({name: 1.0})), STILL, who, size=48, fine=1).astype(int)
        for who, names in {"amber": EMOTIONS, **{other: ("neutral",) for other in list(IDENTITIES)[1:]}}.items()
        for name in names
    ]
    apart = [np.abs(a - b).mean() for row, a in enumerate(faces) for b in faces[:row]]
    assert min(apart) > 0.5 and len(faces) == 10
    assert (drawn({"jawOpen": 0.3}) == drawn({"jawOpen": 0.3})).all()


def test_the_head_turns() -> None:
    rest = drawn({})
    for axis in range(3):
        assert np.abs(drawn({}, np.eye(3)[axis] * 20) - rest).mean() > 2


def test_the_face_detector_finds_the_face_where_it_was_drawn() -> None:
    from emotion_qwen.faces import CenterFaceDetector
    from emotion_qwen.faces.detect import overlaps

    picture = draw_face(expression(emotion_weights({"disgust": 1.0})), STILL, "basalt", size=224, fine=1)
    detections = CenterFaceDetector()(picture)
    assert len(detections.scores) == 1
    assert overlaps(detections.boxes, drawn_box(STILL, 224)[None].astype(np.float32))[0, 0] > 0.7


def test_a_frame_as_svg_is_well_formed_and_marked() -> None:
    text = scene_svg(
        face_shapes(channel_values({"jawOpen": 1.0}), identity_of("dune")), [5, 0, 0], '{"synthetic": true}'
    )
    root = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    assert root.find(f"{space}metadata").text == '{"synthetic": true}'
    assert root.findall(f"{space}text")[-1].text == "synthetic"
    assert len(root.findall(f".//{space}path")) > 100
    names = {clip.get("id") for clip in root.iter(f"{space}clipPath")}
    used = {group.get("clip-path")[5:-1] for group in root.iter(f"{space}g")}
    assert used and used <= names


def test_an_unknown_identity_is_refused() -> None:
    with pytest.raises(SettingsError, match="unknown identity 'mona'; expected one of: amber, basalt"):
        identity_of("mona")


def test_wrinkles_of_the_mesh_open_with_their_actions() -> None:
    mesh = paper_head("amber")
    groove = np.array(toned(IDENTITIES["amber"].skin, 0.62, 12))
    faces = mesh.faces[(mesh.colours[mesh.faces[:, 0]] == groove).all(1)]

    def area(actions: dict[str, float], top: float, bottom: float) -> float:
        points = mesh.vertices + np.tensordot(channel_values(actions), mesh.morphs, 1)
        a, b, c = (points[faces[:, k], :2] for k in range(3))
        rows = (a[:, 1] < top) & (a[:, 1] > bottom) & (np.abs(a[:, 0]) < 0.12)
        return float(np.abs(np.cross(b - a, c - a))[rows].sum())

    frown = {"browDownLeft": 1.0, "browDownRight": 1.0}
    assert area(frown, 0.62, 0.4) > 4 * area({}, 0.62, 0.4) > 0
    assert area({"noseSneerLeft": 1.0}, 0.22, 0.0) > 0 == area({}, 0.22, 0.0)
