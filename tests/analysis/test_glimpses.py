"""What a clip offers at one time after another: nothing is invented, nothing that counts is left out."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from emotion_qwen.analysis.glimpses import Glimpse, glimpses, sound_between, whole
from emotion_qwen.prepare import PersonPictures, PreparedClip
from emotion_qwen.records import Clip, FaceTrack, Utterance

RATE = 16000
NO = (Utterance(0.0, 1.0, "no"),)


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


def person(times: list[float], number: int = 1) -> PersonPictures:
    frames = np.array([round(t) for t in times])
    track = FaceTrack(number, frames, np.tile(np.array([1, 1, 5, 5], np.float32), (len(times), 1)), np.ones(len(times)))
    return PersonPictures(track, np.zeros((len(times), 4, 4, 3), np.uint8), np.array(times))


def prepared(of: Clip, *people: PersonPictures, voice=()) -> PreparedClip:
    return PreparedClip(of, of, people, voice=tuple(voice))


def test_every_crop_is_a_glimpse_and_a_voice_without_a_face_is_heard():
    found = glimpses(prepared(clip(wave=noise(10.0)), person([0.0, 1.0, 2.0]), voice=[(0.0, 10.0)]))
    seen = [one for one in found if one.person == 1]
    assert [one.time for one in seen] == [0.0, 1.0, 2.0] and all(one.picture is not None for one in seen)
    rest = [one for one in found if one.person is None]
    assert all(one.picture is None and one.channels == {"sound"} for one in rest)
    assert [one.time for one in rest] == pytest.approx([3.5, 4.4, 5.3, 6.2, 7.2, 8.1, 9.0], abs=0.06)
    assert rest[0].span[0] == 2.5 and rest[-1].span[1] == 10.0  # half a step behind the last sighting, to the end
    assert all(a.span[1] == b.span[0] for a, b in pairwise(rest))


def test_without_a_face_a_voice_or_words_there_is_nothing_to_answer_about():
    assert glimpses(prepared(clip())) == [] and glimpses(prepared(clip(wave=noise(10.0)))) == []
    assert glimpses(prepared(clip(1.0, still=True))) == []
    only = glimpses(prepared(clip(wave=noise(10.0)), person([0.0])))
    assert [(one.person, one.channels) for one in only] == [(1, {"picture"})]


@pytest.mark.parametrize("about", ["whole", "evoked"])
def test_the_whole_picture_is_frames_and_all_sound_where_nobody_is_seen(about):
    found = glimpses(prepared(clip(wave=noise(10.0))), about=about)
    assert [one.picture["image"][0, 0, 0] for one in found] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert all(one.channels == {"picture", "sound"} for one in found)
    beside = glimpses(prepared(clip(wave=noise(10.0)), person([0.0, 1.0, 2.0, 3.0])), about=about)
    assert [one.person for one in beside[:4]] == [1] * 4 and min(one.time for one in beside[4:]) == 4.5
    assert all(one.channels == {"picture", "sound"} for one in beside)  # all sound, with a face, too


def test_sound_and_words_are_those_around_the_glimpse():
    words = (Utterance(0.0, 1.5, "early"), Utterance(4.5, 5.5, "middle"), Utterance(7.0, 8.0, "late"))
    wave = np.zeros(10 * RATE, np.float32)
    wave[4 * RATE : 6 * RATE] = noise(2.0)
    seen = prepared(clip(wave=wave, words=words), person([0.0, 5.0, 9.0]), voice=[(4.0, 6.0)])
    found = glimpses(seen, "  at a station ")
    by_time = {one.time: one for one in found if one.person == 1}
    assert [by_time[t].words for t in (0.0, 5.0, 9.0)] == ["early", "middle", ""]
    assert by_time[5.0].utterances == words[1:2]
    assert by_time[0.0].wave is None and np.array_equal(by_time[5.0].wave, wave[4 * RATE : 6 * RATE])
    assert by_time[9.0].channels == {"picture", "context"} and by_time[9.0].context == "at a station"
    assert by_time[5.0].channels == {"picture", "sound", "words", "context"}


VOICES = [  # voice, seconds; glimpses of the ten seconds that hear it, of those at 0 to 9 s
    ([], []),
    ([(4.0, 4.3)], []),  # 0.3 of the two seconds around 4 s are less than a fifth
    ([(4.0, 4.5)], [4, 5]),  # 5 s hears it as well, from 4 s on
    ([(4.0, 4.2), (5.0, 5.3)], [5]),  # together half a second of the window from 4 to 6 s
    ([(0.0, 1.0), (8.6, 10.0)], [0, 1, 8, 9]),  # at the ends the window moves inwards
]


@pytest.mark.parametrize(("voice", "hearing"), VOICES)
def test_sound_counts_where_a_fifth_of_the_window_is_voice(voice, hearing):
    everywhere = person([float(time) for time in range(10)])
    found = glimpses(prepared(clip(wave=noise(10.0)), everywhere, voice=voice))
    assert [one.time for one in found if one.wave is not None] == hearing


def test_a_voice_begins_on_the_clock_of_the_clip():
    """Sound that starts at 3 s: its first second is the clip's fourth."""
    late = dataclasses.replace(clip(wave=noise(4.0)), wave_start=3.0)
    found = glimpses(prepared(late, person([0.0, 5.0, 9.0]), voice=[(4.0, 6.0)]))
    heard = {one.time: one.wave for one in found if one.person == 1 and one.wave is not None}
    assert list(heard) == [5.0] and np.array_equal(heard[5.0], late.wave[RATE : 3 * RATE])


