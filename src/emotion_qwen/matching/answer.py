"""Which label a reply gives as its answer, or why it gives none. The only place where free text becomes a label.

A reply may argue before it answers. Where it marks its answer (`<answer>`, `\\boxed{}`, a JSON key, "Final answer:",
最终答案：) only the marked part is read. Elsewhere the whole reply must state exactly one label of the set; two are
refused, unless words such as "the dominant emotion is" single one out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from emotion_qwen.matching.statements import check_language, plain, stated_concepts
from emotion_qwen.taxonomy import CONCEPTS, LabelSet, concept

EMPTY, UNFINISHED, REFUSED, NOTHING, SEVERAL = "empty", "unfinished", "refusal", "no label", "several labels"
"""Why a reply gives no label: without a letter; reasoning that never ended; a refusal; none stated; more than one."""


@dataclass(frozen=True)
class Reading:
    """What a reply was read as.

    Attributes:
        label: as the label set spells it; None if the reply is unparsed.
        why: empty for a label, else one of EMPTY, UNFINISHED, REFUSED, NOTHING, SEVERAL.
    """

    label: str | None
    why: str = ""


_THOUGHT_END, _THOUGHT = (re.compile(f"<{slash}think(?:ing)?>", re.IGNORECASE) for slash in ("/", ""))
_KEYS = "final[_ ]?answer|answer|emotion|label|prediction|category|最终答案|答案|情绪|情感|标签|类别"
_ENCLOSED = (
    re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE),
    re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}"),
    re.compile(rf"[\"'](?:{_KEYS})[\"']\s*:\s*(\"[^\"]*\"|'[^']*'|\[[^\]]*\])", re.IGNORECASE),
)
# Both marks are searched in text as `plain` writes it.
_MARKED = re.compile(
    r"\b(?:answer|label|emotion|prediction|conclusion|verdict|classification)(?: label| category)?(?: is)?\s*[:=]"
    r"|\b(?:final |correct )(?:answer|label|emotion) is\b|\bthe answer is\b"
    "|(?:答案|情绪|情感|标签|结论|预测|分类)(?:类别|标签|词)?[是为]?\\s*:|答案[是为]|最终的?(?:情绪|情感)[是为]"
)
_SINGLED_OUT = re.compile(
    r"\b(?:dominant|primary|main|overall|predominant|prevailing|strongest|best|(?:most )?likel(?:y|iest)) (?:\w+ )?"
    r"(?:emotion|feeling|label|state|mood|expression|category|match|fit|choice|option|word|guess)\b[^.:\n]{0,40}?"
    r"\b(?:is|would be|seems to be|appears to be)\b"
    r"|\bi(?: would| will|'d|'ll)? (?:choose|pick|select|go with|answer|say|guess)\b"
    r"|\b(?:therefore|thus|hence|overall|in conclusion|in summary|to sum up|in short)\b"
    "|主要的?(?:情绪|情感)[是为]|选择?\\s*:|我选择?|综上(?:所述)?|总之|总的来说|因此|所以|最(?:符合|合适|接近)的.{0,3}[是为]"
)
_TRIES = 4
"""So many phrases that single out are tried, from the end."""
_SENTENCES = re.compile(r"[^.;!?。\n]+[.;!?。\n]?")
_REFUSAL = re.compile(
    r"\b(?:sorry|apologi[sz]e)\b|\bas an ai\b"
    r"|\b(?:can't|cannot|can not|unable to|not able to|impossible to) (?:\w+ )?(?:help|assist|determine|identify|tell"
    r"|say|see|watch|view|recogni[sz]e|judge|infer|answer)\b|抱歉|对不起|无法|不能(?:回答|判断|识别)|作为.{0,4}(?:人工智能|模型)"
)


def match_label(text: str, labels: LabelSet, language: str | None = None) -> str | None:
    """Return the label that a reply gives as its answer, or None; see `read_label`, which also says why."""
    return read_label(text, labels, language).label


def read_label(text: str, labels: LabelSet, language: str | None = None) -> Reading:
    """Read which label of a set a reply gives as its answer.

    Args:
        text: the reply of a model or a person.
        labels: the set to choose from; words of other concepts are passed over.
        language: "en" or "zh" to read only that language; None reads both.

    Raises:
        SettingsError: another language, or a label set with a word that no concept has.
    """
    check_language(language)
    text, why = without_reasoning(text)
    if why:
        return Reading(None, why)
    if not any(letter.isalnum() for letter in text):
        return Reading(None, EMPTY)
    enclosed = _enclosed(text)
    if enclosed is not None:
        return _reading(_found(enclosed, labels, language), enclosed)
    written = plain(text)
    marks = [mark.end() for mark in _MARKED.finditer(written)]
    if marks:
        answer = written[marks[-1] :]
        return _reading(_first_sentence(answer, labels, language), answer)
    found = _found(written, labels, language)
    if len(found) > 1:
        found = _singled_out(written, labels, language) or found
    return _reading(found, written)


def without_reasoning(text: str) -> tuple[str, str]:
    """Return what follows the reasoning that a reply marks as such, and UNFINISHED where that never ends (else "")."""
    text = _THOUGHT_END.split(text)[-1]
    return text, UNFINISHED if _THOUGHT.search(text) else ""


def answer_part(text: str) -> tuple[str, str]:
    """Return the part of a reply that is to be read, for answers that are no labels, and why nothing is (else "").

    That is what `<answer>`, `\\boxed{}` or a JSON key enclose, else all but the reasoning.
    """
    text, why = without_reasoning(text)
    enclosed = _enclosed(text)
    return (text if enclosed is None else enclosed.strip("\"'[] ")), why


def _reading(found: list[str], text: str) -> Reading:
    if len(found) == 1:
        return Reading(found[0])
    if found:
        return Reading(None, SEVERAL)
    return Reading(None, REFUSED if _REFUSAL.search(plain(text)) else NOTHING)


def _found(text: str, labels: LabelSet, language: str | None) -> list[str]:
    """Return the labels that a text states; a concept without a label of its own counts for the broader one."""
    label_of = {concept(label): label for label in labels.labels}
    stated = stated_concepts(text, language)
    named = {label_of.get(name) or label_of.get(CONCEPTS[name].broader) for name in stated}
    return [label for label in labels.labels if label in named]


def _enclosed(text: str) -> str | None:
    """Return what the strongest kind of mark encloses, the last time it does; None without one."""
    for kind in _ENCLOSED:
        parts = kind.findall(text)
        if parts:
            return parts[-1]
    return None


def _first_sentence(text: str, labels: LabelSet, language: str | None) -> list[str]:
    """Return the labels of the first sentence that states any."""
    for sentence in _SENTENCES.findall(text):
        found = _found(sentence, labels, language)
        if found:
            return found
    return []


def _singled_out(text: str, labels: LabelSet, language: str | None) -> list[str]:
    """Return the one label that the last singling-out phrase names, in its sentence or its first clause, or nothing."""
    for mark in list(_SINGLED_OUT.finditer(text))[: -_TRIES - 1 : -1]:  # the last one first
        for part in _parts(text[mark.end() :]):
            found = _found(part, labels, language)
            if len(found) == 1:
                return found
    return []


def _parts(text: str) -> Iterator[str]:
    sentence = _SENTENCES.match(text)
    if sentence:
        yield sentence.group()
        yield sentence.group().lstrip(" ,").partition(",")[0]
