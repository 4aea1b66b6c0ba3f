"""Read the label that a reply gives as its answer, or the reason why it gives none.

This is the only module that turns free text into a label. A reply may reason before it answers: if it marks its answer
(`marked`), only the marked part is read. Otherwise the whole reply must state exactly one label of the set. Several
labels are refused, unless the reply ranks one first (`emphasis`) or singles one out with a phrase such as "I would
choose". Misspelt words and pictographs are read only if nothing else is stated (`spelling`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from emotion_qwen.matching.emphasis import LabelMention, put_first
from emotion_qwen.matching.marked import enclosed, marked
from emotion_qwen.matching.spelling import corrected
from emotion_qwen.matching.statements import check_language, plain, stated_mentions, without_speech
from emotion_qwen.taxonomy import CONCEPTS, LabelSet, concept_of_word

EMPTY, UNFINISHED, REFUSED, NOTHING, SEVERAL = "empty", "unfinished", "refusal", "no label", "several labels"
"""Why a reply gives no label: it has no letter, its reasoning does not end, it refuses, it states none or several."""


@dataclass(frozen=True)
class Reading:
    """The result of reading a reply.

    Attributes:
        label: as spelt in the label set; None if no label was read.
        why: empty if there is a label, else one of EMPTY, UNFINISHED, REFUSED, NOTHING, SEVERAL.
    """

    label: str | None
    why: str = ""


_THOUGHT_END, _THOUGHT = (re.compile(f"<{slash}think(?:ing)?>", re.IGNORECASE) for slash in ("/", ""))
_SINGLED_OUT = re.compile(
    r"\b(?:dominant|primary|main|overall|predominant|prevailing|strongest|best|(?:most )?likel(?:y|iest)) (?:\w+ )?"
    r"(?:emotion|feeling|label|state|mood|expression|category|match|fit|choice|option|word|guess)\b[^.:\n]{0,40}?"
    r"\b(?:is|would be|seems to be|appears to be)\b"
    r"|\bthe (?:\w+(?:'s)? )?(?:emotion|feeling|label)(?: \w+){0,5}? (?:is|would be)\b"
    r"|\bi(?: would| will|'d|'ll)? (?:choose|pick|select|go with|answer|say|guess|classify|label)\b"
    r"|\b(?:therefore|thus|hence|overall|in conclusion|in summary|to sum up|in short|in fact)\b"
    "|主要的?(?:情绪|情感)[是为]|选择?\\s*:|我选择?|综上(?:所述)?|总之|总的来说|因此|所以|最(?:符合|合适"
    "|接近)的.{0,3}[是为]"
    "|(?:情绪|情感)[是为]"
)
_TRIES = 4
"""Maximum number of singling-out phrases that are tried, from the end."""
_SENTENCES = re.compile(r"(?:[^.;!?。\n]|\.(?=\d))+[.;!?。\n]?")
_REFUSAL = re.compile(
    r"\b(?:sorry|apologi[sz]e)\b|\bas an ai\b"
    r"|\b(?:can't|cannot|can not|unable to|not able to|impossible to) (?:\w+ )?(?:help|assist|determine|identify|tell"
    r"|say|see|watch|view|recogni[sz]e|judge|infer|answer)\b|抱歉|对不起|无法|不能(?:回答|判断|识别)"
    r"|作为.{0,4}(?:人工智能|模型)"
)


def match_label(text: str, labels: LabelSet, language: str | None = None) -> str | None:
    """Return the label that a reply gives as its answer, or None; see `read_label`, which also says why."""
    return read_label(text, labels, language).label


def read_label(text: str, labels: LabelSet, language: str | None = None) -> Reading:
    """Read which label of a set a reply gives as its answer.

    Args:
        text: the reply of a model or a person.
        labels: the label set; words for other concepts are ignored.
        language: "en" or "zh" to read only that language; None reads both.

    Raises:
        SettingsError: unknown language, or a label that belongs to no concept.
    """
    check_language(language)
    text, why = without_reasoning(text)
    if why:
        return Reading(None, why)
    inner = enclosed(text)
    written = plain(without_speech(text) if inner is None else inner)
    reading = _read(written, labels, language, is_answer=inner is not None)
    if reading.why in (NOTHING, EMPTY) and language != "zh":
        respelt = corrected(written)
        if respelt != written:
            return _read(respelt, labels, language, is_answer=inner is not None)
    return reading


def _read(text: str, labels: LabelSet, language: str | None, is_answer: bool) -> Reading:
    """Read plain text: all of it if it is the answer itself, else its marked part if there is one."""
    if not any(letter.isalnum() for letter in text):
        return Reading(None, NOTHING if is_answer else EMPTY)
    parts = [] if is_answer else marked(text)
    for part in parts:
        stated = _first_sentence(part, labels, language)
        if stated:
            return _reading(stated, part)
    if parts:
        return _reading([], parts[0])
    return _reading(_found(text, labels, language), text)


def without_reasoning(text: str) -> tuple[str, str]:
    """Return the text after the marked reasoning of a reply, and UNFINISHED if the reasoning does not end (else "")."""
    text = _THOUGHT_END.split(text)[-1]
    return text, UNFINISHED if _THOUGHT.search(text) else ""


def answer_part(text: str) -> tuple[str, str]:
    """Return the answer part of a reply whose answer is not a label, and why there is none (else "").

    The answer part is the content of `<answer>`, `\\boxed{}` or a JSON key, or else everything after the reasoning.
    """
    text, why = without_reasoning(text)
    inner = enclosed(text)
    return (text if inner is None else inner.strip("\"'[] ")), why


def _reading(stated: list[str], text: str) -> Reading:
    if len(stated) == 1:
        return Reading(stated[0])
    if stated:
        return Reading(None, SEVERAL)
    return Reading(None, REFUSED if _REFUSAL.search(plain(text)) else NOTHING)


def _found(text: str, labels: LabelSet, language: str | None) -> list[str]:
    """Return the labels that plain text gives as its answer: one, unless several are stated with equal weight.

    A concept without its own label counts as its broader concept.
    """
    mentions = _mentions(text, labels, language)
    stated = put_first(text, mentions, len(labels.labels))
    return stated if len(stated) < 2 else _singled_out(text, mentions, len(labels.labels)) or stated


def _mentions(text: str, labels: LabelSet, language: str | None) -> list[LabelMention]:
    label_of = {concept_of_word().get(label.lower(), label): label for label in labels.labels}
    return [
        LabelMention(label, mention.start, mention.end)
        for mention in stated_mentions(text, language)
        if (label := label_of.get(mention.concept) or label_of.get(CONCEPTS[mention.concept].broader)) is not None
    ]


def _first_sentence(text: str, labels: LabelSet, language: str | None) -> list[str]:
    """Return the labels of the first sentence that states any."""
    for sentence in _SENTENCES.findall(text):
        stated = _found(sentence, labels, language)
        if stated:
            return stated
    return []


def _singled_out(text: str, mentions: Sequence[LabelMention], count: int) -> list[str]:
    """Return the label named by the last singling-out phrase in its sentence or first clause, or an empty list."""
    for mark in list(_SINGLED_OUT.finditer(text))[: -_TRIES - 1 : -1]:  # from the last to the first
        for end in _ends(text, mark.end()):
            stated = put_first(text, [m for m in mentions if mark.end() <= m.start and m.end <= end], count)
            if len(stated) == 1:
                return stated
    return []


def _ends(text: str, start: int) -> Iterator[int]:
    """Yield the end of the sentence that continues at `start`, and the end of its first clause."""
    sentence = _SENTENCES.match(text, start)
    if sentence:
        yield sentence.end()
        clause = re.compile(r"[ ,]*[^,]*").match(text, start, sentence.end())
        yield clause.end() if clause else sentence.end()
