"""The authors' arithmetic on constructed predictions, and ours beside it."""

from __future__ import annotations

import pytest

from emotion_qwen.evaluation.scoring import as_released as released
from emotion_qwen.evaluation.scoring.labels import score_labels
from emotion_qwen.evaluation.scoring.records import Response as Answer
from emotion_qwen.evaluation.scoring.records import Result, ScoredItem
from emotion_qwen.evaluation.scoring.yes_no import score_pope
from emotion_qwen.evaluation.tasks.scorers import released_science
from emotion_qwen.taxonomy import label_set

DFEW, MER = label_set("dfew7"), label_set("mer6")


def ours(replies, gold, labels):
    items = [ScoredItem(str(k), (label,)) for k, label in enumerate(gold)]
    return score_labels(items, [Answer(str(k), text) for k, text in enumerate(replies)], labels)


GOLD = [label for label in DFEW.labels for _ in range(10)]
REPLIES = [label if k % 10 < 8 else "I see a person" for k, label in enumerate(GOLD)]  # 8 of 10 in every class


def test_a_phantom_class_takes_an_eighth_of_uar():
    found = released.dfew_scores(REPLIES, GOLD)
    assert found["WAR"] == pytest.approx(0.8) and found["UAR"] == pytest.approx(0.8 * 7 / 8)
    assert ours(REPLIES, GOLD, DFEW)["UAR"].value == pytest.approx(0.8)
    assert released.dfew_scores(GOLD, GOLD)["UAR"] == 1, "without a miss there is no phantom"


def test_uar_of_the_baselines_is_half_of_war():
    found = released.dfew_baseline_scores(REPLIES, GOLD)
    assert found["WAR"] == pytest.approx(0.8) and found["UAR"] == pytest.approx(0.4)
    assert released.dfew_baseline_scores(GOLD, GOLD)["UAR"] == 1


@pytest.mark.parametrize("reply", ["not happy", "unhappy", "happy, sad, neutral, angry, surprise, disgust, fear"])
def test_the_gold_label_anywhere_is_a_hit_there_and_not_here(reply):
    assert released.dfew_scores([reply], ["happy"])["WAR"] == 1
    assert ours([reply], ["happy"], DFEW)["WAR"].value == 0


@pytest.mark.parametrize(
    ("reply", "theirs", "here"),
    [
        ("", "worried", None),
        ("I cannot tell", "worried", None),
        ("unhappy", "happy", "sad"),
        ("not sad but happy", "sad", "happy"),
        ("happy, not sad", "sad", "happy"),
        ("surprised", "surprise", "surprise"),
        ("['happy', 'sad', 'neutral', 'angry', 'surprise', 'worried']", "worried", None),
    ],
)
def test_the_last_word_of_the_alphabet_and_the_worried_fallback(reply, theirs, here):
    assert released.mer_reading(reply) == theirs
    assert ours([reply], ["sad"], MER).judged[0].read == here


def test_silence_scores_as_worried_there_and_as_nothing_here():
    gold = ["worried", "sad", "worried", "happy"]
    # all "worried": accuracy 1/2; F1 of worried 2*2/(4+2) = 2/3, weighted by 2/4
    assert released.mer_scores([""] * 4, gold) == pytest.approx({"accuracy": 0.5, "WAF": 1 / 3})
    assert ours([""] * 4, gold, MER)["WAF"].value == 0


@pytest.mark.parametrize(
    ("reply", "mark"),
    [
        ("'预测分数'：7；'原因'：…", 7),
        ("1. Both describe joy. Score: 8", 1),
        ("8.5/10", 8.5),
        ("3..5", None),
        ("none", None),
    ],
)
def test_the_first_number_is_the_mark(reply, mark):
    assert released.emer_mark(reply) == mark


def test_pope_reads_yes_by_default_and_prints_the_ratio_of_the_truth():
    assert [
        released.pope_reading(text) for text in ("maybe", "cannot", "nope", "isn't", "No, there", "not a. yes")
    ] == [
        *("yes", "yes", "yes", "yes", "no", "no"),
    ]
    gold = ["yes", "no", "no", "no"]
    found = released.pope_scores(["maybe"] * 4, gold)
    assert found["yes_ratio"] == 0.25 and found["accuracy"] == 0.25 and found["recall"] == 1
    items = [ScoredItem(str(k), (word,)) for k, word in enumerate(gold)]
    own = score_pope(items, [Answer(str(k), "maybe") for k in range(4)])
    assert own["yes-ratio"].value == 0 and own["accuracy"].value == 0


def test_readings_of_the_general_harness():
    assert [released.mme_reading(text) for text in ("Yes.", "nothing", "none", "The answer is yes")] == [
        *("yes", "no", "no", "other"),
    ]
    assert released.mmbench_right("An apple", "A") and not released.mmbench_right("(A)", "A")
    assert not released.mmbench_right("The answer is A", "A")
    assert released.scienceqa_reading("The answer is B", ["x", "y"]) == "B"
    assert released.scienceqa_reading("Answer: B", ["x", "y"], letters="BACD") == "B"
    assert released.scienceqa_reading("Answer: B", ["x", "y"], letters="ABCD") == "A", "the order of a set decides"
    assert released.scienceqa_reading("the dog", ["dog", "cat"]) == "A"
    assert released.scienceqa_reading("(C) dog", ["Dog", "Cat", "Bird"]) == "A", "options without case come first"
    assert released.scienceqa_reading("it is the dog", [" Dog ", "cat"]) == "A"
    assert released.scienceqa_reading("Cat", ["yes", "no"]) == "A", "letters of its options only"
    assert released.scienceqa_reading("b", ["x"]) == "other"
    assert released.scienceqa_reading("E", ["v", "w", "x", "y", "z"]) == "E"
    five = [ScoredItem("1", ("E",), ("v", "w", "x", "y", "z"))]
    assert released_science(five, [Answer("1", "E")]) == {"accuracy": 1}
    assert [released.seed_reading(text) for text in ("B", "b. owl", "The answer is B", "Answer: C", "1")] == [
        *("B", "B", "A", "A", "Unknown"),
    ]
    assert released.vqa_right("a big tree", ["a", "dog"]) and released.vqa_right("nothing", ["other"])
    assert released.vqa_right("Nokia", ["nokia"] * 9 + ["x"]) and released.vqa_right("Nokia", ["Nokia"] * 10)
    assert released.vqa_right("a big tree", [" Tree "]) and not released.vqa_right("tree", ["Other"])
    assert not released.vqa_right("cow", ["dog"]) and released.emoset_right("not awe", "awe")
    assert released.share([True, False]) == 0.5


def test_nothing_released_can_be_taken_for_a_score_of_ours():
    assert not isinstance(released.dfew_scores(REPLIES, GOLD), Result)
    assert all(type(value) is float for value in released.mer_scores(["sad"], ["sad"]).values())
