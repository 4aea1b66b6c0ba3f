"""The value of an explanation, as plain functions: each returns a number from 0 to 1 and never NaN.

They are the measures of this package for single texts, made safe for training: a short text, a repeated sentence, or a
text without checkable claims earns little, since a model trained on them would otherwise stop writing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from emotion_qwen.errors import DataError, SettingsError, unknown_choice
from emotion_qwen.taxonomy import LabelSet
from emotion_qwen.verify.checking import split_sentences, verdicts
from emotion_qwen.verify.cues import cue_overlap
from emotion_qwen.verify.explanations import read_explanations
from emotion_qwen.verify.facts import ClipFacts
from emotion_qwen.verify.reflection import Reflection, Writer, reflect
from emotion_qwen.verify.tree import tree_overlap
from emotion_qwen.verify.verifier import EMOTIONS, Verifier, emotion_of

WORDS = 24
"""Number of different words, or Chinese characters, from which an explanation counts in full."""
CLAIMS = 2
"""Number of checkable claims from which the share of confirmed ones counts in full."""


def verifier_reward(text: str, label: str, verifier: Verifier | None = None, words: int = WORDS) -> float:
    """Return how clearly an explanation expresses a label: the label's share, less for a short text.

    ERV gives 1 for one matching sentence and nothing otherwise. Here the share is that of the whole explanation, a
    repeated sentence counts once, and a text of fewer than `words` words gets the corresponding part.

    Args:
        text: the explanation without its answer (`explanations.explanation_of`); an empty one earns 0.
        label: any word for one of `verifier.EMOTIONS`.
        verifier: None uses the shipped one.
        words: see `WORDS`; with 0, short texts count in full.

    Raises:
        SettingsError: the label is none of these emotions.
        CheckpointError: see `Verifier.shares`.
    """
    return verifier_rewards([text], [label], verifier, words)[0]


def verifier_rewards(
    texts: Sequence[str], labels: Sequence[str], verifier: Verifier | None = None, words: int = WORDS
) -> list[float]:
    """Return the rewards of N explanations; see `verifier_reward`."""
    emotions = [emotion_of(label) for label in labels]
    for label, emotion in zip(labels, emotions, strict=True):
        if emotion is None:
            raise SettingsError(unknown_choice("emotion of the verifier", label, EMOTIONS))
    readings = read_explanations(texts, verifier or Verifier.load())
    return [
        reading.shares[emotion or ""] * (min(1.0, reading.words / words) if words else 1.0)
        for reading, emotion in zip(readings, emotions, strict=True)
    ]


def claims_reward(text: str, facts: ClipFacts, claims: int = CLAIMS, unmeasured: Collection[str] = ()) -> float:
    """Return the share of checkable claims that the facts confirm; fewer than `claims` of them earn less.

    A claim that is repeated counts once, and a text without any checkable claim earns 0.

    Args:
        text: in the language of the facts.
        facts: of the clip.
        claims: see `CLAIMS`.
        unmeasured: kinds of claims that are left out because the facts do not cover them; see `checking.verdicts`.
    """
    checked = {
        (kind, claim): confirmed
        for sentence in split_sentences(text)
        for kind, claim, confirmed in verdicts(sentence, facts)
        if kind not in unmeasured
    }
    return sum(checked.values()) / max(len(checked), claims, 1)


def cue_reward(text: str, right: str, verifier: Verifier | None = None) -> float:
    """Return F of the cues of a text and of the correct text; see `cues.cue_overlap`.

    It is above 0 for any two texts; compare it within a group of answers about one clip.
    """
    return cue_overlap(text, right, verifier or Verifier.load()).f1


def tree_reward(tree: Any, right: Any) -> float:
    """Return the F1 of two trees; see `tree.tree_overlap`.

    Raises:
        DataError: the correct tree has no leaf.
    """
    return tree_overlap(tree, right).f1


def reflection_reward(reflection: Reflection, label: str) -> float:
    """Return the share that asking again confirms: half for the label, half for the description if that was asked.

    If no opinion was requested, or it is neither yes nor no, the label decides alone. EMO-R3's code adds the two
    instead of averaging them, and gives half for a reply that cannot be read.
    """
    kept = float(reflection.label is not None and reflection.label == label)
    return kept if reflection.describes is None else (kept + reflection.describes) / 2


def reflection_rewards(
    writer: Writer, texts: Sequence[str], answers: Sequence[str | None], labels: LabelSet, language: str
) -> list[float]:
    """Ask a model again from N explanations alone, and return 1 where it names the answer again, else 0.

    Args:
        writer: the model.
        texts: N explanations without their conclusions.
        answers: N labels of the set, as the model gave them; None earns 0.
        labels: the label set.
        language: "en" or "zh", of the questions.

    Raises:
        DataError: the numbers of texts and answers differ.
    """
    if len(texts) != len(answers):
        raise DataError(f"{len(texts)} explanations and {len(answers)} answers; expected one answer for each")
    reflections = reflect(writer, texts, labels, language)
    return [
        0.0 if answer is None else reflection_reward(reflection, answer)
        for reflection, answer in zip(reflections, answers, strict=True)
    ]
