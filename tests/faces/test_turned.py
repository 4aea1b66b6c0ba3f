"""Faces that are turned in the picture: their roll, their boxes, and upright crops."""

import numpy as np
import pytest
from PIL import Image

from emotion_qwen.faces import CenterFaceDetector, Detections, best_box, person_crops, track_faces
from emotion_qwen.faces.capture import RIGHTED_FROM, rotated
from emotion_qwen.faces.detect import rolls_of
from emotion_qwen.faces.turned import detect_turned, quarter_turned, square_around
from emotion_qwen.records import FaceTrack

UPRIGHT = np.array([[[0, -10], [0, 10], [8, 0], [20, -7], [20, 7]]], float)  # y, x of eyes, nose, mouth


def turned(picture: np.ndarray, angle: float) -> np.ndarray:
    """Turn a picture clockwise; the canvas grows."""
    return np.asarray(
        Image.fromarray(picture).rotate(-angle, Image.Resampling.BICUBIC, expand=True, fillcolor=(128,) * 3)
    )


@pytest.mark.parametrize("angle", [0, 30, -45, 90, 135, -170])
def test_the_roll_is_that_of_eyes_and_mouth(angle):
    turn = np.radians(angle)
    y, x = UPRIGHT[..., 0], UPRIGHT[..., 1]
    points = np.stack([y * np.cos(turn) + x * np.sin(turn), x * np.cos(turn) - y * np.sin(turn)], axis=-1)
    roll, strain = rolls_of(points)
    assert roll[0] == pytest.approx(angle, abs=1e-3) and strain[0] == pytest.approx(0, abs=1e-3)


def test_landmarks_that_fit_no_face_are_strained():
    points = UPRIGHT.copy()
    points[0, 3:] = [[-20, -7], [-20, 7]]  # a mouth above the eyes
    assert rolls_of(points)[1][0] == pytest.approx(180, abs=1e-3)


@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
def test_boxes_of_turned_faces_are_those_of_the_picture(quarter):
    height, width, box = 60, 100, (70, 10, 90, 40)
    frame = np.zeros((height, width, 3), np.uint8)
    frame[box[1] : box[3], box[0] : box[2]] = 255

    def bright(picture: np.ndarray) -> Detections:
        rows, columns = np.nonzero(picture[..., 0])
        found = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
        none = np.zeros(1, np.float32)
        return Detections(found, np.array([0.9], np.float32), none, none)

    found = detect_turned(frame, quarter, bright)
    assert found.boxes[0].tolist() == list(box)
    assert abs(found.rolls[0]) == {0: 0, 1: 90, 2: 180, 3: 90}[quarter]
    assert quarter_turned(frame, quarter).shape[:2] == ((height, width) if quarter % 2 == 0 else (width, height))


@pytest.mark.parametrize(
    ("roll", "righted"), [(RIGHTED_FROM - 1, False), (-RIGHTED_FROM, True), (90, True), (180, True)]
)
def test_crops_are_righted_from_a_roll_on(roll, righted):
    frame = np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)
    box = np.array([[20, 20, 60, 60]], np.float32)
    track = FaceTrack(1, np.array([0]), box, np.ones(1, np.float32), np.array([roll], np.float32))
    (crop,), (plain,) = (person_crops(frame[None], one, margin=0) for one in (track, FaceTrack(1, *_bare(track))))
    assert crop.shape == plain.shape == (40, 40, 3) and np.array_equal(crop, plain) is not righted
    if roll in (90, 180):
        assert np.array_equal(crop, np.rot90(plain, roll // 90)), "a quarter loses no pixel"


def _bare(track: FaceTrack) -> tuple:
    return track.frames, track.boxes, track.scores


def test_a_square_beyond_the_frame_is_filled_with_its_mean():
    frame = np.full((20, 30, 3), 100, np.uint8)
    square = square_around(frame, np.array([-5.0, 0, 5, 10]), 0.5)
    assert square.shape == (20, 20, 3) and (square == 100).all()


@pytest.mark.parametrize("angle", [0, 45, 90, 180, 270])
def test_the_astronaut_is_righted(angle):
    from skimage import data

    picture = turned(data.astronaut()[::2, ::2], angle)
    (track,) = track_faces(picture[None], np.zeros(1), CenterFaceDetector())
    roll = 0.0 if track.rolls is None else float(track.rolls[0])
    assert abs((roll - angle + 180) % 360 - 180) < 25
    (crop,) = person_crops(picture[None], track, margin=0.3)
    (again,) = track_faces(crop[None], np.zeros(1), CenterFaceDetector())
    assert again.rolls is None, "the crop is upright"
    middle = (best_box(track)[:2] + best_box(track)[2:]) / 2
    assert np.abs(middle - rotated_point((224 / 2, 117 / 2), angle, picture.shape[:2])).max() < 20


def rotated_point(point: tuple[float, float], angle: float, size: tuple[int, int]) -> np.ndarray:
    turn, centre = np.radians(angle), np.array([128.0, 128.0])
    x, y = np.array(point) - centre
    moved = np.array([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)])
    return moved + np.array(size[::-1]) / 2


def test_rotated_turns_back():
    picture = np.zeros((9, 9, 3), np.uint8)
    picture[0, 4] = 255  # up
    assert rotated(np.ascontiguousarray(np.rot90(picture, -1)), 90)[0, 4, 0] == 255
