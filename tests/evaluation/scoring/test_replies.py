"""Option letters and yes or no in replies; expected values written first."""

from __future__ import annotations

import pytest

from emotion_qwen.evaluation.scoring.replies import read_option, read_yes_no

OPTIONS = ("red apple", "apple", "a man", "blue")


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        *[
            (text, "B")
            for text in ("B", "b", "B.", "(B)", "(b)", "[B]", "**B**", "B)", "B. apple", "B: apple", " B \n")
        ],
        *[
            (text, "B")
            for text in ("The answer is B", "the answer is (B).", "Answer: B", "Option B", "option b", "I choose B")
        ],
        *[(text, "B") for text in ("答案是B", "答案：B", "选B", "我选择B选项", "B。")],
        *[
            (text, "B")
            for text in ("B is correct.", "It is not A but B", "I would say B, as it is round", "B because of that")
        ],
        *[(text, "B") for text in ("<think>A? C?</think>B", "\\boxed{B}", '{"answer": "B"}', "<answer>B</answer>")],
        *[(text, "B") for text in ("apple", "An apple", "it is an apple.", "A is wrong, so B", "A, no. Answer: B")],
        *[(text, "A") for text in ("A", "A.", "A because it is red", "the red apple", "Red Apple!")],
        *[(text, "C") for text in ("A man", "a man", "The answer is a man.", "C because a man is there")],
        *[(text, "D") for text in ("D) blue", "blue", "Blue.", "not apple, blue")],
        *[
            (text, None)
            for text in ("", "...", "E", "none", "I am not sure", "I see", "A or B", "A, B", "Both A and B.")
        ],
        *[
            (text, None)
            for text in ("A. red apple\nB. apple\nC. a man\nD. blue", "Answer: A or B", "not B", "B is wrong")
        ],
        *[
            (text, None)
            for text in ("blue apple", "<think>B", "Apples", "pineapple", "All of them", "an answer", "Bob")
        ],
    ],
)
def test_an_option_is_read_where_it_is_clear(reply, letter):
    assert read_option(reply, OPTIONS).value == letter


def test_only_offered_letters_count():
    assert read_option("D", ("x", "y", "z")).value is None
    assert read_option("E", tuple("pqrst")).value == "E"


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        *[
            (text, "yes")
            for text in (
                "yes",
                "Yes.",
                "YES!",
                "Yes, there is no dog",
                "Yes; no cat though",
                "ＹＥＳ",
                "Yes it is",
                "The answer is yes",
                "**Yes**",
            )
        ],
        *[
            (text, "yes")
            for text in ("Based on the image, yes.", "是", "是的。", "有", "答案：是", "No doubt, yes", "yeah")
        ],
        *[
            (text, "no")
            for text in ("no", "No.", "No, there is none", "The answer is no.", "There is no dog", "No there isn't")
        ],
        *[
            (text, "no")
            for text in ("不是", "没有。", "否", "答案：否", "Nope", "<think>yes?</think>no", '{"answer": "no"}')
        ],
        *[
            (text, None)
            for text in (
                "",
                "maybe",
                "nothing",
                "I cannot tell",
                "Not sure",
                "yes and no",
                "Yes or no",
                "yes/no",
                "Yes no",
            )
        ],
        *[
            (text, None)
            for text in ("Noah", "eyes", "There is a dog", "不确定", "无法判断", "no idea", "the yes-men say no")
        ],
    ],
)
def test_yes_and_no_are_read_where_they_are_clear(reply, word):
    assert read_yes_no(reply).value == word


@pytest.mark.parametrize(
    ("reply", "letter"),
    [("Ａ", "A"), ("（Ｂ）", "B"), ("答案：Ｃ", "C"), ("Ｂ．猫", "B"), ("Ｄ", None), ("ｃａｔ", "B")],
)
def test_full_width_letters_are_letters(reply, letter):
    assert read_option(reply, ["dog", "cat", "owl"]).value == letter
