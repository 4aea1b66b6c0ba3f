"""Every figure of a report against tables of unequal numbers: who weighs how much, what agrees, which second it is."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from emotion_qwen.analysis.cues import level_cues, text_cues, voice_cues, word_cues
from emotion_qwen.analysis.reader import ViewAnswer
from emotion_qwen.analysis.reading import ClipReading
from emotion_qwen.analysis.report import conclude, influence, outline
from emotion_qwen.analysis.request import Request
from emotion_qwen.engine.calibration import Calibration
from emotion_qwen.prepare import PersonPictures, PreparedClip
from emotion_qwen.records import CHANNELS, Clip, Episode, FaceTrack, Utterance
from emotion_qwen.taxonomy import LABEL_SETS

LABELS, RATE = LABEL_SETS["dfew7"], 16000
HAPPY, SAD = LABELS.labels.index("happy"), LABELS.labels.index("sad")


def spread(happy: float, sad: float) -> np.ndarray:
    """Return shares over seven labels; what is left goes to the other five alike."""
    shares = np.full(7, (1 - happy - sad) / 5)
    shares[HAPPY], shares[SAD] = happy, sad
    return shares


class Script:
    """A reader whose model reads the brightness of a crop as a row of a table, and weighs by picture alone.

    Args:
        rows: brightness -> (K,) shares.
    """

    def __init__(self, rows: dict[int, np.ndarray]) -> None:
        self.rows = rows
        settings = SimpleNamespace(person_weight=1.0)
        self.engine = SimpleNamespace(
            calibration=Calibration(),
            processor=SimpleNamespace(settings=settings, hearing=object()),
            facial_actions=(),
        )

    def answers(self, views):
        return [self._answer(view) for view in views]

    def _answer(self, view) -> ViewAnswer:
        shares = self.rows[int(view[0]["image"][0, 0, 0])]
        return ViewAnswer(
            torch.tensor(np.log(shares)), torch.tensor([0.25, 0.75]), torch.zeros(2), torch.zeros(2), None
        )


def clip(count: int, **more) -> Clip:
    """Return a clip of two frames a second."""
    times = np.arange(count) / 2
    return Clip(np.zeros((count, 8, 8, 3), np.uint8), times, "made", duration=float(times[-1]), size=(8, 8), **more)


def person(number: int, frames: list[int], codes: list[int]) -> PersonPictures:
    """Return a person seen in some frames, each crop as bright as its code."""
    box = np.array([[1, 1, 5, 5]] * len(frames), np.float32) + number
    track = FaceTrack(number, np.array(frames), box, np.linspace(0.5, 0.9, len(frames)).astype(np.float32))
    crops = np.tile(np.array(codes, np.uint8)[:, None, None, None], (1, 4, 4, 3))
    return PersonPictures(track, crops, np.array(frames) / 2)


def reading(prepared: PreparedClip, rows: dict[int, np.ndarray]) -> ClipReading:
    return ClipReading(Script(rows), prepared, Request(LABELS))


def test_people_are_weighed_by_the_frames_that_show_them():
    """Nine frames of a happy person beside three of a sad one: three quarters and a quarter, not halves."""
    of = clip(12)
    people = (person(0, list(range(9)), [1] * 9), person(1, [2, 3, 4], [2] * 3))
    found = conclude(reading(PreparedClip(of, of, people), {1: spread(0.8, 0.1), 2: spread(0.1, 0.6)}))
    assert found.distribution["happy"] == pytest.approx(0.75 * 0.8 + 0.25 * 0.1)
    assert found.distribution["sad"] == pytest.approx(0.75 * 0.1 + 0.25 * 0.6)
    assert found.people == (0, 1) and found.gate == pytest.approx({"general": 0.25, "emotion": 0.75})


def test_whole_frames_have_the_weight_that_people_leave():
    of, frames = clip(4), np.array([0.5, 0.5])
    values = np.array([[1.0, 0.0]] * 3 + [[0.0, 1.0]])
    both = reading(PreparedClip(of, of, (person(0, [0, 1, 2], [1] * 3), person(1, [3], [2]))), {})
    for weight, shares in ((1.0, [0.75, 0.25]), (0.5, [0.625, 0.375])):
        both.weight = weight
        assert both.pool(values, frames).tolist() == shares
    assert reading(PreparedClip(of, of, ()), {}).pool(np.zeros((0, 2)), frames).tolist() == [0.5, 0.5]


def test_every_frame_of_a_person_has_its_own_shares():
    of = clip(6)
    rows = {1: spread(0.1, 0.7), 2: spread(0.5, 0.2), 3: spread(0.9, 0.05)}
    report = outline(reading(PreparedClip(of, of, (person(0, [0, 1, 2, 5], [1, 2, 3, 1]),)), rows))
    (who,) = report.people
    assert [round(one.distribution["happy"], 3) for one in who.seen] == [0.1, 0.5, 0.9, 0.1]
    assert who.distribution["happy"] == pytest.approx((0.1 + 0.5 + 0.9 + 0.1) / 4)
    assert (who.start, who.end, who.frames) == (0.0, 2.5, 4)


def test_a_person_who_appears_late_has_no_timeline_before():
    """Twenty seconds, one throughout until 4 s, the other from 12.0 to 15.5 s: a gap between, and none of it theirs."""
    of = clip(41)
    people = (person(0, list(range(9)), [1] * 9), person(1, list(range(24, 32)), [2] * 8))
    report = outline(reading(PreparedClip(of, of, people), {1: spread(0.8, 0.1), 2: spread(0.1, 0.6)}))
    early, late = report.people
    assert (early.timeline[0].start, early.timeline[-1].end) == (0.0, 4.25)
    assert (late.timeline[0].start, late.timeline[-1].end) == (11.75, 15.75)
    assert [(one.label, one.onset, one.offset) for one in late.episodes] == [("sad", 11.75, 15.75)]
    assert [(one.start, one.end) for one in report.gaps] == [(4.25, 11.75), (15.75, 20.0)]
    assert [(one.label, one.onset, one.offset) for one in report.episodes] == [
        ("happy", 0.0, 4.25), ("sad", 11.75, 15.75),
    ]  # fmt: skip
    assert not any(one.end > 4.25 and one.start < 11.75 for one in report.timeline)


def test_a_short_absence_is_bridged_and_a_long_one_is_a_gap():
    of = clip(20)
    brief = outline(
        reading(PreparedClip(of, of, (person(0, [*range(9), *range(11, 20)], [1] * 18),)), {1: spread(0.8, 0.1)})
    )
    assert brief.gaps == () and len(brief.episodes) == 1  # from 4.25 to 5.25 s is not seen: exactly a second is bridged
    long = outline(
        reading(PreparedClip(of, of, (person(0, [*range(9), *range(12, 20)], [1] * 17),)), {1: spread(0.8, 0.1)})
    )
    assert [(one.start, one.end) for one in long.gaps] == [(4.25, 5.75)] and len(long.episodes) == 2


# ---- channels and cues: what a reading says by any choice of channels is a table


def tables(prepared: PreparedClip, glimpses: list, shares: dict[tuple[str, ...], list], clips: dict | None = None):
    """Return a stand-in for a reading whose shares are given by choice of channels."""
    channels = max(shares, key=len) if shares else max(clips or {}, key=len)

    def key(names) -> tuple[str, ...]:
        return tuple(name for name in CHANNELS if name in names)

    return SimpleNamespace(
        prepared=prepared, glimpses=glimpses, labels=LABELS, language="en", channels=channels, context="an exam",
        calibration=Calibration(),
        shares=lambda names: np.stack(shares[key(names)]), answer=lambda names: (clips or {})[key(names)],
        clip=lambda names: (clips or {})[key(names)],
    )  # fmt: skip


def test_a_flat_channel_agrees_with_anything_and_one_that_says_something_else_does_not():
    of = PreparedClip(clip(2), clip(2), ())
    both, flat = spread(0.7, 0.1), spread(0.15, 0.2)  # 0.2 is less than 1.5 times a guess among seven
    for alone, agrees in ((flat, True), (spread(0.15, 0.22), False), (spread(0.3, 0.1), True)):
        clips = {("picture", "sound"): both, ("picture",): spread(0.6, 0.2), ("sound",): alone}
        picture, sound, words, _ = influence(tables(of, [], {}, clips))
        assert sound.agrees is agrees and sound.moved == pytest.approx(math.log(0.7 / 0.6))
        assert picture.agrees and picture.moved == pytest.approx(math.log(0.7 / alone[HAPPY]))
        assert (words.label, words.distribution) == ("", {})


def test_words_are_matched_to_the_utterance_not_to_its_letters():
    """'No' stands in 'Nobody cares' and in 'Not now'; what is measured of it are its own seconds."""
    said = (Utterance(0.0, 1.0, "No"), Utterance(2.0, 3.0, "Nobody cares"), Utterance(4.0, 5.0, "Not now"))
    of = clip(10, utterances=said)
    glimpses = [SimpleNamespace(utterances=(one,), words=one.text) for one in said]
    shares = {
        ("picture", "words"): [spread(0.9, 0.05), spread(0.2, 0.63), spread(0.3, 0.41)],
        ("picture",): [spread(0.7, 0.1), spread(0.3, 0.5), spread(0.3, 0.44)],
    }
    cues = text_cues(tables(PreparedClip(of, of, ()), glimpses, shares), HAPPY)
    assert [(one.start, one.end, list(one.measures.values())) for one in cues] == [
        (0.0, 1.0, pytest.approx([0.9, 0.7])),
        (2.0, 3.0, pytest.approx([0.63, 0.5])),
        (4.0, 5.0, pytest.approx([0.41, 0.44])),
    ]
    assert cues[0].text == "“No”: without these words, the share of happy would be 70% instead of 90%."


def test_words_without_effect_are_no_cue():
    said = (Utterance(0.0, 1.0, "Well"), Utterance(2.0, 3.0, "Great"))
    of = clip(8, utterances=said)
    glimpses = [SimpleNamespace(utterances=(one,), words=one.text) for one in said]
    shares = {
        ("picture", "words", "context"): [spread(0.571, 0.1), spread(0.6, 0.1)],
        ("picture", "context"): [spread(0.566, 0.1), spread(0.5, 0.1)],
    }
    everything = ("picture", "words", "context")
    clips = {everything: spread(0.566, 0.1), ("picture", "words"): spread(0.5601, 0.1)}
    cues = text_cues(tables(PreparedClip(of, of, ()), glimpses, shares, clips), HAPPY)
    assert [one.start for one in cues] == [2.0]  # 57 % instead of 57 % is none, of words as of context
    clips[("picture", "words")] = spread(0.55, 0.1)
    cues = text_cues(tables(PreparedClip(of, of, ()), glimpses, shares, clips), HAPPY)
    assert cues[-1].modality == "context" and "55% instead of 57%" in cues[-1].text


def test_a_voice_is_measured_in_its_own_second():
    """The sound begins at 3 s: 120 Hz until 5 s, 180 Hz until 7 s, 260 Hz until 9 s."""
    seconds = np.arange(2 * RATE) / RATE
    wave = np.concatenate([np.sin(2 * np.pi * pitch * seconds) * 0.1 for pitch in (120, 180, 260)]).astype(np.float32)
    of = clip(20, wave=wave, sample_rate=RATE, wave_start=3.0)
    made = tables(PreparedClip(of, of, (), voice=((3.0, 9.0),)), [], {("picture", "sound"): []})
    episodes = [
        Episode("happy", 0.0, 2.9, 1.5, 0.5),
        Episode("sad", 3.0, 5.0, 4.0, 0.5),
        Episode("happy", 5.0, 9.0, 8.0, 0.5),
    ]
    cues = voice_cues(made, episodes)
    assert [(one.start, one.end) for one in cues] == [(3.0, 5.0), (7.0, 9.0)]  # before 3 s there is no voice
    assert [one.measures["pitch, Hz"] for one in cues] == pytest.approx([120, 260], rel=0.02)


def test_a_voice_is_compared_with_recordings_of_others():
    seconds = np.arange(3 * RATE) / RATE
    pulses = sum(np.sin(2 * np.pi * 320 * number * seconds) / number for number in (1, 2, 3)).astype(np.float32) * 0.1
    of = clip(20, wave=np.concatenate([np.zeros(RATE, np.float32), pulses]), sample_rate=RATE, wave_start=2.0)
    made = tables(PreparedClip(of, of, (), voice=((3.0, 6.0),)), [], {("picture", "sound"): []})
    (cue,) = level_cues(made)
    assert (cue.modality, cue.start, cue.end) == ("sound", 3.0, 6.0)
    assert "pitch high (320 Hz, usually" in cue.text and "; jitter low (0.0 %, usually" in cue.text
    assert cue.measures["pitch, Hz"] == pytest.approx(320, rel=0.02) and cue.measures["jitter, %"] < 1
    assert level_cues(tables(PreparedClip(of, of, ()), [], {("picture", "sound"): []})) == []  # no voice


def test_the_strongest_word_of_an_utterance_is_a_cue():
    said = (Utterance(0.0, 1.0, "I am scared to death"), Utterance(2.0, 3.0, "The table is there"))
    of = clip(10, utterances=said)
    (cue,) = word_cues(tables(PreparedClip(of, of, ()), [], {("words",): []}))
    assert (cue.modality, cue.start, cue.end, cue.kind) == ("words", 0.0, 1.0, "measured")
    assert cue.text == "“scared”: this word is more than 20 times as frequent in texts of fear as in others."
    assert cue.measures["times as frequent"] > 100


def test_no_voice_cue_where_no_voice_is_active():
    wave = np.random.default_rng(0).normal(0, 0.1, 6 * RATE).astype(np.float32)
    of = clip(13, wave=wave, sample_rate=RATE)
    made = tables(PreparedClip(of, of, (), voice=((0.0, 2.5),)), [], {("picture", "sound"): []})
    episodes = [Episode("happy", 0.0, 3.0, 1.5, 0.5), Episode("sad", 3.0, 6.0, 4.5, 0.5)]
    assert [one.start for one in voice_cues(made, episodes)] == [0.5]
