"""What is measured of a clip, and which clips are rejected for which reason."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.ver.films import colours, write

from emotion_qwen.errors import DataError
from emotion_qwen.records import Clip, FaceTrack
from emotion_qwen.ver.settings import SelectSettings
from emotion_qwen.ver.steps.look import LookAtClip, likely_speaker, picture_hashes
from emotion_qwen.ver.steps.select import PictureIndex, fault_of, select
from emotion_qwen.ver.store.columns import NOBODY, UNKNOWN

PLAIN = SelectSettings(expressions=False, most_frames=24)


def measured(**changes):
    good = {"status": "kept", "people": 1, "coverage": 1.0, "face_size": 0.3, "step": 0.01, "sharpness": 90.0,
            "speaker": 0, "clip": "a-0", "hashes": "[]", "reason": ""}  # fmt: skip
    return good | changes


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({}, ""),
        ({"people": 0}, "no face"),
        ({"coverage": 0.4}, "no face in 60% of the frames, at most 40%"),
        ({"face_size": 0.03}, "small face: 0.030 of the frame, at least 0.07"),
        ({"step": 0.9}, "unsteady face: 0.90 of its side per step, at most 0.6"),
        ({"sharpness": 3.0}, "blurred face: sharpness 3.0, at least 15"),
        ({"status": "rejected", "reason": "unreadable: x"}, "unreadable: x"),
    ],
)
def test_every_rejection_has_its_reason(changes, reason):
    assert fault_of(measured(**changes), PLAIN) == reason


@pytest.mark.parametrize(
    "speaker, reason", [(0, ""), (NOBODY, "likely no visible speaker"), (UNKNOWN, "likely no visible speaker")]
)
def test_a_speaker_can_be_asked_for(speaker, reason):
    assert fault_of(measured(speaker=speaker), PLAIN.model_copy(update={"speaking": True})) == reason


def hashed(name, seed):
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 255, (8, 40, 40, 3), np.uint8)
    return measured(clip=name, hashes=json.dumps([f"{h:016x}" for h in picture_hashes(frames)]))


def test_duplicates_of_other_videos_are_rejected_and_of_the_same_are_not():
    rows = [hashed("a-0", 1), hashed("a-9", 1), hashed("b-0", 1), hashed("c-0", 2)]
    assert [row["reason"] for row in select(lambda: iter(rows), PLAIN)] == ["", "", "near duplicate of a-0", ""]


def test_a_video_that_came_later_gives_way_to_one_that_was_kept():
    rows = [hashed("a-0", 1), hashed("b-0", 1)]
    (found,) = select(lambda: iter(rows), PLAIN, {"b-0": "kept"})
    assert (found["clip"], found["reason"]) == ("a-0", "near duplicate of b-0")


@pytest.mark.parametrize("alike, twin", [(4, "x-0"), (3, "x-0"), (2, ""), (1, ""), (0, "")])
def test_a_duplicate_shows_three_of_four_pictures_that_were_seen(alike, twin):
    known = [0xFFFF << (16 * place) for place in range(4)]
    seen = PictureIndex(bits=4)
    seen.add(known, "x-0")
    seen.add([0x0F0F0F0F0F0F0F0F] * 4, "y-0")
    others = [0x5555555555555555 ^ (0xF << (8 * place)) for place in range(4)]
    assert seen.twin([*known[:alike], *others[alike:]]) == twin
    near = [one ^ 0b1111 for one in known]  # four bits differ
    assert seen.twin([*near[:alike], *others[alike:]]) == twin
    far = [one ^ 0b11111 for one in known]
    assert seen.twin(far) == ""


def test_pictures_of_different_places_do_not_add_up():
    seen, known = PictureIndex(bits=4), [0xFFFF << (16 * place) for place in range(4)]
    for place, one in enumerate(known):
        seen.add([one], f"{place}-0")
    assert seen.twin(known) == ""


def test_hashes_survive_reduction_and_light():
    picture = np.random.default_rng(0).integers(0, 255, (12, 12, 3), np.uint8).repeat(10, 0).repeat(10, 1)
    (one,), (other,) = picture_hashes(picture[None]), picture_hashes((picture[::2, ::2] * 0.8).astype(np.uint8)[None])
    assert bin(one ^ other).count("1") <= 4
    seen = PictureIndex(4)
    seen.add([one], "x")
    assert seen.twin([other]) == "x" and seen.twin([one ^ (2**40 - 1)]) == ""


def test_benchmark_pictures_do_not_come_into_the_set(tmp_path):
    frames = np.random.default_rng(3).integers(0, 255, (10, 6, 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    write(tmp_path / "test_001.mp4", frames[:1].repeat(10, 0))
    row = measured(clip="b-0", hashes=json.dumps([f"{picture_hashes(frames[:1])[0]:016x}"] * 4))
    settings = PLAIN.model_copy(update={"benchmarks": (str(tmp_path),)})
    (found,) = select(lambda: iter([row]), settings)
    assert found["reason"] == "shows the same as benchmark file 'test_001.mp4'"
    with pytest.raises(DataError, match=r"select.benchmarks: .*nowhere.* does not exist"):
        list(select(lambda: iter([]), PLAIN.model_copy(update={"benchmarks": ("nowhere",)})))


def talking(moves: bool) -> tuple[Clip, FaceTrack, np.ndarray]:
    """A face-sized square whose lower part flickers with a sound, or out of step with it."""
    rng, count = np.random.default_rng(0), 48
    loud = (np.arange(count) // 6) % 2 == 0
    frames = np.full((count, 80, 80, 3), 90, np.uint8)
    for place in range(count):
        if loud[place] == moves:
            frames[place, 52:70, 25:55] = rng.integers(0, 255, (18, 30, 1))
    times = np.arange(count) / 12
    wave = np.repeat(loud, 1334).astype(np.float32) * rng.normal(0, 0.2, 1334 * count).astype(np.float32)
    boxes = np.tile(np.array([[5, 5, 75, 75]], np.float32), (count // 3, 1))
    track = FaceTrack(1, np.arange(count // 3), boxes, np.ones(count // 3, np.float32))
    return Clip(frames, times, "talk", wave=wave, sample_rate=16000), track, times[::3]


@pytest.mark.parametrize("moves, speaker", [(True, 0), (False, NOBODY)])
def test_a_mouth_that_moves_with_the_sound_speaks(moves, speaker):
    clip, track, times = talking(moves)
    found, likeness = likely_speaker(clip, (track,), times, -20.0)
    assert found == speaker and (likeness > 0.25) is moves
    assert likely_speaker(clip, (track,), times, None) == (UNKNOWN, None)


def test_a_clip_without_faces_and_sound_is_measured_as_such(tmp_path):
    write(tmp_path / "a.mp4", colours(12))
    (row,) = LookAtClip(PLAIN, str(tmp_path))({"clip": "a", "media": "a.mp4"})
    assert (row["people"], row["level"], row["speaker"], row["smile"]) == (0, None, UNKNOWN, None)
    assert len(json.loads(row["hashes"])) == 4 and fault_of(row, PLAIN) == "no face"
    (bad,) = LookAtClip(PLAIN, str(tmp_path))({"clip": "b", "media": "b.mp4"})
    assert bad["status"] == "rejected" and "b.mp4" in bad["reason"]


def test_a_smiling_photograph_is_measured_to_smile(astronaut, tmp_path):
    write(tmp_path / "a.mp4", astronaut[None].repeat(6, 0))
    (row,) = LookAtClip(SelectSettings(most_frames=8), str(tmp_path))({"clip": "a", "media": "a.mp4"})
    assert row["people"] == row["most_people"] == 1 and row["coverage"] == 1.0 and row["smile"] > 0.5
    (track,) = json.loads(row["tracks"])
    assert track["boxes"][0] == pytest.approx([0.35, 0.11, 0.53, 0.35], abs=0.03)
