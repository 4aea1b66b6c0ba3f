"""Suites earn points each in its way, and all scores stand in one table that is drawn and compared together."""

import json
import math

import pytest

from emotion_qwen.evaluation.scoring.paired import compare
from emotion_qwen.evaluation.scoring.records import Continuation, ScoredItem
from emotion_qwen.evaluation.scoring.records import Response as Answer
from emotion_qwen.evaluation.scoring.skills import (
    IFEVAL_MEAN,
    LAST_WORD,
    score_general_prompts,
    score_skills,
    score_text_perplexity,
)

CHECKS = json.dumps({"instruction_id_list": ["punctuation:no_comma", "startend:quotation"], "kwargs": [{}, {}]})
RATINGS = json.dumps({"Calm": 0.0, "Sad": 6.0})
ITEMS = [
    ScoredItem("a1", ("is red",), ("is red", "is blue"), "arc_easy"),
    ScoredItem("a2", ("is blue",), ("is red", "is blue"), "arc_easy"),
    ScoredItem("a3", ("is blue",), ("is red", "is blue"), "arc_easy"),
    ScoredItem("l1", (" track",), (), "lambada_openai"),
    ScoredItem("l2", (" lawyer",), (), "lambada_openai"),
    ScoredItem("g1", ("1,200",), (), "gsm8k"),
    ScoredItem("b1", ("(B)",), (), "bbh"),
    ScoredItem("i1", (CHECKS,), (), "ifeval"),
    ScoredItem("i2", (CHECKS,), (), "ifeval"),
    ScoredItem("i3", (CHECKS,), (), "ifeval"),
    ScoredItem("e1", (RATINGS,), (), "eq_bench_v2"),
    ScoredItem("e2", (RATINGS,), (), "eq_bench_v2"),
]
ANSWERS = [
    Answer("a1", scores={"is red": 0.6, "is blue": 0.4}),
    Answer("a2", scores={"is red": 0.6, "is blue": 0.4}),
    Answer("a3", "Is blue."),  # an endpoint answers in words
    Answer("l1", continuation=Continuation(-1.0, 1, True)),
    Answer("l2", continuation=Continuation(-4.0, 3, False)),
    Answer("g1", "The answer is $1200."),
    Answer("b1", "(A)"),
    Answer("i1", '"All of it."'),
    Answer("i2", 'Here:\n"All of it."'),
    Answer("e1", "Calm: 0, Sad: 6"),
    Answer("e2", "no idea"),
]


@pytest.fixture(scope="module")
def result():
    return score_skills(ITEMS, ANSWERS)


def test_every_suite_earns_points_in_its_way(result):
    assert [answer.points for answer in result.judged] == [1, 0, 1, 1, 0, 1, 0, 1, 0, 0, 1, 0]
    assert result["accuracy"].value == pytest.approx(6 / 12) and result["accuracy"].items == 12
    assert result["accuracy of arc_easy"].value == pytest.approx(2 / 3)
    assert result["accuracy of ifeval"].value == pytest.approx(1 / 3), "the third has no answer and is wrong"
    suites = (2 / 3, 1 / 2, 1, 0, 1 / 3, 1 / 2)
    assert result["accuracy, mean of suites"].value == pytest.approx(sum(suites) / 6)
    assert result.tally.coverage == pytest.approx(11 / 12) and result.tally.unread["not the four ratings"] == 1


def test_suites_have_scores_of_their_own(result):
    assert result["IFEval, prompts, strict"].value == pytest.approx(1 / 3)
    assert result["IFEval, instructions, strict"].value == pytest.approx(3 / 6)
    assert result["IFEval, prompts, loose"].value == pytest.approx(2 / 3)
    assert result["IFEval, instructions, loose"].value == pytest.approx(4 / 6)
    assert result[IFEVAL_MEAN].value == pytest.approx((1 / 3 + 3 / 6) / 2)
    assert result[LAST_WORD].value == pytest.approx(math.exp(2.5)) and not result[LAST_WORD].share
    assert result["EQ-Bench score"].value == pytest.approx(100) and result["EQ-Bench score"].items == 1
    assert result["EQ-Bench, replies read"].value == 0.5


def test_a_single_suite_has_no_means_and_no_scores_of_others():
    names = [score.name for score in score_skills(ITEMS[:3], ANSWERS[:3]).scores]
    assert names == ["accuracy"]


def test_without_any_likelihood_the_perplexity_is_unknown():
    result = score_skills(ITEMS[3:5], [Answer("l1", error="an endpoint gives no likelihoods")])
    assert math.isnan(result[LAST_WORD].value) and result["accuracy"].value == 0


def test_two_models_are_compared_on_every_score(result):
    better = [*ANSWERS[:4], Answer("l2", continuation=Continuation(-2.0, 3, True)), *ANSWERS[5:]]
    moved = {d.name: d for d in compare(result, score_skills(ITEMS, better)).differences}
    assert moved["accuracy"].difference.value == pytest.approx(1 / 12)
    assert moved[LAST_WORD].difference.value == pytest.approx(math.exp(1.5) - math.exp(2.5))
    assert moved["accuracy of arc_easy"].difference.low == moved["accuracy of arc_easy"].difference.high == 0


def test_perplexity_is_per_token_over_all_texts():
    items = [ScoredItem("p1", ("One text",), (), "passages"), ScoredItem("p2", ("Another",), (), "passages")]
    answers = [
        Answer("p1", continuation=Continuation(-6.0, 2, False)),
        Answer("p2", continuation=Continuation(-2.0, 6, True)),
    ]
    (score,) = score_text_perplexity(items, answers).scores
    assert score.value == pytest.approx(math.exp(8 / 8)) and score.low < score.value < score.high


def test_general_prompts_are_answered_generally_and_rightly_or_not():
    items = [
        ScoredItem("m", ("12",), (), "maths word problem"),
        ScoredItem("p1", ("fear",), (), "P3 quarel"),
        ScoredItem("p2", ("No",), (), "P3 paws_labeled"),
        ScoredItem("h", ("A reference of many words that has many right forms",), (), "human instruction"),
        ScoredItem("w", ("",), (), "prompt only: writing"),
        ScoredItem("x", ("",), (), "prompt only: users"),
    ]
    replies = ["6 + 6 is 12", "Fear.", "The sea is neutral.", "The person looks sad.", "Dear Sir, thank you.", ""]
    result = score_general_prompts(items, [Answer(item.id, text) for item, text in zip(items, replies, strict=True)])
    assert result["trained form"].value == pytest.approx(2 / 6), "the right answer fear is none"
    assert result["empty"].value == pytest.approx(1 / 6)
    assert result["right"].value == pytest.approx(2 / 3) and result["right"].items == 3
    assert result["right of P3"].value == 0.5 and result["right of maths"].value == 1
    assert "1 items have a reference that is too long" in result.notes[-1] and "for example h" in result.notes[0]
