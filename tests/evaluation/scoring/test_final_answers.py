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
