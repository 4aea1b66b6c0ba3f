"""Rewards for single texts: right values, and no pay for silence, repetition or evasion."""

import pytest

from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.taxonomy import LABEL_SETS
from emotion_qwen.verify.claims import ClaimCount, count_claims
from emotion_qwen.verify.cues import clauses_of, cue_overlap, cue_overlaps
from emotion_qwen.verify.facts import ClipFacts, PersonFacts, Stretch
from emotion_qwen.verify.reflection import Reflection, reflect
from emotion_qwen.verify.rewards import (
    claims_reward,
    cue_reward,
    reflection_reward,
    reflection_rewards,
    tree_reward,
    verifier_reward,
)
from emotion_qwen.verify.tree import leaves_of, tree_overlap

FACTS = ClipFacts(
    "en", 8.0, (PersonFacts(1, (Stretch("sad", 0.5, 6.0),), face=(Stretch("broad smile", 1.0, 2.0),)),),
    likeliest=(("sad", 0.7), ("angry", 0.2)),
)  # fmt: skip
FER7 = LABEL_SETS["fer7"]
LONG = "He cries, tears run down. He is sad and lonely. A gloomy and mournful face. He looks so sad now and then today."


class Scripted:
    """Gives the next reply to every question, and remembers what was asked."""

    def __init__(self, *replies: str) -> None:
        self.replies, self.asked = list(replies), []

    def write(self, views, question, max_new_tokens=64):
        self.asked += list(zip(views, question, strict=True))
        return [self.replies.pop(0) for _ in views]


def test_an_explanation_that_says_the_opposite_earns_less(small_verifier):
    right, wrong = (verifier_reward(LONG, label, small_verifier) for label in ("sad", "happy"))
    assert right > 0.3 > wrong
    assert verifier_reward(LONG, "sadness", small_verifier) == right


def test_one_sentence_and_silence_earn_their_part_only(small_verifier):
    short = "He is sad and lonely."
    whole = verifier_reward(short, "sad", small_verifier, words=0)
    assert verifier_reward(short, "sad", small_verifier) == pytest.approx(whole * 5 / 24)
    assert verifier_reward(short * 9, "sad", small_verifier) == pytest.approx(whole * 5 / 24)
    assert verifier_reward(LONG, "sad", small_verifier) > 2 * verifier_reward(short, "sad", small_verifier)


def test_an_empty_text_earns_nothing_and_an_unknown_label_is_refused(small_verifier):
    assert [verifier_reward(text, "sad", small_verifier) for text in ("", " .", "?!")] == [0.0] * 3
    with pytest.raises(SettingsError, match="unknown emotion of the verifier 'contempt'"):
        verifier_reward(LONG, "contempt", small_verifier)


@pytest.mark.parametrize(
    ("text", "count", "reward"),
    [
        ("The smile is broad. The person is sad.", ClaimCount(2, 2), 1.0),
        ("The smile is broad. The eyes are wide. The person is angry.", ClaimCount(3, 2), 2 / 3),
        ("The smile is broad.", ClaimCount(1, 1), 0.5),
        ("The person is happy.", ClaimCount(1, 0), 0.0),
        ("Somebody is there.", ClaimCount(0, 0), 0.0),
        ("", ClaimCount(0, 0), 0.0),
    ],
)
def test_claims_are_confirmed_by_the_facts(text, count, reward):
    assert count_claims(text, FACTS) == count
    assert claims_reward(text, FACTS) == pytest.approx(reward)


def test_claims_of_kinds_that_were_not_measured_are_left_out():
    assert count_claims("The voice is high. The person is sad.", FACTS) == ClaimCount(2, 1)
    assert count_claims("The voice is high. The person is sad.", FACTS, ("voice",)) == ClaimCount(1, 1)


def test_clauses_are_what_stands_between_commas_and_conjunctions():
    assert clauses_of("She smiles broadly, her eyes shine and her voice is high. Oh, yes!") == [
        "She smiles broadly", "her eyes shine", "her voice is high", "Oh, yes",
    ]  # fmt: skip
    assert clauses_of("他面带微笑，声音很高。") == ["他面带微笑", "声音很高"]


