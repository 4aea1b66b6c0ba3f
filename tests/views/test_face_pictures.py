from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.faces.scenes import frames, times, track

from emotion_qwen.errors import ShapeError
from emotion_qwen.faces import capture, person_crops
from emotion_qwen.records import Clip
from emotion_qwen.views.face_pictures import PERSON_COLOURS, draw_tracks, save_pictures


def clip_of(count, **options):
    return Clip(frames(count, 60, 80) // 64 * 64, times(count), "drawn", duration=count / 2, **options)


def test_boxes_are_drawn_in_the_persons_colour():
    clip = clip_of(3)
    face = track({0: (20, 30, 50, 55), 2: (20, 30, 50, 55)})
    picture = np.array(draw_tracks(clip.frames[0], [face], 0))
    assert picture.shape == (60, 80, 3)
    assert tuple(picture[55, 35]) == tuple(bytes.fromhex(PERSON_COLOURS[0][1:]))
    assert np.array_equal(picture[35:50, 25:45], clip.frames[0, 35:50, 25:45])
    before = track({1: (20, 30, 50, 55)})
    assert np.array_equal(np.array(draw_tracks(clip.frames[0], [before], 0)), clip.frames[0])


@pytest.mark.parametrize("count", [1, 4, 30])
def test_sheets_are_written(tmp_path, count):
    clip = clip_of(count, still=count == 1)
    tracks = [track({i: (20, 10, 50, 45) for i in range(count)})]
    crops = [person_crops(clip.frames, tracks[0])]
    paths = save_pictures(tmp_path / "new", clip, tracks, capture(clip.frames, tracks, 0.5), crops)
    names = ["boxes.png", "captured.png", "tracks.png", "person_1.png"]
    assert [path.name for path in paths] == [n for n in names if count > 1 or n != "tracks.png"]
    for path in paths:
        with Image.open(path) as sheet:
            assert sheet.mode == "RGB" and min(sheet.size) > 100 and max(sheet.size) < 2500


def test_a_clip_without_faces_has_sheets_too(tmp_path):
    clip = clip_of(5)
    paths = save_pictures(tmp_path, clip, [], clip.frames, [])
    assert [path.name for path in paths] == ["boxes.png", "captured.png", "tracks.png"]


def test_what_does_not_belong_together_is_named(tmp_path):
    clip = clip_of(5)
    with pytest.raises(ShapeError, match="crops of 1 for 0 tracks"):
        save_pictures(tmp_path, clip, [], clip.frames, [[]])
    with pytest.raises(ShapeError, match=r"captured \(4, 60, 80, 3\) for frames \(5, 60, 80, 3\)"):
        save_pictures(tmp_path, clip, [], clip.frames[:4], [])
