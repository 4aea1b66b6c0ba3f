"""Answers are read strictly, mended once or twice, and never guessed; a model of ours composes its own."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.ver.films import colours, write
from tests.ver.teachers import GOOD, ServedTeacher

from emotion_qwen.taxonomy import label_set
from emotion_qwen.ver.calls import Caller, Ledger
from emotion_qwen.ver.describe import DescribeClip, Description, EndpointTeacher, LocalTeacher, Unusable, parse
from emotion_qwen.ver.evidence import facts, messages_for, tracks_at
from emotion_qwen.ver.settings import CallSettings, DescribeSettings, TeacherSettings

SETTINGS = DescribeSettings(frames=2, side=64)
TRACK = {"times": [0.0, 1.0], "boxes": [[0.1, 0.1, 0.3, 0.4], [0.1, 0.1, 0.3, 0.4]]}
ITEM = {
    "clip": "a", "media": "a.mp4", "seconds": 1.2, "tracks": json.dumps([TRACK]), "people": 1, "most_people": 1,
    "speaker": -2, "level": None, "words": '[[0.0, 0.8, "So there you are."]]', "voice_en": "", "voice_zh": "",
}  # fmt: skip
ANSWER = {**GOOD["en"], "people": 1, "speaker": 0, "valence": 0.7, "arousal": 0.2}


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "a.mp4", colours(12))
    return tmp_path


def endpoint(teacher, folder, **settings):
    calls = CallSettings(first_wait=0.01, retries=2)
    told = TeacherSettings(kind="endpoint", url=teacher.url, model="m")
    chosen = SETTINGS.model_copy(update=settings)
    caller = Caller(told, calls, folder / "answers", Ledger(folder / "ledger.jsonl", calls))
    return EndpointTeacher(caller, chosen, str(folder))


@pytest.mark.parametrize(
    "text, match",
    [
        ("Sure! Here it is.", "not JSON"),
        ("[1]", "a JSON list; expected an object"),
        (json.dumps({k: v for k, v in ANSWER.items() if k != "body"}), r"keys missing: \['body'\], keys unknown: none"),
        (json.dumps({**ANSWER, "mood": 1}), r"keys unknown: \['mood'\]"),
        (json.dumps({**ANSWER, "people": "one"}), "people is 'one'; expected a whole number"),
        (json.dumps({**ANSWER, "valence": 3}), "valence is 3; expected a number from -1 to 1"),
        (json.dumps({**ANSWER, "body": None}), "body is None; expected text"),
        (json.dumps({**ANSWER, "emotions": []}), "emotions has 0 entries"),
        (json.dumps({**ANSWER, "emotions": ["hangry"]}), "emotion 'hangry' is not one of happy, sad"),
        (json.dumps({**ANSWER, "facial_cues": "brows"}), "facial_cues is 'brows'; expected a list"),
    ],
)
def test_what_is_not_the_agreed_json_is_unusable(text, match):
    with pytest.raises(Unusable, match=match):
        parse(text, label_set("dfew7"), "en")


def test_a_fence_is_taken_off_and_near_words_are_matched():
    found = parse(
        f"```json\n{json.dumps({**ANSWER, 'emotions': ['Joy', 'happy', '愤怒']})}\n```", label_set("dfew7"), "en"
    )
    assert found.emotions == ("happy", "angry") and Description.unpacked(found.packed()) == found


def test_a_clip_is_described_in_both_languages_from_the_same_evidence(folder):
    with ServedTeacher() as teacher:
        (row,) = DescribeClip(endpoint(teacher, folder), ("en", "zh"))(ITEM)
    assert row["status"] == "kept" and row["teacher"] == "m"
    assert Description.unpacked(row["zh"]).emotions == ("happy",) and "嘴角" in row["zh"]
    assert [one.language for one in teacher.requests] == ["en", "zh"]
    chinese = teacher.requests[1]
    assert "Taken together" not in chinese.texts and "So there you are." in chinese.texts  # evidence, not the English
    pictures = [part for part in chinese.payload["messages"][1]["content"] if part["type"] == "image_url"]
    assert len(pictures) == 2 and pictures[0]["image_url"]["url"].startswith("data:image/jpeg;base64,")


def test_broken_json_is_asked_for_again_with_the_fault_named(folder):
    replies = iter(["Sure!", '{"people": 1}', None])
    with ServedTeacher(lambda asked: next(replies) or asked.good()) as teacher:
        made = endpoint(teacher, folder)
        assert made.describe(ITEM, "en").emotions == ("happy",)
        assert "Your answer cannot be used: not JSON" in teacher.requests[1].texts
        assert "keys missing" in teacher.requests[2].texts and made.caller.ledger.events["unusable answer"] == 2


def test_a_clip_without_a_usable_answer_is_rejected_with_the_reason(folder):
    with ServedTeacher(lambda _: "never JSON") as teacher:
        (row,) = DescribeClip(endpoint(teacher, folder, repairs=1), ("en",))(ITEM)
    assert row["status"] == "rejected" and row["reason"].startswith("no usable en answer after 2 tries: not JSON")
    assert row["en"] == "" and sum(teacher.asked.values()) == 2


def test_objections_are_put_to_the_teacher(folder):
    with ServedTeacher() as teacher:
        endpoint(teacher, folder).describe(ITEM, "zh", ["people: 2 told of, 1 measured"])
        assert "审核者" in teacher.requests[0].texts and "people: 2 told of" in teacher.requests[0].texts


def test_the_same_clip_gives_the_same_request(folder):
    assert messages_for(ITEM, folder, SETTINGS, "en") == messages_for(ITEM, folder, SETTINGS, "en")


def test_facts_in_words():
    english = facts({**ITEM, "speaker": 0, "voice_en": "The voice is low."}, [0.0, 1.0], "en")
    assert "Measured: 1 face(s) followed." in english and "Person 1: seen from 0.0 to 1.0 s, at the left." in english
    assert "The mouth of person 1 moves with the sound." in english and "[0.0-0.8] So there you are." in english
    silent = facts({**ITEM, "tracks": "[]", "words": "[]"}, [], "zh")
    assert silent == "测量：没有找到人脸。\n声音：没有声音或静音。\n台词：没有已知的台词。"


def test_tracks_are_placed_on_other_frames():
    (track,) = tracks_at([TRACK], np.array([0.0, 0.5, 1.0, 2.0]), 100, 50)
    assert track.frames.tolist() == [0, 1, 2] and track.boxes[1] == pytest.approx([10, 5, 30, 20])


def test_our_own_model_composes_what_it_measured(tmp_path, astronaut):
    write(tmp_path / "a.mp4", astronaut[None].repeat(4, 0))
    teacher = LocalTeacher("", DescribeSettings.of({}), str(tmp_path))
    english, chinese = (teacher.describe(ITEM, language) for language in ("en", "zh"))
    assert english.emotions == chinese.emotions == ("happy",) and english.valence > 0
    assert "happy" in english.description and "高兴" in chinese.description and teacher.name == "nano"