def test_words_alone_are_looked_at_while_they_are_said():
    words = (Utterance(1.0, 2.0, "No"), Utterance(6.0, 9.0, "Not now"))
    found = glimpses(prepared(clip(words=words)), "an exam")
    assert all(one.picture is None and one.channels == {"words", "context"} for one in found)
    assert [one.span for one in found] == [(1.0, 2.0), (6.0, 7.5), (7.5, 9.0)]
    assert [one.words for one in found] == ["No", "Not now", "Not now"]


def test_context_alone_is_one_glimpse_that_stands_for_no_time():
    (one,) = glimpses(prepared(clip(wave=noise(10.0))), "an exam")
    assert one.channels == {"context"} and one.span is None


def test_the_whole_clip_is_heard_where_a_voice_is():
    of = prepared(clip(wave=noise(10.0)), person([0.0]), voice=[(1.0, 2.0), (7.0, 7.5)])
    pieces = [of.clip.wave[RATE : 2 * RATE], of.clip.wave[7 * RATE : 7 * RATE + RATE // 2]]
    assert np.array_equal(whole(of).wave, np.concatenate(pieces))
    assert np.array_equal(whole(of, about="whole").wave, of.clip.wave)
    assert whole(prepared(of.clip, person([0.0]))).wave is None


def test_a_deaf_model_hears_nothing():
    found = glimpses(prepared(clip(wave=noise(10.0)), person([0.0])), hears=False)
    assert [one.channels for one in found] == [{"picture"}]


def test_sound_at_the_ends_is_as_long_as_elsewhere():
    made = clip(wave=noise(10.0))
    assert len(sound_between(made, -1.0, 1.0)) == len(sound_between(made, 9.0, 11.0)) == 2 * RATE
    assert np.array_equal(sound_between(made, 9.0, 11.0), made.wave[8 * RATE :])
    assert sound_between(made, 9.5, 11.5) is None  # moved by a second and a half it would be another time's
    assert len(sound_between(made, -np.inf, np.inf)) == 10 * RATE
    assert sound_between(clip(wave=np.zeros(RATE, np.float32)), 0.0, 1.0) is None
    assert sound_between(clip(), 0.0, 1.0) is None


def test_a_picture_has_one_glimpse_with_all_words():
    still = clip(1.0, still=True, words=(Utterance(0.0, 0.0, "I won!"),))
    (one,) = glimpses(prepared(still, person([0.0])))
    assert one.time == 0.0 and one.words == "I won!" and one.channels == {"picture", "words"}
    (alone,) = glimpses(prepared(still))
    assert alone.words == "I won!" and alone.channels == {"words"} and alone.picture is None


def test_sound_alone_is_looked_at_along_its_length():
    heard = Clip(np.zeros((0, 0, 0, 3), np.uint8), np.zeros(0), "made", wave=noise(5.0), sample_rate=RATE, duration=5.0)
    found = glimpses(prepared(heard, voice=[(0.0, 5.0)]))
    assert [one.time for one in found] == pytest.approx([1.0, 2.0, 3.0, 4.0])
    assert [one.span for one in found] == [(0.0, 1.5), (1.5, 2.5), (2.5, 3.5), (3.5, 5.0)]
    assert all(one.channels == {"sound"} and len(one.wave) == 2 * RATE for one in found)
    assert glimpses(prepared(Clip(np.zeros((0, 0, 0, 3), np.uint8), np.zeros(0), "made"))) == []


def test_a_view_holds_the_channels_asked_for_in_one_order():
    one = Glimpse(0.0, 0, {"type": "image", "image": 1}, np.ones(3, np.float32), NO, "exam")
    kinds = [part["type"] for part in one.view(("context", "sound", "words", "picture"), "en")]
    assert kinds == ["image", "audio", "text", "text"]
    assert [part["text"] for part in one.view(("words", "context"), "en")] == [
        'The person says: "no" ',
        "Context: exam ",
    ]
    assert one.view(("words",), "zh") == [{"type": "text", "text": "这个人说：“no”"}]
    assert Glimpse(0.0, None, None, None, (), "exam").view(("picture", "sound"), "en") is None


def test_a_picture_with_a_sound_is_heard_whole():
    spoken = prepared(clip(1.0, still=True, wave=noise(5.0)), person([0.0]), voice=[(1.0, 4.0)])
    (one,) = glimpses(spoken)
    assert len(one.wave) == 5 * RATE and one.channels == {"picture", "sound"}
    (alone,) = glimpses(prepared(spoken.clip, voice=spoken.voice))
    assert len(alone.wave) == 5 * RATE and alone.channels == {"sound"}
