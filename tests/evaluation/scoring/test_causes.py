"""Pairs of emotion and cause, by hand; and boxes in any order."""

from __future__ import annotations

import pytest

from emotion_qwen.data.dialogues import CausePair, Line, dialogue
from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring.boxes import box_score
from emotion_qwen.evaluation.scoring.causes import score_causes, target_itself


def talk(emotions: str, *pairs: tuple[int, str, int]):
    lines = [Line("A", f"line {n}", emotion) for n, emotion in enumerate(emotions.split(), 1)]
    return dialogue("d", lines, [CausePair(*pair) for pair in pairs])


TALKS = [
    talk("neutral joy anger joy", (2, "joy", 1), (2, "joy", 2), (4, "joy", 4), (3, "anger", 1)),
    talk("sadness neutral", (1, "sadness", 1)),
    talk("neutral neutral neutral"),  # no pair: what is given for it is wrong
]


@pytest.mark.parametrize(
    "answers, hits, given, happiness, anger, sadness, unread",
    [
        (["2_joy,1;2_joy,2;4_joy,4;3_anger,1", "1 sadness: 1", "none"], 5, 5, 1.0, 1.0, 1.0, 0),
        (["2 happiness: 1, 2; 4 anger: 4", "", ""], 2, 3, 4 / 5, 0.0, 0.0, 0),  # 2 * 2 / (2 + 3)
        (["no idea", "1 sadness: 1; 9 sadness: 1", "1 joy: 1"], 1, 3, 0.0, 0.0, 2 / 3, 1),
        (["2 neutral: 1", "none", "none"], 0, 0, 0.0, 0.0, 0.0, 0),
    ],
)
def test_pairs_are_counted(answers, hits, given, happiness, anger, sadness, unread):
    scores = score_causes(answers, TALKS)
    assert (scores.pairs, scores.given, scores.dialogues, scores.unread) == (5, given, 3, unread)
    assert scores.f1.value == pytest.approx(2 * hits / (given + 5)) and scores.recall == pytest.approx(hits / 5)
    assert scores.by_emotion == pytest.approx({"anger": anger, "happiness": happiness, "sadness": sadness})
    assert scores.weighted == pytest.approx((3 * happiness + anger + sadness) / 5)
    assert scores.f1.low <= scores.f1.value <= scores.f1.high


def test_the_baseline_names_the_target_itself():
    given = [target_itself(whole) for whole in TALKS]
    assert given[0] == {CausePair(2, "happiness", 2), CausePair(3, "anger", 3), CausePair(4, "happiness", 4)}
    scores = score_causes(given, TALKS)
    assert (scores.f1.value, scores.precision, scores.recall) == pytest.approx((2 * 3 / 9, 3 / 4, 3 / 5))


def test_what_cannot_be_scored():
    with pytest.raises(DataError, match="2 answers for 3 dialogues"):
        score_causes(["none"] * 2, TALKS)
    with pytest.raises(DataError, match="no dialogue has a pair"):
        score_causes(["none"], TALKS[2:])


A, B, FAR = (0.0, 0.0, 2.0, 2.0), (4.0, 0.0, 8.0, 2.0), (90.0, 90.0, 91.0, 91.0)


@pytest.mark.parametrize(
    "given, right, score",
    [
        ([B, A], [A, B], 1.0),  # by order: 0
        ([A], [A, B], 0.5), ([A, B, FAR], [B], 1 / 3), ([FAR], [A], 0.0), ([], [], 1.0), ([], [A], 0.0),
        ([(1.0, 0.0, 3.0, 2.0)], [A], 2 / 6),
    ],
)  # fmt: skip
def test_boxes_are_matched_best(given, right, score):
    assert box_score(given, right) == pytest.approx(score)
