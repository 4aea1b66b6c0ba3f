"""The critic accepts, revises or discards, and says why; its revisions become pairs to learn from."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace

import pytest
from click.testing import CliRunner
from rich.console import Console
from tests.ver.sets import faces, settings
from tests.ver.teachers import GOOD, ServedTeacher
from tests.ver.test_facts import measured, told

from emotion_qwen.data.manifest import read_manifest
from emotion_qwen.errors import SettingsError
from emotion_qwen.media.prosody import Prosody
from emotion_qwen.ver.commands import ver
from emotion_qwen.ver.pipeline import Build
from emotion_qwen.ver.review.reviews import Reviews
from emotion_qwen.ver.settings import CheckSettings, CriticSettings
from emotion_qwen.ver.stats import figures
from emotion_qwen.ver.steps.critic import CriticizeClip
from emotion_qwen.ver.teachers.description import Unusable, parse_judgement

VOICE = Prosody(-20.0, 260.0, 2.5, 0.6, 6.0, 0, 0.0)  # high, moderately varied, fast, without a pause
LEFT = json.dumps([{"times": [0, 2], "boxes": [[0.05, 0.2, 0.25, 0.6]] * 2}])


class Teacher:
    """Revises as it is told, and judges as it is told; keeps the objections."""

    revises, name = True, "t"

    def __init__(self, revised=None, judgement=("accept", "")):
        self.revised, self.judgement, self.asked = revised, judgement, []

    def describe(self, item, language, objections=()):
        self.asked.append((language, list(objections)))
        if self.revised is None:
            raise Unusable("no answer")
        return self.revised

    def judge(self, item, record, language):
        if isinstance(self.judgement, Exception):
            raise self.judgement
        return self.judgement


def criticized(record, item=None, *, language="en", teacher=None, judge=None):
    values = {"seconds": 4.0, "clip": "a", "tracks": LEFT, **(item or {})}
    critic = CriticizeClip(CriticSettings(), CheckSettings(), "dfew7", (language,), teacher, judge)
    return critic.criticize({language: record}, measured(**values))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_description_that_fits_is_accepted(language):
    critique = criticized(told(language), language=language)
    assert (critique.verdict, critique.reason, critique.objections) == ("accept", "", ())


SPOKEN = {"level": -20.0, "prosody": json.dumps(asdict(VOICE)), "words": '[[0, 1, "I am so glad to see you"]]'}


@pytest.mark.parametrize(
    "language, extra, item, kind, reason",
    [
        ("en", "The voice is low.", SPOKEN, "voice", "voice: 'the voice is low', but measured: the voice is high"),
        ("zh", "她语速较慢。", SPOKEN, "voice", "voice: '语速较慢', but measured: 语速较快"),
        ("en", "He says “leave me alone now”.", SPOKEN, "quote", "quote: “leave me alone now”, but these words"),
        ("en", "At 7.5 s the head turns.", {}, "time", "time: 7.5 s, but the clip ends at 4.0 s"),
        ("zh", "第7.5秒时头转开。", {}, "time", "time: 7.5 s, but the clip ends at 4.0 s"),
        ("en", "The face of person 1 is on the right.", {}, "place", "place: person 1 at the right, but the box is at"),
        ("zh", "人物1位于画面右侧。", {}, "place", "place: person 1 右侧, but the box is 左侧 (15% of the width)"),
    ],
)
def test_a_contradicted_sentence_is_removed(language, extra, item, kind, reason):
    record = told(language)
    wrong = replace(record, reasoning=f"{record.reasoning} {extra}", description=f"{record.description}{extra}")
    critique = criticized(wrong, item, language=language)
    assert critique.verdict == "revise" and critique.reason.startswith(reason)
    assert {one.kind for one in critique.objections} == {kind} and critique.objections[0].sentence == extra
    revised = critique.revised[language]
    assert extra not in revised.texts and revised.description.rstrip() == record.description


@pytest.mark.parametrize(
    "extra, item",
    [
        ("The voice is high and the pitch moves moderately.", SPOKEN),
        ("The pitch is in the middle.", {"prosody": "", **{"level": -20.0}}),  # neither a place nor measured
        ("He says “so glad to see you”, and “no”.", SPOKEN),
        ("At 4.2 s the clip ends.", {}),
        ("The left hand is raised, the face is on the left.", {}),
        ("Person 2 is on the right.", {}),  # was not measured: the check's matter
    ],
)
def test_what_fits_or_is_not_measured_is_no_objection(extra, item):
    record = told()
    assert criticized(replace(record, description=f"{record.description} {extra}"), item).verdict == "accept"


def test_a_label_is_corrected_if_words_and_face_agree_on_another():
    wrong = told(emotions=["sad", "surprised"], valence=-0.6, arousal=-0.3)
    item = {"shares": json.dumps({"happiness": 0.8, "sadness": 0.01, "neutral": 0.19})}
    critique = criticized(wrong, item)
    assert [(one.kind, one.label) for one in critique.objections] == [("words", "happy"), ("face", "happy")]
    revised = critique.revised["en"]
    assert revised.emotions == ("happy", "surprise") and revised.valence > 0
    assert "the face reads as happiness (80%, sad 1%)" in critique.reason


def test_evidence_against_a_label_that_contradicts_itself_discards():
    item = {"shares": json.dumps({"anger": 0.7, "sadness": 0.05, "happiness": 0.25})}
    critique = criticized(told(emotions=["sad"], valence=-0.6), item)
    assert critique.verdict == "discard" and critique.reason.startswith("no label has the support of all evidence: ")


@pytest.mark.parametrize(
    "item, verdict",
    [
        ({"shares": '{"anger": 0.61, "happiness": 0.1}'}, "revise"),
        ({"shares": '{"anger": 0.59, "happiness": 0.1}'}, "accept"),  # not clear
        ({"shares": '{"anger": 0.61, "happiness": 0.11}'}, "accept"),  # not unlikely enough
        ({"known": "angry"}, "revise"), ({"known": "joy"}, "accept"), ({"known": "Tuesday"}, "accept"),
    ],
)  # fmt: skip
def test_a_label_that_only_the_words_support_waits_for_a_reviewer(item, verdict):
    critique = criticized(told(), item)
    assert (critique.verdict, critique.revised) == (verdict, None)


def test_emotions_that_no_label_stands_for_contradict_none():
    record = told(emotions=["angry"], valence=-0.6, arousal=0.6)
    words = "The person moves fast and is visibly curious about it all, and the eyes are wide open."
    assert criticized(replace(record, description=words, reasoning=words)).verdict == "accept"


def test_a_text_without_emotion_words_is_read():
    record = told(emotions=["happy"])
    text = "He clenches his fists, for he has had enough of these stupid idiots: how dare they."
    critique = criticized(replace(record, description=text, reasoning=text))
    assert [(one.kind, one.label) for one in critique.objections] == [("words", "angry")]
    assert critique.revised["en"].emotions == ("angry",)


def test_too_many_contradictions_discard():
    text = "At 7 s the head turns. At 8.5 s the brows rise. The person is happy, with raised corners of the mouth."
    critique = criticized(replace(told(), description=text))
    assert critique.verdict == "discard" and critique.reason.startswith("too little of the description is left: time")


def test_a_teacher_revises_what_is_objected_to_and_is_checked_again():
    wrong = replace(told(), description=GOOD["en"]["description"] + " At 7.5 s the head turns.")
    teacher = Teacher(revised=told())
    critique = criticized(wrong, teacher=teacher)
    assert critique.verdict == "revise" and critique.revised == {"en": told()}
    assert teacher.asked == [("en", ["time: 7.5 s, but the clip ends at 4.0 s"])]
    again = criticized(wrong, teacher=Teacher(revised=wrong))
    assert again.verdict == "discard" and again.reason.startswith("after a revision: time: 7.5 s")
    assert criticized(wrong, teacher=Teacher()).verdict == "discard"  # no usable revision


@pytest.mark.parametrize(
    "judgement, teacher, verdict, revised",
    [
        (("accept", ""), None, "accept", False),
        (("discard", "nobody is seen"), Teacher(told()), "discard", False),
        (("revise", "no smile"), None, "revise", False),
        (("revise", "no smile"), Teacher(told()), "revise", True),
        (("revise", "no smile"), Teacher(), "discard", False),
        (Unusable("not JSON"), None, "discard", False),
    ],
)
def test_a_model_judges_what_no_rule_objects_to(judgement, teacher, verdict, revised):
    critique = criticized(told(), teacher=teacher, judge=Teacher(judgement=judgement))
    assert (critique.verdict, bool(critique.revised)) == (verdict, revised)
    assert verdict == "accept" or critique.reason


@pytest.mark.parametrize("text", ['{"verdict": "fine"}', '{"verdict": "revise", "reason": " "}', "accept", "[]"])
def test_judgements_are_read_strictly(text):
    with pytest.raises(Unusable):
        parse_judgement(text)


def test_a_build_with_a_critic_and_a_judge(tmp_path):
    pytest.importorskip("scenedetect")

    def script(asked):
        if "Judge it by" in asked.texts or "请根据画面" in asked.texts:
            return json.dumps({"verdict": "accept", "reason": ""})
        wrong = {"reasoning": GOOD["en"]["reasoning"] + " At 99 s the head turns."}
        objected = "objects to an earlier answer" in asked.texts
        first = asked.kind == "describe" and asked.language == "en" and not objected
        return asked.good(**(wrong if first else {}))

    with ServedTeacher(script) as teacher:
        judge = {"kind": "endpoint", "url": teacher.url, "model": "j"}
        chosen = settings(faces(tmp_path / "films", 1), tmp_path / "set", teacher.url, critic={"teacher": judge})
        made = Build(chosen, console=Console(file=io.StringIO()))
        made.run()
    (row,) = made.tables["critic"].rows()
    assert (row["status"], row["verdict"]) == ("kept", "revise") and json.loads(row["before"])
    values = figures(made)
    assert values["steps"]["critic"] == {"clips": 1, "kept": 1}
    assert values["critic"] == {"verdicts": {"revise, revised": 1}, "objections": {"time": 1}}
    (pair,) = read_manifest(made.output / "preferences.jsonl")
    assert pair.id.endswith("/en/reasoning/critic") and "99 s" in pair.labels["rejected"]
    assert "99 s" not in pair.messages[-1]["content"]
    assert "- Critic: revise, revised 1." in (made.output / "README.md").read_text()
    shown = Reviews(made).clip(row["clip"], "ann")
    assert shown["accepted"] and shown["verdict"] == "revise" and shown["criticism"][0]["kind"] == "time"
    result = CliRunner().invoke(ver, ["stats", str(made.output)])
    assert "critic: verdicts" in result.output


def test_a_local_model_cannot_judge(tmp_path):
    with pytest.raises(SettingsError, match="critic.teacher.kind 'local'; expected endpoint"):
        chosen = settings(tmp_path, tmp_path / "set", "http://127.0.0.1:1", critic={"teacher": {"kind": "local"}})
        Build(chosen, console=Console(file=io.StringIO())).run()
