"""Questions about who shows what and when are answered from the measurements, all others are left to the model."""

import pytest

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.measured_answers import measured_answer
from emotion_qwen.analysis.question_reading import can_be_measured
from emotion_qwen.analysis.writing import language_of
from emotion_qwen.engine.engine import Engine
from emotion_qwen.verify.facts import MOVEMENTS, ClipFacts, PersonFacts, Stretch

LABELS = ("happy", "sad", "angry", "surprised", "fearful", "disgusted", "neutral")
ONE = ClipFacts(
    "en", 20.0,
    (PersonFacts(1, (Stretch("sad", 0, 6.2), Stretch("surprised", 6.2, 9.6), Stretch("happy", 9.6, 20.0)),
                 face=(Stretch("gaze lowered", 0, 6.0), Stretch("smile", 9.6, 16.0), Stretch("brows raised", 8, 8))),),
)  # fmt: skip
TWO = ClipFacts(
    "en", 12.0,
    (PersonFacts(1, (Stretch("angry", 0, 12.0),)),
     PersonFacts(3, (Stretch("neutral", 2.0, 5.0), Stretch("happy", 5.0, 8.5), Stretch("neutral", 8.5, 11.0)))),
)  # fmt: skip
FULL = ClipFacts(
    "en", 9.0, (PersonFacts(1, (Stretch("sad", 0, 9.0),), face=(Stretch("smile", 1.0, 2.0),) * MOVEMENTS),)
)  # fmt: skip
ALONE = ClipFacts(
    "zh", 20.0,
    (PersonFacts(1, (Stretch("悲伤", 0, 6.2), Stretch("惊讶", 6.2, 9.6), Stretch("高兴", 9.6, 20.0)),
                 face=(Stretch("smile", 9.6, 16.0),)),),
)  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "question", "answer"),
    [
        (ONE, "When is the woman sad?", "The person looks sad from 0.0 to 6.2 s."),
        (ONE, "How long does he look happy?", "The person looks happy from 9.6 to 20.0 s."),
        (ONE, "When is she angry?", "The person does not look angry at any time."),
        (ONE, "What is she feeling at second 7?", "At 7.0 s, the person looks surprised."),
        (ONE, "Which emotion is shown 12.5 seconds into the clip?", "At 12.5 s, the person looks happy."),
        (ONE, "How does she look at 25 s?", "The clip ends at 20.0 s."),
        (ONE, "Which emotion is shown first, joy or sadness?", "First sad, then happy."),
        (ONE, "Does she look surprised before she looks happy?", "Before: first surprised, then happy."),
        (ONE, "Is she surprised before being sad?", "After: first sad, then surprised."),
        (ONE, "Does it get better or worse over time?", "Better: from sad to happy."),
        (ONE, "Who is angry?", "Nobody looks angry."),
        (ONE, "How many people are visible?", "1 in all."),
        (ONE, "When does she smile?", "It is measured that the corners of the mouth are raised from 9.6 to 16.0 s."),
        (ONE, "When does he raise his eyebrows?", "It is measured that the brows are raised at 8.0 s."),
        (ONE, "When are the eyes closed?", "It is not measured at any time that the eyes are closed."),
        (TWO, "Who is angry?", "Person 1 looks angry throughout."),
        (TWO, "When does person 3 look neutral?", "Person 3 looks neutral from 2.0 to 5.0 s and from 8.5 to 11.0 s."),
        (TWO, "When does person 2 look neutral?", "Person 2 is not in the clip."),
        (
            TWO,
            "What do they show at 1 s?",
            "At 1.0 s, person 1 looks angry. At 1.0 s, no emotion of person 3 was measured.",
        ),
        (TWO, "Does person 1 feel better or worse at the end?", "About the same: angry."),
        (TWO, "Does person 3 look happy before or after looking neutral?", "After: first neutral, then happy."),
        (ClipFacts("en", 3.0), "How many people are there?", "Nobody is seen."),
        (ALONE, "她什么时候笑？", "测到在9.6秒到16.0秒嘴角上扬。"),
        (ALONE, "第7秒她是什么情绪？", "7.0秒时，这个人看起来惊讶。"),
        (ALONE, "她的情绪变好了吗？", "变好了：从悲伤到高兴。"),
        (ALONE, "谁在生气？", "没有人看起来愤怒。"),
        (ALONE, "先惊讶还是先高兴？", "先是惊讶，后是高兴。"),
        (ALONE, "有几个人？", "共1人。"),
        (ALONE, "她在什么时候感到难过？", "这个人在0.0秒到6.2秒看起来悲伤。"),
    ],
)
def test_questions_are_answered_from_the_measurements(facts, question, answer):
    assert can_be_measured(question, facts.language)
    assert measured_answer(question, facts, LABELS) == answer


