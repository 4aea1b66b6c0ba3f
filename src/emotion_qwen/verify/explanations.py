"""Read which of seven emotions an explanation expresses, independently of its answer.

The explanation is the text that a model gives as its reasons, without the answer: the steps of `--reasoning` except the
conclusion, or the text between `<think>` tags. Each sentence is read twice: by the verifier, and for the emotions that
it states explicitly (`matching.statements`, which handles negation). If it states one, both count equally; otherwise
the verifier decides alone. Sentences that describe ("a man in a room") are neutral by nature, so the half of the
sentences that is most emotional decides how neutral the whole is: neither all descriptions nor one sentence alone can
decide. Every sentence contributes to the choice of the emotion in proportion to how emotional it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from emotion_qwen.matching.statements import stated_concepts
from emotion_qwen.verify.checking import split_sentences
from emotion_qwen.verify.verifier import EMOTIONS, NEUTRAL, Verifier, emotion_of

STATED = 0.5
"""Weight of the emotions that a sentence states, relative to those that the verifier reads in it."""
CONCLUSION = "conclusion"
"""The step of reasoning that gives the answer."""
_THOUGHT = re.compile(r"<think(?:ing)?>(.*?)(?:</think(?:ing)?>|$)", re.DOTALL | re.IGNORECASE)
_ANSWER = re.compile(r"<answer>.*?(?:</answer>|$)|\\boxed\{[^{}]*\}", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class ExplanationReading:
    """A verifier's reading of an explanation.

    Attributes:
        emotion: the likeliest of `verifier.EMOTIONS`; None for a text without a word.
        shares: emotion -> share; all 0 for a text without a word.
        sentences: number of different sentences.
        words: number of words and Chinese characters in different sentences.
    """

    emotion: str | None
    shares: Mapping[str, float]
    sentences: int
    words: int


def explanation_of(reply: str) -> str:
    """Return the explanation in a reply, without its answer.

    A JSON object counts as steps of reasoning; else the text between `<think>` tags is taken, else all text outside
    `<answer>` tags and boxes.
    """
    try:
        steps = json.loads(reply)
    except ValueError:
        steps = None
    if isinstance(steps, dict):
        return steps_text({str(step): text for step, text in steps.items() if isinstance(text, str)})
    thoughts = _THOUGHT.findall(reply)
    return _ANSWER.sub(" ", " ".join(thoughts) if thoughts else reply).strip()


def steps_text(steps: Mapping[str, str]) -> str:
    """Return the steps of reasoning as one text, without the conclusion; each becomes at least one sentence."""
    texts = [text.strip() for step, text in steps.items() if step != CONCLUSION and text.strip()]
    return "\n".join(text if text[-1] in ".!?。！？”" else f"{text}{_stop(text)}" for text in texts)


def _stop(text: str) -> str:
    return "。" if re.search("[\u3400-\u9fff]", text) else "."


def read_explanations(texts: Sequence[str], verifier: Verifier) -> list[ExplanationReading]:
    """Read which emotion each of N explanations expresses.

    Repeated sentences count once, so that a text does not gain by repetition.

    Raises:
        CheckpointError: a text is in a language that the verifier was not trained for.
    """
    parts = [list(dict.fromkeys(_sentences(text))) for text in texts]
    ends = np.cumsum([0, *map(len, parts)])
    shares = sentence_shares([sentence for sentences in parts for sentence in sentences], verifier)
    return [_reading(part, shares[begin:end]) for part, begin, end in zip(parts, ends, ends[1:], strict=False)]


def sentence_shares(sentences: Sequence[str], verifier: Verifier) -> np.ndarray:
    """Return the (S, 7) shares of S sentences, from the verifier and from stated emotions; see the module."""
    shares = verifier.shares(sentences)
    for row, sentence in enumerate(sentences):
        stated = {emotion for concept in stated_concepts(sentence) if (emotion := emotion_of(concept))}
        if stated:
            named = np.array([name in stated for name in EMOTIONS]) / len(stated)
            shares[row] = (1 - STATED) * shares[row] + STATED * named
    return shares


def _sentences(text: str) -> list[str]:
    lines = [sentence for line in text.splitlines() for sentence in split_sentences(line)]
    return [sentence for sentence in lines if any(map(str.isalnum, sentence))]


def _reading(sentences: Sequence[str], shares: np.ndarray) -> ExplanationReading:
    if not sentences:
        return ExplanationReading(None, dict.fromkeys(EMOTIONS, 0.0), 0, 0)
    pooled = pooled_shares(shares)
    named = {name: float(share) for name, share in zip(EMOTIONS, pooled, strict=True)}
    return ExplanationReading(EMOTIONS[int(pooled.argmax())], named, len(sentences), sum(map(_words, sentences)))


def pooled_shares(shares: np.ndarray) -> np.ndarray:
    """Return the (7,) shares of a text from the (S, 7) shares of its S sentences; see the module."""
    neutral = shares[:, NEUTRAL]
    calm = np.sort(neutral)[: (len(neutral) + 1) // 2].mean()
    emotional = np.delete(shares, NEUTRAL, axis=1).sum(axis=0)
    pooled = emotional / max(emotional.sum(), 1e-12) * (1 - calm)
    return np.insert(pooled, NEUTRAL, calm)


def _words(sentence: str) -> int:
    return len(re.findall("[\u3400-\u9fff]|[^\\W_\u3400-\u9fff]+", sentence))
