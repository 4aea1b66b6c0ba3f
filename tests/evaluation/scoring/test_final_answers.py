"""Final answers are read out of replies, and EQ-Bench's ratings earn what its formula says."""

import json

import pytest

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring.final_answers import (
    NO_NUMBER,
    NO_RATINGS,
    emotion_rating_points,
    emotion_ratings,
    final_answer,
    final_number,
    short_answer_right,
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3 + 4 = 7. The answer is $1,200.00 in all, for 2 people.", "1200"),
        ("#### 72", "72"),
        ("He has 5 apples and 12 pears", "12"),
        ("The answer is 5. No, the answer is -0.50.", "-0.5"),
        ("The answer is unknown, maybe 9", "9"),
        ("Answer: .5", "0.5"),
    ],
)
def test_the_number_behind_the_last_mark_or_the_last_number(text, number):
    assert final_number(text).value == number


def test_a_reply_without_a_number_says_so():
    assert final_number("none at all").why == NO_NUMBER and final_number(" \n").why == "empty"


@pytest.mark.parametrize(
    ("text", "reference", "answer"),
    [
        ("(B)", "(A)", "(B)"),
        ("A. the brown book", "(A)", "(A)"),
        ("Well, I think the answer is (C) because", "(B)", "(C)"),
        ("A book is brown", "(A)", "(A)"),
        ("Because, yes.", "No", "yes"),
        ("Final answer: Invalid.", "valid", "invalid"),
        ("syndrome  therefrom.\nI sorted them.", "syndrome therefrom", "syndrome therefrom"),
        ("} } ]", "} }", "} } ]"),
        ("none", "(A)", None),
        ("", "8", None),
    ],
)
def test_the_final_answer_is_of_the_kind_of_the_reference(text, reference, answer):
    assert final_answer(text, reference).value == answer


@pytest.mark.parametrize(
    ("text", "reference", "right"),
    [
        ("No, it is not.", "No", True),
        ("There is no doubt.", "No", False),
        ("The correct answer is A", "A", True),
        ("A dog or B", "B", True),
        ("A dog", "B", False),
        ("It is the natural place of ice hockey.", "ice hockey", True),
        ("It is hockey on ice.", "ice hockey", False),
        ("devices", "", None),
        ("a b c d e f g", "a b c d e f g", None),
    ],
)
def test_a_short_reference_is_looked_for(text, reference, right):
    assert short_answer_right(text, reference) is right


NAMES = ("Bitter", "Amused", "Insulted", "Agitated")
FIRST = "First pass scores:\nBitter: 1\nAmused: 2\nInsulted: 3\nAgitated: 4\n"


def test_the_revised_ratings_count_where_they_are_whole():
    revised = "Critique: 9\nRevised scores:\nBitter: **5**\nAmused: 6\nInsulted: 7\nAgitated: 8.5"
    assert json.loads(emotion_ratings(FIRST + revised, NAMES).value) == {
        "Bitter": 5, "Amused": 6, "Insulted": 7, "Agitated": 8.5
    }  # fmt: skip
    assert json.loads(emotion_ratings(FIRST + revised[:40], NAMES).value)["Agitated"] == 4
    assert emotion_ratings("Bitter: 1\nAmused: 2", NAMES).why == NO_RATINGS
    assert emotion_ratings(FIRST.replace("4", "40"), NAMES).why == NO_RATINGS


def test_points_by_the_published_formula():
    """Checked by hand: 6.5 / (1 + e^(-1.2 (d - 4))) up to 5, d itself beyond, and 10 - 0.7477 of the sum."""
    reference = dict(zip(NAMES, (0.0, 6.0, 4.0, 7.0), strict=True))
    assert emotion_rating_points(reference, reference) == 10
    one_off = {**reference, "Bitter": 4.0}
    assert emotion_rating_points(one_off, reference) == pytest.approx(10 - 0.7477 * 3.25)
    far = {**reference, "Agitated": 0.0, "Bitter": 2.0}
    assert emotion_rating_points(far, reference) == pytest.approx(10 - 0.7477 * (7 + 0.5406), abs=1e-3)
    with pytest.raises(DataError, match="ratings of .*Bitter.*; expected those of"):
        emotion_rating_points({"Bitter": 1.0}, reference)


# lm-eval 0.4.13 lm_eval/tasks/eq_bench/utils.py, calculate_score_fullscale; numbers drawn with seed 3
PUBLISHED_POINTS = [
    ([1, 7, 7, 1], [1, 7, 7, 1], 100.0),
    ([3, 7, 5, 10], [10, 0, 0, 0], -116.79868874044402),
    ([2.5, 5, 3, 7], [3, 3, 7, 8], 69.64686285040574),
    ([2.5, 7, 5, 5], [10, 2, 3, 10], -34.82111211684089),
    ([1, 2.5, 7, 5], [0, 10, 1, 2], -13.48193844588847),
    ([2.5, 7, 0, 3], [0, 4, 7, 9], -15.34484393925215),
    ([10, 5, 10, 2.5], [6, 6, 9, 7], 41.73527631660829),
    ([1, 3, 0, 0], [2, 7, 3, 4], 38.85706155411153),
    ([10, 5, 2.5, 10], [4, 6, 8, 6], -11.578377186332478),
    ([7, 3, 7, 7], [6, 9, 3, 5], 25.50288817771466),
    ([10, 0, 2.5, 3], [9, 10, 2, 5], 19.17711285040575),
    ([7, 7, 7, 0], [10, 3, 10, 9], -14.092872519112003),
    ([3, 3, 0, 0], [7, 10, 7, 1], -30.270877186332488),
    ([3, 2.5, 0, 5], [2, 0, 4, 6], 66.2204629476389),
    ([2.5, 5, 2.5, 0], [0, 9, 9, 0], 20.205217320303824),
    ([5, 10, 7, 3], [8, 4, 8, 3], 42.595561554111534),
]


@pytest.mark.parametrize(("right", "given", "percent"), PUBLISHED_POINTS)
def test_points_are_those_of_the_published_code(right, given, percent):
    names = ("Relieved", "Angry", "Sad", "Proud")
    points = emotion_rating_points(dict(zip(names, given, strict=True)), dict(zip(names, right, strict=True)))
    assert 10 * points == pytest.approx(percent, abs=1e-9)