def test_cues_of_a_text_against_itself_are_1_and_against_nothing_0(small_verifier):
    text = "She smiles broadly, her eyes shine, her voice is high."
    assert cue_overlap(text, text, small_verifier).f1 == pytest.approx(1)
    assert cue_overlap("", text, small_verifier).f1 == cue_overlap(text, "", small_verifier).f1 == 0


def test_recall_falls_with_missing_cues_and_precision_with_additional_ones(small_verifier):
    whole, half = "Her mouth smiles, tears run down.", "Her mouth smiles."
    (less, more) = cue_overlaps([half, whole], [whole, half], small_verifier)
    assert less.precision == pytest.approx(1) and less.recall < 0.8
    assert more.recall == pytest.approx(1) and more.precision < 0.8 and less.f1 == pytest.approx(more.f1)
    assert cue_reward(half, whole, small_verifier) > cue_reward("The train leaves at noon.", whole, small_verifier)


TREE = {"attributes": {"mouth": "smile", "brows": ["raised", "furrowed"]}, "expression": "Smiling", "emotion": "happy"}


def test_trees_are_compared_leaf_by_leaf():
    assert (("attributes", "brows"), "raised") in leaves_of(TREE) and len(leaves_of(TREE)) == 5
    given = {"attributes": {"mouth": " SMILE ", "brows": ["raised"], "eyes": "wide"}, "emotion": "sad", "voice": None}
    overlap = tree_overlap(given, TREE)
    assert (overlap.precision, overlap.recall) == (2 / 4, 2 / 5) and overlap.f1 == pytest.approx(2 * 2 / 9)
    assert tree_overlap(given, TREE, "attributes").recall == 2 / 3
    assert tree_overlap(given, TREE, "emotion").f1 == 0
    assert tree_reward(TREE, TREE) == 1 and tree_reward({}, TREE) == tree_reward("smile", TREE) == 0


def test_a_correct_tree_without_leaves_cannot_be_scored():
    with pytest.raises(DataError, match="the correct tree has no leaf at level 'voice'"):
        tree_overlap(TREE, TREE, "voice")


@pytest.mark.parametrize(
    ("reply", "describes"),
    [
        ("No, the eyes are open.", False),  # "eyes" contains "yes"
        ("Yes, I know it.", True),  # "know" contains "no"
        ("I know the eyes.", None),
        ("maybe", None),
        ("yes and no", None),
        ("是的", True),
        ("不是", False),
        ("", None),
    ],
)
def test_opinions_are_whole_words(reply, describes):
    writer = Scripted("sad", reply)
    (reflection,) = reflect(writer, ["He cries."], FER7, "en", [["picture"]], ["He cries."])
    assert reflection == Reflection("sadness", describes)
    assert writer.asked[0][0] == [] and "He cries." in writer.asked[0][1] and "surprise" in writer.asked[0][1]
    assert writer.asked[1] == (["picture"], writer.asked[1][1]) and "yes or no" in writer.asked[1][1]


def test_empty_explanations_are_not_asked_about():
    writer = Scripted("anger")
    assert reflect(writer, ["", "他在喊。"], FER7, "zh") == [Reflection(), Reflection("anger")]
    assert len(writer.asked) == 1 and "愤怒" in writer.asked[0][1]


def test_reflection_pays_the_mean_of_what_was_asked():
    assert reflection_reward(Reflection("sadness", True), "sadness") == 1
    assert reflection_reward(Reflection("sadness", False), "sadness") == 0.5
    assert reflection_reward(Reflection("anger", True), "sadness") == 0.5
    assert reflection_reward(Reflection("sadness"), "sadness") == 1
    assert reflection_reward(Reflection(None), "sadness") == 0
    writer = Scripted("sad", "nothing", "happy")
    texts, answers = ["a b", "c d", "", "e f"], ["sadness", "sadness", "sadness", None]
    assert reflection_rewards(writer, texts, answers, FER7, "en") == [1.0, 0.0, 0.0, 0.0]
    with pytest.raises(DataError, match="1 explanations and 2 answers"):
        reflection_rewards(writer, ["a"], ["sad", "sad"], FER7, "en")
