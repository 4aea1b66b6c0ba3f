"""Accepted, mended or rejected: readings, rounds, and a second teacher on a sample."""

from __future__ import annotations

import json

import pytest
from tests.ver.films import colours, write
from tests.ver.teachers import GOOD, ServedTeacher

from emotion_qwen.ver.settings import CallSettings, CheckSettings, DescribeSettings, TeacherSettings
from emotion_qwen.ver.steps.check import CheckClip
from emotion_qwen.ver.steps.describe import DescribeClip
from emotion_qwen.ver.teachers.calls import Caller, Ledger
from emotion_qwen.ver.teachers.endpoint import EndpointTeacher

ITEM = {
    "clip": "a", "media": "a.mp4", "seconds": 1.2, "people": 1, "most_people": 1, "speaker": -2, "level": None,
    "tracks": '[{"times": [0, 1], "boxes": [[0.1, 0.1, 0.3, 0.4], [0.1, 0.1, 0.3, 0.4]]}]', "smile": 0.9,
    "words": "[]", "voice_en": "", "voice_zh": "",
}  # fmt: skip


@pytest.fixture
def checked(tmp_path):
    """Describe and check the one clip with a script; returns the row, the server and the ledger."""
    write(tmp_path / "a.mp4", colours(12))

    def run(script, *, second=False, **settings):
        with ServedTeacher(script) as server:
            calls = CallSettings(first_wait=0.01, retries=2)
            told = TeacherSettings(kind="endpoint", url=server.url, model="m")
            ledger = Ledger(tmp_path / "ledger.jsonl", calls)
            caller = Caller(told, calls, tmp_path / "answers", ledger)
            teacher = EndpointTeacher(caller, DescribeSettings(frames=2, side=64), str(tmp_path))
            chosen = CheckSettings(second_share=1.0 if second else 0.0, **settings)
            other = Caller(told.model_copy(update={"model": "m2"}), calls, tmp_path / "answers", ledger)
            helper = EndpointTeacher(other, teacher.settings, str(tmp_path)) if second else None
            (described,) = DescribeClip(teacher, ("en", "zh"))(ITEM)
            work = CheckClip(teacher, teacher, helper, chosen, ("en", "zh"))
            (row,) = work({**ITEM, **described})
        return row, server, ledger

    return run


def rounds(row):
    return json.loads(row["objections"])


def revised(asked):
    return "objects to an earlier answer" in asked.texts or "审核者" in asked.texts


def test_a_good_description_is_accepted_after_an_independent_reading(checked):
    row, server, _ = checked(lambda asked: asked.good())
    assert (row["status"], row["label"], row["rounds"]) == ("kept", "happy", 0)
    assert json.loads(row["read"]) == {"en": "happy", "zh": "happy"} and rounds(row) == [[]]
    readings = [one.texts for one in server.requests if one.kind == "read"]
    assert len(readings) == 2 and "the person is [...]" in readings[0] and "心情[...]" in readings[1]


def test_an_invented_person_is_mended_in_one_more_round(checked):
    def script(asked):
        if asked.kind == "describe" and asked.language == "en" and not revised(asked):
            return asked.good(people=2, body="She leans towards another woman.")
        return asked.good()

    row, server, _ = checked(script)
    assert row["status"] == "kept" and row["rounds"] == 1 and "another woman" not in row["en"]
    assert rounds(row) == [["en: people: 2 described, 1 measured"], []]
    assert sum(one.kind == "describe" for one in server.requests) == 3  # the Chinese one was not asked again


@pytest.mark.parametrize(
    "fault, changes",
    [
        ("people: 2 described, 1 measured", {"people": 2}),
        ("label: 'sad', but the description says happiness", {"emotions": ["sad"], "valence": -0.5}),
    ],
)
def test_what_stays_wrong_is_rejected_with_its_objections(checked, fault, changes):
    def script(asked):
        return asked.good(**changes) if asked.kind == "describe" and asked.language == "en" else asked.good()

    row, _, _ = checked(script)
    assert row["status"] == "rejected" and f"en: {fault}" in row["reason"] and len(rounds(row)) == 2


def test_english_where_chinese_is_asked_is_rejected(checked):
    def script(asked):
        if asked.kind == "describe" and asked.language == "zh":
            return asked.good(**{key: GOOD["en"][key] for key in ("description", "reasoning", "facial_cues")})
        return asked.good()

    row, server, _ = checked(script)
    assert row["status"] == "rejected" and "zh: language: the zh texts are not in Chinese" in row["reason"]
    assert not [one for one in server.requests if one.kind == "read"]  # not worth a call


def test_a_rationale_that_reads_otherwise_is_rejected(checked):
    row, _, _ = checked(lambda asked: asked.good(emotion="angry") if asked.kind == "read" else asked.good(), rounds=0)
    assert row["status"] == "rejected"
    assert row["reason"].startswith("en: reading: labelled 'happy', the text reads as 'angry'")


def test_an_unclear_or_broken_reading_is_an_objection(checked):
    def script(asked):
        if asked.kind == "read":
            return asked.good(emotion="unclear") if asked.language == "en" else "no JSON at all"
        return asked.good()

    row, _, ledger = checked(script, rounds=0)
    assert "reads as 'unclear'" in row["reason"] and "zh: reading: no usable reading" in row["reason"]
    assert ledger.events["unusable reading"] == 2


def test_languages_that_disagree_are_both_asked_again(checked):
    def script(asked):
        if asked.kind == "describe" and asked.language == "zh" and not revised(asked):
            sad = "这个人低着头，眼神黯淡，嘴角下垂，身体前倾而无力。综合来看，此人很悲伤，情绪十分低落。"
            return asked.good(emotions=["悲伤"], description=sad, valence=-0.6)
        return asked.good()

    row, server, _ = checked(script)
    assert row["status"] == "kept" and rounds(row)[0] == ["languages: 'happy' in English, 'sad' in Chinese"]
    assert sum(one.kind == "describe" for one in server.requests) == 4
    told = [one.texts for one in server.requests if revised(one)]
    assert len(told) == 2 and not any(
        "'sad'" in text or "'happy'" in text for text in told
    )  # no language tells another


def test_a_second_teacher_describes_a_sample_and_decides_nothing(checked):
    def script(asked):
        if asked.payload["model"] == "m2":
            sad = "The head is bowed and the corners of the mouth are drawn down. All in all the person is sad."
            return asked.good(emotions=["sad"], valence=-0.6, description=sad)
        return asked.good()

    row, _, _ = checked(script, second=True)
    assert (row["status"], row["second"]) == ("kept", "sad")
