import numpy as np

from emotion_qwen.faces import Detections, ScriptedDetector
from emotion_qwen.prepare import crop_side, fit_crop, prepare_clip
from emotion_qwen.records import Clip
from emotion_qwen.settings import ClipSettings


def clip(frames: int = 6) -> Clip:
    pixels = np.random.default_rng(0).integers(0, 200, (frames, 60, 80, 3), dtype=np.uint8)
    return Clip(pixels, np.arange(frames) / 2, "made", duration=frames / 2, size=(60, 80))


def face(x: float) -> Detections:
    return Detections(np.array([[x, 10, x + 20, 36]], np.float32), np.array([0.9], np.float32))


def test_without_a_face_the_clip_is_shown_as_it_is(processor):
    source = clip()
    prepared = prepare_clip(source, ScriptedDetector([Detections.none()] * 6), processor)
    assert prepared.people == () and prepared.shown.frames is source.frames
    assert prepared.part["type"] == "video"


def test_a_person_becomes_square_grey_crops_and_the_rest_is_washed_out(processor):
    source = clip()
    prepared = prepare_clip(source, ScriptedDetector([face(20 + i) for i in range(6)]), processor)
    (person,) = prepared.people
    side = crop_side(processor.settings, 16)
    assert person.crops.shape[1:] == (side, side, 3) and person.crops.dtype == np.uint8
    assert np.array_equal(person.crops[..., 0], person.crops[..., 1])
    assert len(person.times) == len(person.crops) and set(person.times) <= set(source.times)
    assert prepared.shown.frames[0, 50, 70].mean() > source.frames[0, 50, 70].mean()
    assert np.array_equal(prepared.shown.frames[0, 22, 30], source.frames[0, 22, 30])


def test_crop_side_is_a_multiple_of_patch_and_merge():
    assert crop_side(ClipSettings(), 28) == 224
    assert crop_side(ClipSettings(person_pixels=48 * 48), 16) == 48
    assert crop_side(ClipSettings(person_pixels=1), 16) == 16


def test_a_crop_keeps_its_colours_unless_grey_is_set():
    red = np.zeros((10, 10, 3), np.uint8)
    red[..., 0] = 200
    assert fit_crop(red, 16, gray=False)[8, 8].tolist() == [200, 0, 0]
    assert len(set(fit_crop(red, 16, gray=True)[8, 8].tolist())) == 1
