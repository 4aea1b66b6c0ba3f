"""Questions behind shared facts are learned as if each were asked alone, and closed questions have one right answer."""

import random
import re

import pytest
import torch

from emotion_qwen.verify.facts import ClipFacts, PersonFacts, Stretch
from recipes.mini.clip_facts import FactBank
from recipes.mini.clip_texts import ask_clip
from recipes.mini.face_texts import FaceFacts
from recipes.mini.question_groups import LONGEST, QuestionGroup, question_group, question_tokens
from recipes.mini.shared_pass import answers_loss, states_of

SHOWN = ("happiness", "anger", "neutral")
BANK = FactBank(
    {e: [FaceFacts({"smile": 0.6, "jaw": 0.5}, {"sadness": 0.15, "neutral": 0.2, e: 0.8})] for e in SHOWN},
    {e: [["high", "fast"]] for e in SHOWN},
    {language: {e: ["So it is."] for e in SHOWN} for language in ("en", "zh")},
)
ASKED = QuestionGroup(
    "Measured in a clip of 4.0 s:\nPerson 1: happy 0.0-2.5 s; sad 2.5-4.0 s.",
    (
        ("When does the person look sad?", "From 2.5 to 4.0 s."),
        ("When is the person happy? Choose one: from 0.0 to 2.5 s, from 2.5 to 4.0 s.", "From 0.0 to 2.5 s"),
        ("Who is it?", "That was not measured."),
    ),
)


def test_answers_behind_shared_facts_have_the_likelihoods_of_single_conversations(nano):
    with torch.no_grad():
        tokens = question_tokens(nano, ASKED)
        states = states_of(nano.model.model.language_model, tokens)
        predicted = nano.model.lm_head(states).log_softmax(-1)
    assert len(set(tokens.lengths.tolist())) == 3
    means = []
    for row, (question, answer) in enumerate(ASKED.asked):
        messages = [{"role": "system", "content": ASKED.facts}, {"role": "user", "content": question}]
        _, written, expected = nano.score_continuation(messages, answer)
        assert tokens.answers[row] == [*written, nano.processor.tokenizer.eos_token_id][:LONGEST]
        start = int(tokens.ends[row])
        found = [float(predicted[row, start + n, token]) for n, token in enumerate(tokens.answers[row])]
        assert found[: len(written)] == pytest.approx(expected[: len(found)], abs=1e-4)
        means.append(-sum(found) / len(found))
    loss = answers_loss(nano.model.lm_head, states, tokens.ends, tokens.answers)
    assert loss.item() == pytest.approx(sum(means) / 3, abs=1e-4), "every answer has the same weight"
    some = answers_loss(nano.model.lm_head, states, tokens.ends, [[], tokens.answers[1], []])
    assert some.item() == pytest.approx(means[1] / 3, abs=1e-4)


def test_a_group_is_a_function_of_its_number_and_never_asks_the_same_twice():
    groups = [question_group(BANK, number, 5) for number in range(30)]
    assert groups[7] == question_group(BANK, 7, 5) != question_group(BANK, 7, 6)
    assert all(len(set(group.asked)) == len(group.asked) > 3 for group in groups)
    short = [len(group.facts) for group in groups if "\n" in group.facts]
    assert max(short) > 2 * min(short), "of some clips only the emotions are told"


def options(question: str) -> list[str]:
    listed = re.search(r"Choose one: (.+)\.$|请选择一个：(.+)。$", question)
    return [] if listed is None else re.split(", |、", listed.group(1) or listed.group(2))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_closed_questions_offer_their_answer_and_have_only_one(language):
    sad, happy = {"en": ("sad", "happy"), "zh": ("悲伤", "高兴")}[language]
    feelings = (Stretch(sad, 0.0, 2.0), Stretch(happy, 2.0, 5.0), Stretch(sad, 5.0, 9.0))
    facts = ClipFacts(language, 9.0, (PersonFacts(1, feelings, ((sad, 0.7), (happy, 0.2))),), likeliest=((sad, 0.7),))
    right = {}
    for seed in range(300):
        exchange = ask_clip(facts, "choice", random.Random(seed))
        offered = options(exchange.question)
        if offered:
            assert exchange.answer.lower() in [option.lower() for option in offered], exchange
            right.setdefault(exchange.question.split(" Choose one")[0].split("请选择")[0], set()).add(exchange.answer)
    once = [text for text in right if "2.0" not in text and "秒时" not in text]
    assert all(len(right[text]) == 1 for text in once)
    assert not [text for text in right if sad in text and ("When" in text or "什么时候" in text)], "sad at two times"
    if language == "en":
        assert right["Is the person sad before or after being happy?"] == {"Before"}
        assert right["Is the person happy before or after being sad?"] == {"After"}
        assert right["Which way does the mood of the person change?"] == {"About the same"}
    else:
        assert right["这个人先表现出高兴还是悲伤？"] == {"悲伤"}
