"""What a clip offers at one time after another: nothing is invented, nothing that counts is left out."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_qwen.inference.glimpses import APART, Glimpse, glimpses, sound_between
from emotion_qwen.prepare import PersonPictures, PreparedClip
from emotion_qwen.records import Clip, FaceTrack, Utterance

RATE = 16000


def clip(
    seconds: float = 10.0, fps: float = 1.0, wave: np.ndarray | None = None, words=(), still: bool = False
) -> Clip:
    times = np.arange(int(seconds * fps)) / fps
    frames = np.zeros((len(times), 8, 8, 3), np.uint8)
    frames[:] = np.arange(len(times))[:, None, None, None]
    return Clip(
        frames, times, "made", still=still, duration=seconds, wave=wave, sample_rate=RATE if wave is not None else 0,
        utterances=tuple(words),
    )  # fmt: skip


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def person(times: list[float], number: int = 0) -> PersonPictures:
    frames = np.array([round(t) for t in times])
    track = FaceTrack(number, frames, np.tile(np.array([1, 1, 5, 5], np.float32), (len(times), 1)), np.ones(len(times)))
    return PersonPictures(track, np.zeros((len(times), 4, 4, 3), np.uint8), np.array(times))


def prepared(of: Clip, *people: PersonPictures) -> PreparedClip:
    return PreparedClip(of, of, people)


def test_every_crop_is_a_glimpse_and_gaps_are_filled_with_sound():
    found = glimpses(prepared(clip(wave=noise(10.0)), person([0.0, 1.0, 2.0])))
    seen = [one for one in found if one.person == 0]
    assert [one.time for one in seen] == [0.0, 1.0, 2.0] and all(one.picture is not None for one in seen)
    rest = [one for one in found if one.person is None]
    assert all(one.picture is None and one.channels == {"sound"} for one in rest)
    assert min(one.time for one in rest) > 3.0 and max(one.time for one in rest) == pytest.approx(9.0)
    assert np.diff([one.time for one in rest]) == pytest.approx([APART] * (len(rest) - 1))


def test_without_a_face_whole_frames_are_seen_and_with_one_they_are_not():
    found = glimpses(prepared(clip()))
    assert [one.picture["image"][0, 0, 0] for one in found] == [one.time.__round__() for one in found]
    only = glimpses(prepared(clip(), person([0.0])))
    assert [one.person for one in only] == [0]  # nothing is heard or said elsewhere, so there is nothing to ask about


def test_sound_and_words_are_those_around_the_glimpse():
    words = (Utterance(0.0, 1.5, "early"), Utterance(4.5, 5.5, "middle"), Utterance(7.0, 8.0, "late"))
    wave = np.zeros(10 * RATE, np.float32)
    wave[4 * RATE : 6 * RATE] = noise(2.0)
    found = glimpses(prepared(clip(wave=wave, words=words), person([0.0, 5.0, 9.0])), "  at a station ")
    by_time = {one.time: one for one in found if one.person == 0}
    assert [by_time[t].words for t in (0.0, 5.0, 9.0)] == ["early", "middle", ""]
    assert by_time[0.0].wave is None and np.array_equal(by_time[5.0].wave, wave[4 * RATE : 6 * RATE])
    assert by_time[9.0].channels == {"picture", "context"} and by_time[9.0].context == "at a station"
    assert "sound" not in by_time[5.0].channels - {"sound"} and by_time[5.0].channels == {
        "picture", "sound", "words", "context",
    }  # fmt: skip


def test_a_deaf_model_hears_nothing():
    found = glimpses(prepared(clip(wave=noise(10.0)), person([0.0])), hears=False)
    assert [one.channels for one in found] == [{"picture"}]


def test_sound_at_the_ends_is_as_long_as_elsewhere():
    made = clip(wave=noise(10.0))
    assert len(sound_between(made, -1.0, 1.0)) == len(sound_between(made, 9.5, 11.5)) == 2 * RATE
    assert np.array_equal(sound_between(made, 9.5, 11.5), made.wave[8 * RATE :])
    assert len(sound_between(made, -np.inf, np.inf)) == 10 * RATE
    assert sound_between(clip(wave=np.zeros(RATE, np.float32)), 0.0, 1.0) is None
    assert sound_between(clip(), 0.0, 1.0) is None


def test_a_picture_has_one_glimpse_with_all_words():
    still = clip(1.0, still=True, words=(Utterance(0.0, 0.0, "I won!"),))
    (one,) = glimpses(prepared(still))
    assert one.time == 0.0 and one.words == "I won!" and one.channels == {"picture", "words"}


def test_sound_alone_is_looked_at_along_its_length():
    heard = Clip(np.zeros((0, 0, 0, 3), np.uint8), np.zeros(0), "made", wave=noise(5.0), sample_rate=RATE, duration=5.0)
    found = glimpses(prepared(heard))
    assert [one.time for one in found] == pytest.approx([1.0, 2.0, 3.0, 4.0])
    assert all(one.channels == {"sound"} and len(one.wave) == 2 * RATE for one in found)
    assert glimpses(prepared(Clip(np.zeros((0, 0, 0, 3), np.uint8), np.zeros(0), "made"))) == []


def test_a_view_holds_the_channels_asked_for_in_one_order():
    one = Glimpse(0.0, 0, {"type": "image", "image": 1}, np.ones(3, np.float32), "no", "exam")
    kinds = [part["type"] for part in one.view(("context", "sound", "words", "picture"), "en")]
    assert kinds == ["image", "audio", "text", "text"]
    assert [part["text"] for part in one.view(("words", "context"), "en")] == [
        'The person says: "no" ',
        "Context: exam ",
    ]
    assert one.view(("words",), "zh") == [{"type": "text", "text": "这个人说：“no”"}]
    assert Glimpse(0.0, None, None, None, "", "exam").view(("picture", "sound"), "en") is None


def test_a_picture_with_a_sound_is_heard_whole():
    (one,) = glimpses(prepared(clip(1.0, still=True, wave=noise(5.0))))
    assert len(one.wave) == 5 * RATE and one.channels == {"picture", "sound"}
