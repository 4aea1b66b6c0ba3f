"""Comments are balanced, and put into conversations."""

from __future__ import annotations

import pytest

from emotion_qwen.data.parts import read_part
from emotion_qwen.errors import DataError
from emotion_qwen.matching.answer import match_label
from emotion_qwen.taxonomy import label_set
from recipes.nano import parts
from recipes.nano.texts import balanced

KIND = f"{parts.__file__}:texts"
SEVEN = label_set("fer7")


def test_rare_labels_are_repeated_as_far_as_asked():
    rows = [(n, "many") for n in range(16)] + [(n, "few") for n in range(4)]
    counts = {power: [label for _, label in balanced(rows, power)].count("few") for power in (0, 0.5, 1)}
    assert counts == {0: 4, 0.5: 8, 1: 16}
    assert {what for what, label in balanced(rows, 1) if label == "few"} == {0, 1, 2, 3}
    with pytest.raises(DataError, match=r"balance 2; expected 0"):
        balanced(rows, 2)


def test_a_part_of_texts_takes_a_balance(comment_file):
    assert len(read_part(KIND, "t", "emotion", comment_file, "train", balance=1.0)) == 2
    with pytest.raises(DataError, match="unknown option 'balanced'"):
        read_part(KIND, "t", "emotion", comment_file, "train", balanced=1.0)


def test_several_comments_are_one_conversation_with_one_question(comment_file):
    part = read_part(KIND, "t", "emotion", comment_file, "train", turns=5)
    assert len(part) == 1
    for turn in range(20):
        messages = part.sample(0, turn).messages
        assert [message["role"] for message in messages] == ["user", "assistant"] * 5
        assert [sum(word in one["content"] for word in (", ", "、")) > 0 for one in messages[::2]][1:] == [False] * 4
        for asked, told in zip(messages[::2], messages[1::2], strict=True):
            glad = "what a day" in asked["content"]
            assert match_label(told["content"], SEVEN, "en" if told["content"].isascii() else "zh") == (
                "happiness" if glad else "fear"
            )