@pytest.mark.parametrize(
    ("facts", "question", "answer"),
    [
        (ONE, "What does she feel at 7.4 s? Choose one: sad, surprise, neutral.", "Surprise"),
        (ONE, "When is she sad? Choose one: 0 to 6 s, 0.1 to 6.2 seconds.", "0.1 to 6.2 seconds"),
        (ONE, "Does her mood get better or worse? Options: worse, about the same, better", "Better"),
        (ONE, "Is she sad before or after being happy? Choose one: after, before.", "Before"),
        (ONE, "What does she feel at 7 s? Choose one: sad, angry.", "At 7.0 s, the person looks surprised."),
        (TWO, "Who looks happy? Choose one: person 1, person 3.", "Person 3"),
        (TWO, "Does person 1 feel better or worse? Choose one: better, worse, about the same.", "About the same"),
        (ALONE, "这个人的情绪变好了还是变差了？请选择一个：差不多、变好、变差。", "变好"),
        (ALONE, "她什么时候难过？请选择一个：9.6秒到20.0秒、0.0秒到6.2秒。", "0.0秒到6.2秒"),
    ],
)
def test_the_right_one_of_the_offered_options_is_the_answer(facts, question, answer):
    assert measured_answer(question, facts, LABELS) == answer


@pytest.mark.parametrize(
    ("facts", "question"),
    [
        (ONE, "Why is she sad?"),
        (ONE, "When did the happy couple marry?"),
        (ONE, "Who does the sad woman talk to?"),
        (ONE, "What happens at 3 s?"),
        (ONE, "When is she worried?"),  # not among the labels
        (ONE, "When is she happy and when is she sad?"),
        (ONE, "At which point does her mood improve?"),
        (ONE, "What is she saying at 4 s?"),
        (TWO, "Does it get better or worse?"),  # for whom?
        (TWO, "When does she smile?"),  # facial actions were not measured
        (FULL, "When are the eyes closed?"),  # only the longest movements are known
        (ONE, "When is the mouth closed?"),  # true of most faces most of the time, and not listed
        (ClipFacts("en", 0.0, (PersonFacts(1, (Stretch("sad"),)),)), "When is she sad?"),  # a picture
        (ALONE, "她为什么难过？"),
        (ALONE, "她什么时候结婚？"),
    ],
)
def test_other_questions_are_left_to_the_model(facts, question):
    assert measured_answer(question, facts, LABELS) is None


def test_asking_tells_whether_the_answer_was_measured(nano, monkeypatch):
    engine = Engine(nano.model, nano.processor, "nano")
    analyzer = Analyzer(engine)
    written = []
    monkeypatch.setattr(analyzer, "_facts", lambda prepared, request: ONE if request.language == "en" else ALONE)
    monkeypatch.setattr(analyzer, "answer", lambda *given: written.append(given) or "generated")
    first = analyzer.reply(None, "When is she sad?")
    assert (first.text, first.measured, written) == ("The person looks sad from 0.0 to 6.2 s.", True, [])
    for question, feeling in (("Why is she sad?", None), ("When is she sad?", (0.5, 0.5))):
        told = analyzer.reply(None, question, "a room", feeling)
        assert (told.text, told.measured) == ("generated", False)
    assert [given[1:3] for given in written] == [("Why is she sad?", "a room"), ("When is she sad?", "a room")]
    assert language_of("她什么时候难过？") == "zh"
    assert analyzer.reply(None, "她什么时候难过？").text == "这个人在0.0秒到6.2秒看起来悲伤。"
