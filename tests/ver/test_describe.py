"""Answers are read strictly, mended once or twice, and never guessed; a model of ours composes its own."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from tests.ver.films import colours, write
from tests.ver.teachers import GOOD, ServedTeacher

from emotion_qwen.records import MEASURED, Cue, EmotionReport, Episode, FacialMovement, Person, Uncertainty
from emotion_qwen.taxonomy import label_set
from emotion_qwen.ver.settings import CallSettings, DescribeSettings, TeacherSettings
from emotion_qwen.ver.steps.describe import DescribeClip
from emotion_qwen.ver.teachers.calls import Caller, Ledger
from emotion_qwen.ver.teachers.description import Description, Unusable, parse_description
from emotion_qwen.ver.teachers.endpoint import EndpointTeacher
from emotion_qwen.ver.teachers.evidence import facts, messages_for, tracks_at
from emotion_qwen.ver.teachers.local import LocalTeacher, compose

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
        parse_description(text, label_set("dfew7"), "en")


def test_a_fence_is_taken_off_and_near_words_are_matched():
    found = parse_description(
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
        endpoint(teacher, folder).describe(ITEM, "zh", ["people: 2 described, 1 measured"])
        assert "审核者" in teacher.requests[0].texts and "people: 2 described" in teacher.requests[0].texts


def test_the_same_clip_gives_the_same_request(folder):
    assert messages_for(ITEM, folder, SETTINGS, "en") == messages_for(ITEM, folder, SETTINGS, "en")


def test_facts_in_words():
    english = facts({**ITEM, "speaker": 0, "voice_en": "The voice is low."}, [0.0, 1.0], "en")
    assert "Measured: 1 face(s) followed." in english and "Person 1: seen from 0.0 to 1.0 s, at the left." in english
    assert "The mouth of person 1 moves with the sound." in english and "[0.0-0.8] So there you are." in english
    silent = facts({**ITEM, "tracks": "[]", "words": "[]"}, [], "zh")
    assert silent == "测量：没有找到人脸。\n声音：没有声音或静音。\n话语：没有已知的话语。"


def test_tracks_are_placed_on_other_frames():
    (track,) = tracks_at([TRACK], np.array([0.0, 0.5, 1.0, 2.0]), 100, 50)
    assert track.frames.tolist() == [0, 1, 2] and track.boxes[1] == pytest.approx([10, 5, 30, 20])


def test_our_own_model_composes_what_it_measured(tmp_path, astronaut):
    write(tmp_path / "a.mp4", astronaut[None].repeat(4, 0))
    teacher = LocalTeacher("", DescribeSettings.of({}), str(tmp_path))
    english, chinese = (teacher.describe(ITEM, language) for language in ("en", "zh"))
    assert english.emotions == chinese.emotions == ("happy",) and english.valence > 0
    assert "shows happiness" in english.description and "高兴" in chinese.description and teacher.name == "nano"


def person(number, box, episodes, label="happy", start=0.0, end=9.0):
    return Person(
        number, label, {}, start, end, 9, box, {}, episodes=tuple(Episode(*one, 0.0, 0.9) for one in episodes)
    )


def report(people, label, language, **changes):
    fields = {"valence_arousal": (-0.6, 0.5), "provenance": {"label_set": "dfew7"}, **changes}
    cue = Cue("picture", 0.0, 9.0, "Mouth: covering this part lowers sad from 94% to 68%.", MEASURED, {"share": 0.94})
    return EmotionReport("a.mp4", label, {}, tuple(people), {}, "", language, cues=(cue,), **fields)


LEFT, RIGHT = (0.1, 0.2, 0.3, 0.6), (0.8, 0.2, 0.95, 0.6)


def test_our_own_model_tells_what_was_measured_in_plain_sentences():
    arc = [("sad", 0.0, 2.5), ("sad", 2.5, 6.2), ("fear", 6.2, 7.9), ("neutral", 7.9, 9.0)]
    people = [
        person(0, LEFT, arc, "sad"),
        person(1, RIGHT, [], "angry", 1.0, 4.0),
        person(2, LEFT, [], "happy", 3.0, 3.0),
    ]
    item = {**ITEM, "people": 3, "speaker": 1, "voice_en": "The voice is low.", "voice_zh": "声音偏低。"}
    english = compose(report(people, "sad", "en"), item, "en")
    assert english.facial_cues == (
        "From 0.0 to 6.2 s, the face of person 1, on the left, shows sadness, then fear until 7.9 s, then a neutral "
        "expression until 9.0 s.",
        "From 1.0 to 4.0 s, the face of person 2, on the right, shows anger.",
        "The face of person 3, on the left, shows happiness.",
        "The mouth of person 2 moves with the sound.",
    )
    assert (english.speaker, english.emotions, english.voice) == (2, ("sad",), "The voice is low.")
    assert english.description.endswith(
        'The words are: "So there you are." The expression is unpleasant and excited. Overall, the clip shows sadness.'
    )
    chinese = compose(report(people, "sad", "zh"), item, "zh")
    assert chinese.facial_cues[0] == (
        "0.0 至 6.2 秒，画面左侧人物 1 的面部表现出悲伤，随后转为恐惧，直到 7.9 秒，随后转为中性表情，直到 9.0 秒。"
    )
    for found in (english, chinese):
        assert not re.search("cover|%|shows (?:sad|happy|angry)\\b", found.texts), "no figures of covered pictures"


def test_movements_of_a_face_follow_the_person_who_makes_them():
    smile = FacialMovement("smile", "broad smile", 3.0, 8.5, 6.0, 0.91)
    plain = FacialMovement("eyelids", "eyes open", 0.0, 9.0, 2.0, 0.05)
    one = replace(person(0, LEFT, []), face=(plain, smile))
    english = compose(report([one, person(1, RIGHT, [])], "happy", "en"), {**ITEM, "people": 2}, "en")
    assert english.facial_cues[1] == "Movements of this face: the smile is broad (3.0–8.5 s)."
    assert english.facial_cues[2].startswith("From 0.0 to 9.0 s, the face of person 2")
    chinese = compose(report([one], "happy", "zh"), ITEM, "zh")
    assert chinese.facial_cues[1] == "这张脸的动作：笑得很开（3.0–8.5 秒）。"


def test_a_report_without_an_answer_is_no_description():
    for changes in ({"label": None}, {"label": "sad", "uncertainty": Uncertainty(0.3, 0.9, 1.0, True, 0.4, True)}):
        with pytest.raises(Unusable, match="the model gives no answer for this clip"):
            compose(report([], language="en", **changes), ITEM, "en")
