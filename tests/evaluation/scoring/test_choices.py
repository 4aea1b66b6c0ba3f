"""Multiple choice and CircularEval on invented answers with every way to fail."""

from __future__ import annotations

import pytest

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring.choices import rotations, score_choices, score_circular
from emotion_qwen.evaluation.scoring.records import Response as Answer
from emotion_qwen.evaluation.scoring.records import ScoredItem

OPTIONS = ("dog", "cat", "owl", "bee")


def test_accuracy_overall_and_by_group():
    # with image: 2 of 3 right; text only: 0 of 1. All: 2/4. Mean of groups (2/3 + 0) / 2 = 1/3
    items = [ScoredItem(str(k), ("B",), OPTIONS, group="image" if k < 3 else "text") for k in range(4)]
    answers = [
        Answer("0", "B"),
        Answer("1", "The answer is B."),
        Answer("2", "A or B"),
        Answer("3", "C"),
    ]
    found = score_choices(items, answers)
    assert found["accuracy"].value == 0.5 and found["accuracy of image"].value == pytest.approx(2 / 3)
    assert found["accuracy, mean of groups"].value == pytest.approx(1 / 3) and found["accuracy of text"].items == 1
    assert found.tally.parse_rate == 0.75


def test_scores_by_letter_or_by_text_are_read():
    items = [ScoredItem("1", ("B",), OPTIONS), ScoredItem("2", ("B",), OPTIONS)]
    answers = [
        Answer("1", scores={"dog": -3.0, "cat": -1.0, "owl": -2.0}),
        Answer("2", scores={"A": 0.1, "B": 0.9}),
    ]
    assert score_choices(items, answers)["accuracy"].value == 1


def test_the_last_lines_of_a_broken_task_are_refused():
    with pytest.raises(DataError, match=r"has the references \('E',\) and 4 options; expected one letter of 'ABCD'"):
        score_choices([ScoredItem("1", ("E",), OPTIONS)], [])


def test_rotations_move_options_and_answer_together():
    passes = rotations(ScoredItem("q", ("C",), OPTIONS, group="birds"))
    assert [one.references[0] for one in passes] == ["C", "B", "A", "D"]
    assert [one.allowed[0] for one in passes] == ["dog", "cat", "owl", "bee"]
    assert {one.allowed["ABCD".index(one.references[0])] for one in passes} == {"owl"}
    assert {one.cluster for one in passes} == {"q"} and len({one.id for one in passes}) == 4


def circular(*replies):
    """Score one question in each column of replies: four passes, None for no answer."""
    items, answers = [], []
    for number, column in enumerate(replies):
        passes = rotations(ScoredItem(f"q{number}", ("C",), OPTIONS))
        items += passes
        for one, reply in zip(passes, column, strict=True):
            if reply == "right":
                reply = one.references[0]
            if reply is not None:
                answers.append(Answer(one.id, error="500") if reply == "error" else Answer(one.id, reply))
    return score_circular(items, answers)


@pytest.mark.parametrize(
    "bad",
    ["D", "", "A or B", "maybe", "E", "error", None],
    ids=["wrong", "empty", "two", "unclear", "not offered", "error", "missing"],
)
@pytest.mark.parametrize("place", [0, 2, 3])
def test_one_bad_pass_loses_the_question(bad, place):
    column = ["right"] * 4
    column[place] = "A" if bad == "D" and place == 3 else bad  # D is right in the last pass
    found = circular(column, ["right"] * 4)
    assert found["CircularEval"].value == 0.5 and found["CircularEval"].items == 2
    assert found["plain accuracy"].value == (0.5 if place == 0 else 1)
    assert found["accuracy of passes"].value == 7 / 8 and found["accuracy of passes"].items == 8


def test_a_model_that_always_says_c_is_caught():
    found = circular(["C"] * 4, ["C"] * 4)
    assert found["plain accuracy"].value == 1 and found["CircularEval"].value == 0
    assert found["accuracy of passes"].value == 0.25


def test_answers_by_the_text_of_the_option_stand_every_rotation():
    assert circular(["owl"] * 4)["CircularEval"].value == 1


def test_incomplete_questions_are_refused():
    passes = rotations(ScoredItem("q", ("C",), OPTIONS))
    with pytest.raises(DataError, match="question 'q' has 3 passes; expected one for each of its 4 options"):
        score_circular(passes[:3], [])
    with pytest.raises(DataError, match="item 'x' names no cluster"):
        score_circular([ScoredItem("x", ("A",), OPTIONS)], [])


def test_circular_eval_tells_every_ability():
    # birds: q0 wholly right, q1 wrong in one pass: 1/2; numbers: q2 wholly right: 1. Mean of groups 3/4; all 2/3.
    items, answers = [], []
    for number, group in enumerate(("birds", "birds", "numbers")):
        passes = rotations(ScoredItem(f"q{number}", ("C",), OPTIONS, group=group))
        items += passes
        answers += [Answer(one.id, one.references[0]) for one in passes]
    answers[5] = Answer(items[5].id, "maybe")
    found = score_circular(items, answers)
    values = {score.name: score.value for score in found.scores if score.name.startswith("Circular")}
    assert values == pytest.approx(
        {
            "CircularEval": 2 / 3,
            "CircularEval, mean of groups": 3 / 4,
            "CircularEval of birds": 1 / 2,
            "CircularEval of numbers": 1,
        }
    )
    assert found["CircularEval of birds"].items == 2 and found["CircularEval of numbers"].low < 0.2
