"""Rules by which a reply puts one of several labels first, each with a reply that it must leave alone."""

from __future__ import annotations

import pytest

from emotion_qwen.matching.answer import match_label
from emotion_qwen.matching.statements import stated_concepts
from emotion_qwen.taxonomy import label_set


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Sad: high, neutral: low", "sad"),
        ("悲伤：高，恐惧：低", "sad"),
        ("Sad: high, neutral: high", None),
        ("Happy: 85%, neutral: 10%, surprise", "happy"),
        ("Happy: 30%, neutral: 20%, surprise", None),
        ("80% sad, 20% angry", "sad"),
        ("20% sad and 80% angry", "angry"),
        ("Sad 3/10, angry 7/10", "angry"),
        ("sad: 50 %, angry: 50 %", None),
        ("happy: 1, sad: 2, angry: 3", None),
        ("0: happy, 1: sad", None),
        ("Happy (0-2 s), sad (2-5 s)", None),
        ("1. Sad 2. Neutral 3. Other", None),
        ("1. Happy\n2. Sad", None),
        ("Ranking: 1. Happy 2. Sad", "happy"),
        ("sad > angry > fear", "sad"),
        ("sad -> angry", None),
        ("sad = angry", None),
        ("sad and angry, with slight fear", None),
        ("a hint of fear and disgust in an angry face", "angry"),
        ("slightly happy", "happy"),
        ("mostly sad and angry", None),
        ("mostly sad, hardly angry", "sad"),
        ("因悲伤而愤怒", "angry"),
        ("害怕愤怒的父亲", "fear"),
        ("愤怒而悲伤的男人", None),
        ("happy about the sad news", "happy"),
        ("from happy to sad", None),
        ("He chooses between happy, sad and angry.", None),
        ("Options: happy, sad, angry. It looks like fear", "fear"),
        ("happy, sad, angry. It looks like fear", None),
    ],
)
def test_which_of_several_labels_comes_first(reply: str, expected: str | None) -> None:
    assert match_label(reply, label_set("dfew7")) == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Emotion: sad\nFinal answer: unknown", None),
        ("Emotion: sad\nAnswer: see above", "sad"),
        ("Final answer: sad\nEmotion: angry", "sad"),
        ("Emotion: sad\nEmotion: angry", "angry"),
        ("Other emotion: angry", "angry"),
        ("Emotion: see below\nOther emotion: angry", None),
        ('{"emotion_reason": "an angry man", "emotion": "sad"}', "sad"),
        ('{"emotion": "sad", "emotion_reason": "an angry man"}', "sad"),
        ('{"emotion": {"happy": 0.2, "sad": 0.8}}', "sad"),
        ('{"happy": false, "sad": true}', "sad"),
        ('{"emotion": "sad", "explanation": "The man is ang', "sad"),
        ("{'primary_emotion': 'sad', 'secondary_emotion': 'angry'}", "sad"),
        ('[{"emotion": "sad"}, {"emotion": "angry"}]', None),
        ('{"valence": 0.2, "text": "sad"} angry', None),
        ("☐ happy\n☑ sad", "sad"),
    ],
)
def test_which_mark_counts(reply: str, expected: str | None) -> None:
    assert match_label(reply, label_set("dfew7")) == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("She shared her story.", None),
        ("The man started to speak.", None),
        ("The decision passed.", None),
        ("not suprised", None),
        ("Angry 😊", "angry"),
        ("😊😢", None),
        ("angryyyy", "angry"),
        ("frigthened", "fear"),
    ],
)
def test_misspelt_words_and_pictographs_only_where_nothing_is_stated(reply: str, expected: str | None) -> None:
    assert match_label(reply, label_set("dfew7")) == expected


@pytest.mark.parametrize(
    ("text", "concepts"),
    [
        ('She says: "I am so happy for you."', set()),
        ("He said 'I'm very happy with it' and cried in anger.", {"anger"}),
        ("他说：“我今天真的很高兴。”", set()),
        ("I would say “sad”.", {"sadness"}),
        ("He will be happy: 他会为此高兴", {"happiness"}),
        ("no frown, tears or other sign of anger, he is happy", {"happiness"}),
        ("He is happy, not sad, angry or tense", {"happiness"}),
        ("The boy is bored: 无聊、悲伤或愤怒", {"boredom", "sadness", "anger"}),
        ("less happy than sad", {"sadness"}),
        ("no signs of pain, anger and fear; he is happy", {"happiness"}),
    ],
)
def test_what_a_text_states(text: str, concepts: set[str]) -> None:
    assert stated_concepts(text) == concepts
