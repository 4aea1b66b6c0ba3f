"""How an explanation is read."""

import json

import numpy as np
import pytest

from emotion_qwen.verify.explanations import (
    explanation_of,
    pooled_shares,
    read_explanations,
    sentence_shares,
    steps_text,
)
from emotion_qwen.verify.verifier import EMOTIONS, NEUTRAL

STEPS = {"seen": "She cries.", "meaning": "She is sad", "conclusion": "happy"}


@pytest.mark.parametrize(
    ("reply", "explanation"),
    [
        (json.dumps(STEPS), "She cries.\nShe is sad."),
        ("<think>He shouts.</think><answer>angry</answer>", "He shouts."),
        ("<think>He shouts.", "He shouts."),
        ("He shouts. <answer>angry</answer>", "He shouts."),
        (r"He shouts. \boxed{angry}", "He shouts."),
        ("<answer>angry</answer>", ""),
        ("<think></think>angry", ""),
        ("", ""),
    ],
)
def test_the_explanation_of_a_reply_is_without_its_answer(reply, explanation):
    assert explanation_of(reply) == explanation


def test_each_step_ends_a_sentence_in_its_language():
    assert steps_text({"seen": "他在哭", "said": "", "meaning": "伤心。", "conclusion": "悲伤"}) == "他在哭。\n伤心。"


def shares(**given: float) -> np.ndarray:
    row = np.zeros(7)
    for name, share in given.items():
        row[EMOTIONS.index(name)] = share
    row[NEUTRAL] += 1 - row.sum()
    return row


def test_pooled_shares_by_hand():
    sentences = np.stack([shares(sadness=0.8), shares(sadness=0.1, anger=0.3), shares(), shares()])
    pooled = pooled_shares(sentences)
    assert pooled[NEUTRAL] == pytest.approx((0.2 + 0.6) / 2)  # the more emotional half of four sentences
    assert pooled[EMOTIONS.index("sadness")] == pytest.approx(0.6 * 0.9 / 1.2)
    assert pooled[EMOTIONS.index("anger")] == pytest.approx(0.6 * 0.3 / 1.2)
    assert pooled_shares(np.stack([shares()] * 3))[NEUTRAL] == pytest.approx(1)


def test_one_emotional_sentence_among_many_descriptions_does_not_decide(small_verifier):
    described = "There is a table. A man in a room. The train leaves at noon. "
    assert read_explanations([described + "He is sad and lonely."], small_verifier)[0].emotion == "neutral"
    (both,) = read_explanations([described + "He is sad and lonely. Tears run down. A mournful face."], small_verifier)
    assert both.emotion == "sadness" and both.sentences == 6


def test_what_a_sentence_states_counts_as_much_as_what_the_verifier_reads(small_verifier):
    plain, stated, denied = sentence_shares(
        ["There is a table.", "There is a disgusted table.", "There is no disgusted table."], small_verifier
    )
    disgust = EMOTIONS.index("disgust")
    assert plain[disgust] < 0.05 and stated[disgust] > 0.5 > denied[disgust]
    assert stated.sum() == pytest.approx(1)
    (reading,) = read_explanations(["He is not happy at all, he feels deeply ashamed and sad."], small_verifier)
    assert reading.emotion == "sadness"


def test_a_repeated_sentence_counts_once(small_verifier):
    once, often = read_explanations(["She is so happy.", "She is so happy. " * 5], small_verifier)
    assert often == once and once.words == 4


def test_a_text_without_a_word_expresses_nothing(small_verifier):
    for reading in read_explanations(["", " \n", "...", "!?"], small_verifier):
        assert reading.emotion is None and set(reading.shares.values()) == {0.0} and not reading.words
    assert read_explanations([], small_verifier) == []
