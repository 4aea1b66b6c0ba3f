"""Speaking with a feeling, with scripted models; and replies that are judged in both orders."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.cli import main
from emotion_qwen.errors import DataError, RemoteError, SettingsError
from emotion_qwen.evaluation.run import asking
from emotion_qwen.evaluation.run.asking import Asker
from emotion_qwen.evaluation.run.replies import (
    GOALS,
    ReplyPair,
    judge_replies,
    judges_agreement,
    points_of_judgement,
    read_reply_pairs,
)
from emotion_qwen.evaluation.run.speaking import QUESTIONS, STATES, cosines, is_refusal, score_speaking, speak
from emotion_qwen.evaluation.scoring.agreement import intraclass_correlation
from emotion_qwen.questions import role_text
from emotion_qwen.verify.verifier import Verifier

SPOKEN = {
    "en": {True: "I am so happy and glad, what a joyful day!", False: "I am so sad and lonely, I could cry all day."},
    "zh": {True: "我今天真高兴，太开心了！", False: "我很难过，伤心得想哭。"},
}
"""Valence is positive -> an answer."""


def scripted(answer):
    """A model that answers with `answer(question, valence, arousal)`."""

    def ask(text, system, tokens, schema):
        valence, arousal = map(float, re.findall(r"[-+]\d\.\d\d", system))
        return answer(text, valence, arousal)

    return Asker("scripted", "here", ask)


def scored(answer, language="en", questions=3):
    return score_speaking(speak(scripted(answer), language, Verifier.load(), questions))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_model_that_follows_valence_scores_above_its_control(language):
    scores = scored(lambda question, valence, arousal: SPOKEN[language][valence >= 0], language)
    assert (scores.answers, scores.distinct, scores.refused) == (36, 2, 0.0)
    assert scores.cosine.value > 0.4 > scores.shuffled.high and scores.valence > 0.7
    assert scores.by_state[0] > scores.by_state[90]  # happiness is not very excited
    assert set(scores.by_state) == set(range(0, 360, 30))


def test_one_answer_for_all_states_scores_nothing():
    scores = scored(lambda question, valence, arousal: SPOKEN["en"][True])
    assert abs(scores.cosine.value) < 1e-9 and abs(scores.shuffled.value) < 1e-9
    assert scores.valence is None and scores.arousal is None and scores.distinct == 1


def test_refusals_are_counted_and_score_nothing():
    def answer(question, valence, arousal):
        return "As an AI, I cannot do that, but I am happy." if valence > 0.1 else SPOKEN["en"][False]

    scores = scored(answer)
    assert scores.refused == pytest.approx(5 / 12) and scores.by_state[0] == 0.0 and scores.by_state[180] > 0.5


@pytest.mark.parametrize(
    "text, refused",
    [
        ("", True), (" ... ", True), ("I'm just an AI language model.", True), ("I can't pretend to be sad.", True),
        ("I don't have feelings.", True), ("作为一个人工智能，我没有情感。", True), ("我无法扮演这个角色。", True),
        ("I cannot believe my luck!", False), ("I can't feel my toes, it is so cold.", False),
        ("I can't help smiling.", False),
        ("My aim is to rest.", False), ("我没有时间了！", False),
    ],
)  # fmt: skip
def test_refusals(text, refused):
    assert is_refusal(text) == refused


def test_the_grid_is_a_circle_and_the_questions_differ():
    assert len(STATES) == 12 and STATES[0] == (1.0, 0.0) and STATES[4] == pytest.approx((-0.5, 0.866), abs=1e-3)
    assert all(len(set(QUESTIONS[language])) == 20 for language in ("en", "zh"))
    angles = cosines(np.array([[2.0, 0.0], [0.0, 0.0], [0.0, -3.0]]), np.array([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8]]))
    assert angles == pytest.approx([1.0, 0.0, -0.8])


def test_the_role_is_told_in_both_languages():
    assert "valence -0.50" in role_text(-0.5, 0.25, "en") and "唤醒度 +0.25" in role_text(-0.5, 0.25, "zh")
    with pytest.raises(SettingsError, match="arousal 1.5; expected a number from -1 to 1"):
        role_text(0, 1.5, "en")


@pytest.mark.parametrize("text", ["happy", "0.5", "0.5,2", "nan,0", "1,1,1"])
def test_a_malformed_feeling_is_refused_before_the_model_is_loaded(text, capsys):
    assert main(["ask", "missing.mp4", "How are you?", "--as", text]) == 2
    assert f"--as {text!r}; expected valence and arousal from -1 to 1" in capsys.readouterr().err


def test_the_command_writes_figures_and_answers(tmp_path, monkeypatch, capsys):
    model = scripted(lambda question, valence, arousal: SPOKEN["en"][valence >= 0])
    monkeypatch.setattr(asking, "asker", lambda name, settings: model)
    path = tmp_path / "speaking.json"
    assert main(["eval", "speaking", "--model", "any", "--questions", "2", "--output", str(path)]) == 0
    record = json.loads(path.read_text())
    assert record["answers"] == 24 == len(record["texts"]) and record["texts"][0]["valence"] == 1.0
    assert capsys.readouterr().out.startswith("scripted: cosine 0.")


def points(first, second):
    return json.dumps({"first": dict.fromkeys(GOALS, first), "second": dict.fromkeys(GOALS, second)})


PAIRS = [ReplyPair(str(n), "I lost my key.", f"good {n}", f"poor {n}") for n in range(3)]


def judge(rule):
    """A judge that scores with `rule(first, second)`."""

    def ask(text, system, tokens, schema):
        assert schema is not None
        return rule(*re.findall(r"Reply [12]:\n<<<\n(.*?)\n>>>", text))

    return Asker("judge", "here", ask)


def test_the_better_reply_wins_in_both_orders():
    scores = judge_replies(
        PAIRS, judge(lambda first, second: points(*(8 if "good" in t else 3 for t in (first, second)))), "en"
    )
    assert (scores.first, scores.second, scores.place) == (32.0, 12.0, 0.0)
    assert scores.difference.value == 20.0 and scores.goals["support"] == (8.0, 3.0) and scores.unread == 0


def test_a_preference_for_a_place_does_not_count_for_a_reply():
    scores = judge_replies(PAIRS, judge(lambda first, second: points(9, 4)), "en")
    assert scores.first == scores.second == 26.0 and scores.difference.value == 0.0 and scores.place == 20.0


def test_two_judges_agree_on_preferences_and_points():
    def first_judge(first, second):
        return points(*({"good 0": 9, "good 1": 6, "good 2": 4}.get(text, 5) for text in (first, second)))

    def second_judge(first, second):
        if "1" in first:
            return "?"
        return points(*({"good 0": 7, "good 2": 8}.get(text, 5) for text in (first, second)))

    one, other = (judge_replies(PAIRS, judge(rule), "en") for rule in (first_judge, second_judge))
    assert one.differences == {"0": 16.0, "1": 4.0, "2": -4.0} and other.differences == {"0": 8.0, "2": 12.0}
    both = judges_agreement(one, other)
    assert (both.pairs, both.same) == (2, 0.5) and both.kappa == 0.0
    assert both.correlation == pytest.approx(intraclass_correlation(np.array([[16.0, 8.0], [-4.0, 12.0]])))
    same = judges_agreement(one, one)
    assert (same.same, same.kappa, same.correlation) == (1.0, 1.0, 1.0)
    single = judges_agreement(replace(one, differences={"1": 4.0}), replace(other, differences={"1": 9.0}))
    assert single.to_dict() == {"pairs": 1, "same": 1.0, "kappa": None, "correlation": None}
    with pytest.raises(DataError, match="no pair was judged by both judges"):
        judges_agreement(one, replace(other, differences={"x": 1.0}))


def test_unreadable_judgements_are_counted():
    def rule(first, second):
        if "poor 1" in first:
            return "Both are fine."
        if "2" in first:
            raise RemoteError("gone")
        return points(7, 6)

    scores = judge_replies(PAIRS, judge(rule), "en")
    assert (scores.pairs, scores.unread) == (1, 3)
    with pytest.raises(DataError, match="no readable judgement in both orders for any of 3 pairs"):
        judge_replies(PAIRS, judge(lambda first, second: "?"), "en")


@pytest.mark.parametrize(
    "text", ["", "[]", points(0, 5), points(11, 5), points(5.5, 5), points(True, 5), '{"first": 3}']
)
def test_points_are_read_strictly(text):
    assert points_of_judgement(text) is None


def test_points_may_stand_in_a_fence():
    assert points_of_judgement(f"```json\n{points(2, 9)}\n```").tolist() == [[2] * 4, [9] * 4]


def test_files_of_replies(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"context": "a", "first": "b", "second": "c"}\n\n{"context": "a", "first": "b"}\n')
    with pytest.raises(DataError, match="line 3: 'second'; expected texts context, first and second"):
        read_reply_pairs(path)
    path.write_text('{"context": "a", "first": "b", "second": "c", "id": 7}\n')
    assert read_reply_pairs(path) == [ReplyPair("7", "a", "b", "c")]
    path.write_text("")
    with pytest.raises(DataError, match="no line with replies"):
        read_reply_pairs(path)


@pytest.mark.parametrize("facts, joined", [("", ""), ("Measured: a smile.", "\nMeasured: a smile.")])
def test_a_feeling_becomes_the_system_text_of_an_answer(facts, joined):
    engine = SimpleNamespace(
        write=lambda views, question, tokens, system: [system], training_facts=lambda: {"reads_facts": bool(facts)}
    )
    analyzer = SimpleNamespace(
        engine=engine, prepare=lambda path, request: None, asked_view=lambda prepared, context: (),
        facts=lambda prepared, language, context: facts,
    )  # fmt: skip
    analyzer.answer, analyzer.reply = partial(Analyzer.answer, analyzer), partial(Analyzer.reply, analyzer)
    analyzer.measured_answer = partial(Analyzer.measured_answer, analyzer)
    assert Analyzer.ask(analyzer, "a.mp4", "你好吗？", speak_as=(0.5, -0.3)) == role_text(0.5, -0.3, "zh") + joined
    assert Analyzer.ask(analyzer, "a.mp4", "How are you?") == facts
