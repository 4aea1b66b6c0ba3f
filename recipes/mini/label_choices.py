"""The label sets of mini's closed questions, and the drawing of answers from people's votes."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from emotion_qwen.questions import label_question
from emotion_qwen.taxonomy import LabelSet, concept, concept_of_word, label_set

CLUE = LabelSet(
    "clue7",
    ("happiness", "sadness", "anger", "like", "disgust", "surprise", "fear"),
    ("高兴", "悲伤", "愤怒", "喜欢", "厌恶", "惊讶", "恐惧"),
    "CLUEmotionAnalysis2020, CLUEbenchmark",
)
WEIBO = LabelSet(
    "weibo6",
    ("happiness", "anger", "sadness", "fear", "surprise", "neutral"),
    ("高兴", "愤怒", "悲伤", "恐惧", "惊讶", "中性"),
    "SMP2020-EWECT",
)
ISEAR = LabelSet(
    "isear7",
    ("joy", "fear", "anger", "sadness", "disgust", "shame", "guilt"),
    ("喜悦", "恐惧", "愤怒", "悲伤", "厌恶", "羞愧", "内疚"),
    "ISEAR, Scherer and Wallbott, JPSP 1994",
)
SETS: dict[str, LabelSet] = {
    **{name: label_set(name) for name in ("dfew7", "fer7", "ekman", "ferplus8", "emodb7", "ravdess8", "mer6")},
    **{labels.name: labels for labels in (CLUE, WEIBO, ISEAR)},
}
SHARPNESS = 2.0
"""The probability of an answer is its votes to the power of this: mostly the majority's choice, sometimes another."""


def meanings(labels: LabelSet) -> tuple[str, ...]:
    """Return the concept of every label of a set; a label that is not a concept is returned unchanged."""
    return tuple(concept(name) if name in concept_of_word() else name for name in labels.labels)


CHOICES: dict[str, tuple[str, ...]] = {name: meanings(labels) for name, labels in SETS.items()}
"""Set -> the concepts behind its labels."""


def draw_set(meaning: str, names: Sequence[str], rng: random.Random) -> str:
    """Draw one of the named sets that has a label for a concept."""
    return rng.choice([name for name in names if meaning in CHOICES[name]])


def closed_question(name: str, language: str) -> str:
    """Return the closed question of inference over a set."""
    return label_question(SETS[name], language)


def answer(name: str, meaning: str, language: str) -> str:
    """Return the label of a set for a concept."""
    return SETS[name].names(language)[CHOICES[name].index(meaning)]


def drawn_meaning(votes: Mapping[str, float], name: str, rng: random.Random) -> str:
    """Draw the concept of an answer within a set, likelier the more people chose it."""
    chances = {meaning: votes.get(meaning, 0.0) ** SHARPNESS for meaning in CHOICES[name]}
    return rng.choices(list(chances), weights=list(chances.values()))[0]
