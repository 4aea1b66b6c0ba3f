from __future__ import annotations

import numpy as np
import pytest

from emotion_qwen.errors import SettingsError
from emotion_qwen.faces import best_box, capture, chosen_frames, person_crops

from .scenes import frames, track

FACE = (100.0, 40.0, 140.0, 80.0)


def test_without_tracks_or_strength_the_very_same_array_comes_back():
    clip = frames(3)
    assert capture(clip, (), 1.0) is clip
    assert capture(clip, [track({0: FACE})], 0.0) is clip


def test_the_face_stays_and_the_rest_goes_towards_white():
    clip = frames(2)
    before = clip.copy()
    out = capture(clip, [track({0: FACE, 1: FACE})], 1.0, margin=0.25)
    assert out.dtype == np.uint8 and out.shape == clip.shape
    assert np.array_equal(clip, before)
    assert np.array_equal(out[:, 30:90, 90:150], clip[:, 30:90, 90:150])  # box with margin of 10 px
    assert out[:, :, :60].min() >= 216  # 0.85 of the way from 0 to 255
    assert (out >= clip).all()
    half = capture(clip, [track({0: FACE, 1: FACE})], 0.5, margin=0.25)
    assert np.abs(half.astype(int) - (clip.astype(float) + out) / 2).max() <= 1


def test_the_edge_is_soft():
    clip = np.zeros((1, 120, 320, 3), np.uint8)
    row = capture(clip, [track({0: FACE})], 1.0, margin=0.0)[0, 60, 140:160, 0].astype(int)
    assert (np.diff(row) >= 0).all() and len(set(row[:8].tolist())) == 8 and np.diff(row).max() < 60


def test_frames_outside_of_every_track_stay_and_gaps_follow_a_line():
    clip = np.zeros((6, 120, 320, 3), np.uint8)
    moving = track({1: (0, 40, 40, 80), 3: (200, 40, 240, 80)})
    out = capture(clip, [moving], 1.0, margin=0.0)
    assert not out[[0, 4, 5]].any()
    assert not out[2, 40:80, 100:140].any() and out[2, 60, [20, 220]].all()
    assert moving.frames.tolist() == [1, 3]


def test_every_face_is_kept():
    clip = np.zeros((1, 120, 320, 3), np.uint8)
    out = capture(clip, [track({0: (10, 40, 50, 80)}), track({0: (250, 40, 290, 80)})], 1.0)
    assert not out[0, 40:80, 10:50].any() and not out[0, 40:80, 250:290].any() and out[0, 60, 150].all()


@pytest.mark.parametrize(("strength", "margin", "text"), [(1.5, 0.2, "strength 1.5"), (0.5, -1, "margin -1")])
def test_settings_outside_their_range_are_named(strength, margin, text):
    with pytest.raises(SettingsError, match=text):
        capture(frames(1), [track({0: FACE})], strength, margin)


def test_a_crop_may_cut_into_the_box_but_not_through_it():
    (crop,) = person_crops(frames(1), track({0: (100, 40, 140, 80)}), margin=-0.1)
    assert crop.shape == (32, 32, 3)
    with pytest.raises(SettingsError, match=r"margin -0\.3; expected -0\.25 or more"):
        person_crops(frames(1), track({0: FACE}), margin=-0.3)


def test_crops_are_squares_with_margin():
    clip = frames(1)
    (crop,) = person_crops(clip, track({0: (100, 40, 130, 80)}), margin=0.25)
    assert crop.shape == (60, 60, 3)
    assert np.array_equal(crop, clip[0, 30:90, 85:145])


def test_a_crop_over_the_border_repeats_the_border():
    clip = frames(1)
    (crop,) = person_crops(clip, track({0: (0, 0, 40, 40)}), margin=0.25)
    assert crop.shape == (60, 60, 3)
    assert np.array_equal(crop[10:, 10:], clip[0, :50, :50])
    assert np.array_equal(crop[:10, 10:], np.repeat(clip[0, :1, :50], 10, axis=0))
    assert (crop[:10, :10] == clip[0, 0, 0]).all()
    (far,) = person_crops(clip, track({0: (300, 100, 320, 120)}), margin=1.0)
    assert far.shape == (60, 60, 3) and (far[-20:, -20:] == clip[0, -1, -1]).all()


def test_tiny_boxes_give_tiny_crops():
    (crop,) = person_crops(frames(1), track({0: (5, 5, 5.2, 5.1)}), margin=0.0)
    assert crop.shape == (1, 1, 3)


def test_crops_are_spread_evenly():
    clip = frames(20)
    whole = track({i: FACE for i in range(20)})
    assert chosen_frames(whole, 4).tolist() == [2, 7, 12, 17]
    assert chosen_frames(whole, 1).tolist() == [10]
    assert chosen_frames(whole, 99).tolist() == list(range(20))
    assert [c.tobytes() for c in person_crops(clip, whole, count=4)] == [
        person_crops(clip, track({i: FACE}))[0].tobytes() for i in (2, 7, 12, 17)
    ]
    with pytest.raises(SettingsError, match="0 crops per person; expected at least 1"):
        person_crops(clip, whole, count=0)


def test_the_best_box_has_the_best_score():
    boxes = {0: FACE, 1: (0, 0, 10, 10), 2: (1, 1, 9, 9)}
    assert best_box(track(boxes, [0.5, 0.9, 0.9])).tolist() == [0, 0, 10, 10]
