import json
import random
import re

import pytest
from jsonschema import Draft202012Validator

from emotion_qwen.faces.face_claims import claims_in
from emotion_qwen.records import Utterance
from emotion_qwen.taxonomy import concept, label_set
from emotion_qwen.verify.checking import check_text
from emotion_qwen.verify.facts import ClipFacts, PersonFacts, Stretch, facts_text
from recipes.mini.clip_facts import FactBank, draw_clip, draw_picture
from recipes.mini.clip_texts import KINDS, account, ask_clip, kinds_for, noun
from recipes.mini.face_texts import FaceFacts
from recipes.mini.thinking import SHARES, forms_for, prompt_for, think

EMOTIONS = ("happiness", "sadness", "anger", "surprise", "fear", "neutral", "disgust")


def face(smile: float, brows: float, leading: str, share: float) -> FaceFacts:
    other = "neutral" if leading != "neutral" else "sadness"
    values = {"smile": smile, "lowered brows": brows, "jaw": 0.5, "wide eyes": 0.2, "yaw": 25.0, "mouth corners": 0.3}
    return FaceFacts(values, {leading: share, other: 1 - share})


BANK = FactBank(
    {e: [face(0.1 * n, 0.7 - 0.1 * n, e, 0.5 + 0.05 * n) for n in range(8)] for e in EMOTIONS},
    {e: [["high", "lively", "fast", "louder"], ["low", "flat", "slow", "one pause", "quieter"]] for e in EMOTIONS},
    {"en": {e: ["I did not expect that."] for e in EMOTIONS}, "zh": {e: ["真没想到"] for e in EMOTIONS}},
)
TWO = ClipFacts(
    "en",
    20.0,
    (
        PersonFacts(1, (Stretch("sad", 0.0, 6.2), Stretch("happy", 6.2, 20.0)), (("happy", 0.6), ("sad", 0.3)),
                    (Stretch("broad smile", 7.0, 19.0), Stretch("lips pressed", 8.0, 15.0))),
        PersonFacts(2, (Stretch("angry", 2.0, 20.0),), (("angry", 0.8), ("fear", 0.1)), ()),
    ),
    (Stretch("high", 0.0, 20.0),),
    (Utterance(3.0, 4.0, "I got it!"),),
    (("happy", 0.55), ("sad", 0.3)),
)  # fmt: skip


def clips(count: int, language: str):
    rng = random.Random(language)
    for _ in range(count):
        yield draw_clip(BANK, language, rng), rng


@pytest.mark.parametrize("language", ["en", "zh"])
def test_accounts_claim_nothing_but_their_facts(language):
    claims = 0
    for facts, rng in clips(150, language):
        for sentence in check_text(account(facts, rng), facts):
            assert not sentence.contradictions, (facts_text(facts), sentence)
            claims += sentence.claims
    assert claims > 600


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_kind_of_question_is_answered_from_the_facts(language):
    seen = set()
    for facts, rng in clips(200, language):
        for kind in kinds_for(facts):
            exchange = ask_clip(facts, kind, rng)
            seen.add(kind)
            assert exchange.question and exchange.answer and "{" not in exchange.question + exchange.answer
            contradictions = [c for each in check_text(exchange.answer, facts) for c in each.contradictions]
            assert not contradictions, (facts_text(facts), exchange)
            if kind == "choice" and ("Choose one: " in exchange.question or "请选择一个：" in exchange.question):
                offered = re.split("Choose one: |请选择一个：", exchange.question)[1].rstrip(".。")
                options = re.split(", |、", offered)
                assert exchange.answer.lower() in [option.lower() for option in options]
    assert seen == set(KINDS)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_closed_questions_offer_their_answer_and_have_only_one(language):
    sad, happy = {"en": ("sad", "happy"), "zh": ("悲伤", "高兴")}[language]
    feelings = (Stretch(sad, 0.0, 2.0), Stretch(happy, 2.0, 5.0), Stretch(sad, 5.0, 9.0))
    facts = ClipFacts(language, 9.0, (PersonFacts(1, feelings, ((sad, 0.7), (happy, 0.2))),), likeliest=((sad, 0.7),))
    right: dict[str, set[str]] = {}
    for seed in range(300):
        exchange = ask_clip(facts, "choice", random.Random(seed))
        question, closed, listed = re.split("( Choose one: |请选择一个：)", exchange.question + "||")[:3]
        if closed:
            assert exchange.answer.lower() in re.split(", |、", listed.rstrip("|.。").lower()), exchange
            right.setdefault(question, set()).add(exchange.answer)
    assert all(len(given) == 1 for given in right.values())
    assert not [text for text in right if sad in text and ("When" in text or "什么时候" in text)], "sad at two times"
    if language == "en":
        assert right["Is the person sad before or after being happy?"] == {"Before"}
        assert right["Is the person happy before or after being sad?"] == {"After"}
        assert right["Which way does the mood of the person change?"] == {"About the same"}
    else:
        assert right["这个人先表现出高兴还是悲伤？"] == {"悲伤"}


