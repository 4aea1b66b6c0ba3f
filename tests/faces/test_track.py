from __future__ import annotations

import numpy as np
import pytest

from emotion_qwen.errors import ShapeError
from emotion_qwen.faces import ScriptedDetector, track_faces

from .scenes import frames, seen, square, times


def follow(*script, fps=2.0, **options):
    detections = [seen(*faces) for faces in script]
    return track_faces(frames(len(script)), times(len(script), fps), ScriptedDetector(detections), **options)


def lefts(track):
    return track.boxes[:, 0].tolist()


def test_one_still_face_is_one_track():
    (track,) = follow(*[[square(50, 40)]] * 6)
    assert track.person == 1
    assert track.frames.tolist() == list(range(6)) and track.frames.dtype == np.int64
    assert track.boxes.shape == (6, 4) and track.boxes.dtype == np.float32
    assert track.scores.tolist() == pytest.approx([0.9] * 6)


def test_crossing_faces_keep_their_tracks():
    right = [20.0 * i for i in range(11)]
    left = [200 - 20.0 * i for i in range(11)]
    # The order of detections says nothing: it alternates.
    script = [
        [square(a, 40), square(b, 46)][:: 1 if i % 2 else -1] for i, (a, b) in enumerate(zip(right, left, strict=True))
    ]
    one, other = follow(*script)
    assert lefts(one) == right and lefts(other) == left


def test_crossing_faces_keep_their_tracks_when_one_hides_the_other():
    script = [[square(20 * i, 40), square(200 - 20 * i, 46)] for i in range(11)]
    script[5] = [square(100, 43)]
    one, other = follow(*script)
    assert lefts(one)[0] == 0 and lefts(one)[-1] == 200
    assert lefts(other)[0] == 200 and lefts(other)[-1] == 0
    assert len(one.frames) + len(other.frames) == 21


def test_two_missed_frames_are_survived_and_stay_a_gap():
    script = [[square(10 + 5 * i, 40)] for i in range(7)]
    script[3] = script[4] = []
    (track,) = follow(*script)
    assert track.frames.tolist() == [0, 1, 2, 5, 6]
    assert lefts(track) == [10, 15, 20, 35, 40]


def test_patience_ends_a_track():
    script = [[square(10, 40)], [square(10, 40)], [], [], [], [square(10, 40)], [square(10, 40)]]
    first, second = follow(*script)
    assert first.frames.tolist() == [0, 1] and second.frames.tolist() == [5, 6]
    (whole,) = follow(*script, patience=1.5)
    assert whole.frames.tolist() == [0, 1, 5, 6]


def test_slow_sampling_does_not_split_a_track():
    (track,) = follow(*[[square(50, 40)]] * 5, fps=0.2)
    assert len(track.frames) == 5


def test_one_leaves_and_another_enters():
    script = [[square(10, 40)]] * 3 + [[square(250, 40)]] * 3
    first, second = follow(*script)
    assert first.frames.tolist() == [0, 1, 2] and second.frames.tolist() == [3, 4, 5]
    assert (first.person, second.person) == (1, 2)


def test_a_much_larger_face_at_the_same_place_is_another():
    script = [[square(100, 40, 20)]] * 2 + [[square(80, 20, 60)]] * 2
    assert [track.frames.tolist() for track in follow(*script)] == [[0, 1], [2, 3]]


def test_people_are_numbered_by_appearance_then_from_left_to_right():
    script = [[square(200, 40)], [square(200, 40), square(100, 40), square(20, 40)]] + [
        [square(20, 40), square(200, 40), square(100, 40)]
    ] * 2
    tracks = follow(*script)
    assert [(track.person, lefts(track)[0]) for track in tracks] == [(1, 200), (2, 20), (3, 100)]


def test_a_blip_is_dropped_unless_it_is_sure_or_the_clip_is_short():
    face, blip = square(10, 40), square(250, 40, score=0.45)
    assert len(follow([face], [face, blip], [face], [face])) == 1
    assert len(follow([face], [face, square(250, 40, score=0.8)], [face], [face])) == 2
    assert len(follow([face], [face, blip], [face])) == 2
    assert len(follow([blip])) == 1


def test_no_faces_no_tracks():
    assert follow([], [], []) == ()


def test_the_same_clip_gives_the_same_tracks():
    draw = np.random.default_rng(3)
    script = [[square(*draw.uniform(0, 250, 2), score=0.9) for _ in range(4)] for _ in range(20)]
    one, other = follow(*script), follow(*script)
    assert len(one) == len(other) > 3
    for a, b in zip(one, other, strict=True):
        assert a.person == b.person
        assert np.array_equal(a.frames, b.frames) and np.array_equal(a.boxes, b.boxes)
    assert sum(len(track.frames) for track in follow(*script, lone_score=0)) == 80


def test_times_must_fit_the_frames():
    with pytest.raises(ShapeError, match=r"\(3, 120, 320, 3\) with times \(2,\); expected \(T, H, W, 3\)"):
        track_faces(frames(3), times(2), ScriptedDetector([]))
