import random

import numpy as np
import pytest

from emotion_qwen.data.parts import read_part
from emotion_qwen.data.pictures import Pictures
from emotion_qwen.errors import DataError
from recipes.nano import parts
from recipes.nano.scenes import FACE_SIDES, SIDE, ScenesPart, capture_face, paste_face


def made(captured: bool = False) -> ScenesPart:
    faces = np.zeros((6, 48, 48, 3), np.uint8) + np.arange(10, 70, 10, dtype=np.uint8)[:, None, None, None]
    things = np.full((4, 64, 64, 3), 200, np.uint8)
    labels = ("happiness", "fear", "anger", "sadness", "neutral", "disgust")
    ids = tuple("abcdef")
    shown = Pictures("f", faces, labels, ids), Pictures("t", things, ("cat",) * 4, tuple("wxyz"))
    return ScenesPart("scenes", "emotion", *shown, captured=captured)


def test_the_face_stands_in_its_box_and_nowhere_else():
    for seed in range(30):
        face, thing = np.full((48, 48, 3), 30, np.uint8), np.full((32, 32, 3), 200, np.uint8)
        scene, box = paste_face(face, thing, random.Random(seed))
        left, top, right, bottom = box.astype(int)
        assert scene.shape == (SIDE, SIDE, 3) and FACE_SIDES[0] <= right - left == bottom - top <= FACE_SIDES[1]
        dark = scene[..., 0] == 30
        assert dark[top:bottom, left:right].all() and dark.sum() == (right - left) ** 2


def test_capture_keeps_the_face_and_washes_out_the_rest():
    plain, captured = made().scene(2, 0), made(captured=True).scene(2, 0)
    face = plain[..., 0] == 30
    assert (captured[face] == plain[face]).all()
    far = captured[~face].mean() - plain[~face].mean()
    assert far > 5  # towards white
    scene, box = paste_face(np.zeros((48, 48, 3), np.uint8), np.full((64, 64, 3), 100, np.uint8), random.Random(1))
    assert not np.array_equal(capture_face(scene, box), scene)


def test_a_scene_is_a_function_of_index_and_turn():
    part = made()
    assert np.array_equal(part.scene(1, 0), part.scene(1, 0)) and not np.array_equal(part.scene(1, 0), part.scene(1, 1))
    assert part.sample(1, 0).labels == {"emotion": "fear"}
    assert part.sample(1, 0).messages[1] == part.sample(1, 0).messages[1]
    assert part.identity != made(captured=True).identity


def test_backgrounds_have_to_be_named(tmp_path):
    with pytest.raises(
        DataError, match="part 'a' of kind .*parts.py:scenes' has no backgrounds; give it among the options"
    ):
        read_part(f"{parts.__file__}:scenes", "a", "emotion", tmp_path / "f.parquet", "train")