def answers(kind: str, tries: int = 60) -> set[tuple[str, str]]:
    rng = random.Random(0)
    return {(e.question, e.answer) for e in (ask_clip(TWO, kind, rng) for _ in range(tries))}


@pytest.mark.parametrize(
    ("kind", "question", "answer"),
    [
        ("when", "When does person 1 look happy?", "From 6.2 to 20.0 s."),
        ("who", "Who looks angry?", "Person 2."),
        ("direction", "Do the feelings of person 1 become better or worse?", "Better: from sad to happy."),
        ("direction", "Do the feelings of person 2 become better or worse?", "Neither: it stays angry."),
        ("first", "What comes first, happy or sad?", "Sad."),
        ("first", "Is person 1 happy before or after being sad?", "After."),
        ("count", "How many people are seen?", "Two."),
        ("words", "What is said?", "“I got it!”"),
        ("when_claim", "From when to when: the smile is broad?", "From 7.0 to 19.0 s."),
        ("sure", "Could it be something else?", "This speaks for happiness rather than sadness."),
    ],
)
def test_answers_are_those_of_the_facts(kind, question, answer):
    given = answers(kind)
    assert (question, answer) in given
    if kind not in ("sure", "count"):
        assert {a for q, a in given if q == question} == {answer}


def test_evidence_for_and_against_is_told_apart():
    for_happy = {a for q, a in answers("why", 200) if "person 1" in q and "happy" in q}
    against = {a for q, a in answers("against", 200) if "happiness" in q}
    assert for_happy and all("smile" in a or "corners" in a for a in for_happy)
    assert against and all("lips" in a and "smile" not in a for a in against)


def test_steps_observe_before_they_conclude():
    rng = random.Random(4)
    for facts, _ in clips(40, "en"):
        if not facts.people:
            continue
        steps = json.loads(think(facts, "steps", label_set("fer7"), rng).answer)
        assert list(steps)[-2:] == ["meaning", "conclusion"] and next(iter(steps)) == "seen"
        assert concept(steps["conclusion"]) == concept(facts.likeliest[0][0])
        assert steps["conclusion"] not in steps["seen"] and ("heard" in steps) == bool(facts.voice)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_form_is_written_as_its_schema_asks(language):
    rng, counted = random.Random(6), dict.fromkeys(SHARES, 0)
    labels = label_set("fer7")
    for facts, _ in clips(60, language):
        for form in forms_for(facts):
            exchange = think(facts, form, labels, rng)
            steps, prompt = json.loads(exchange.answer), prompt_for(facts, form, labels)
            Draft202012Validator(prompt.schema).validate(steps)
            assert exchange.question == prompt.question and list(steps) == [step.name for step in prompt.steps]
            if "conclusion" in steps:
                assert concept(steps["conclusion"]) == concept(facts.likeliest[0][0])
            if form == "cause":
                assert steps["utterance"] in [each.text.strip() for each in facts.words]
            if form == "tree":
                claimed = set(claims_in(steps["actions"], language))
                assert claimed <= {claim.word for claim in facts.people[0].face} and claimed
            counted[form] += 1
    assert min(counted.values()) > 5


def test_a_reaction_says_how_pleasant_and_how_lively_a_feeling_is():
    people = (PersonFacts(1, (Stretch("sad"),), (("sad", 0.8), ("fear", 0.1)), (Stretch("gaze lowered"),)),)
    facts = ClipFacts("en", 0.0, people, likeliest=(("sad", 0.8), ("fear", 0.1)))
    steps = json.loads(think(facts, "reflect", label_set("fer7"), random.Random(0)).answer)
    assert steps["reaction"] == "A person would feel sad; the feeling is unpleasant, its arousal low."
    assert steps["trigger"] in ("the gaze is lowered", "the eyes look down") and steps["conclusion"] == "sadness"


@pytest.mark.parametrize(("language", "seen"), [("en", "No clear movement"), ("zh", "没有测到明显")])
def test_steps_about_a_face_without_movements_say_so(language, seen):
    emotions = (("happy", 0.6), ("sad", 0.3)) if language == "en" else (("高兴", 0.6), ("悲伤", 0.3))
    facts = ClipFacts(language, 0.0, (PersonFacts(1, (Stretch(emotions[0][0]),), emotions),), likeliest=emotions)
    steps = json.loads(think(facts, "steps", label_set("fer7"), random.Random(0)).answer)
    assert steps["seen"].startswith(seen)


def test_pictures_have_no_times_and_nobody_is_said_to_be_seen_where_nobody_is():
    rng = random.Random(1)
    pictures = [draw_picture(BANK, "en", rng) for _ in range(120)]
    texts = [facts_text(facts) for facts in pictures]
    assert not any(re.search(r"\d s", text) for text in texts)
    empty = [facts for facts in pictures if not facts.people]
    assert empty and all("No" in account(facts, rng) for facts in empty)
    assert (
        noun("happy", "en") == "happiness"
        and noun("neutral", "en") == "a neutral mood"
        and noun("高兴", "zh") == "高兴"
    )
