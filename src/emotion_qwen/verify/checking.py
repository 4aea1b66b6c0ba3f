"""Check generated sentences against the measurements: movements, the voice, times, quotes and emotions.

A sentence may contain many statements that are not measured; these are not checked. A statement that can be checked and
is not among the facts is returned as a contradiction, in the language of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from emotion_qwen.faces.face_claims import claims_in, unknown_movements
from emotion_qwen.matching.statements import stated_concepts
from emotion_qwen.media.voice_claims import voice_claims_in
from emotion_qwen.strings import Strings, in_language
from emotion_qwen.taxonomy import concept_of_word, feeling_word
from emotion_qwen.verify.facts import ClipFacts, Stretch, spoken_phrase

CHECKS: Strings = {
    "movement": ("it was not measured that {claim}", "没有测到“{claim}”"),
    "voice": ("it was not measured that {claim}", "没有测到“{claim}”"),
    "time": ("nothing that was measured begins or ends at {claim} s", "没有测到在{claim}秒开始或结束的内容"),
    "quote": ("the words {claim} are not known", "没有{claim}这句话"),
    "emotion": ("{claim} is not among the measured emotions", "测得的情绪中没有{claim}"),
}
"""Contradictions of a generated sentence, in English and Chinese."""
TOLERANCE = 0.25
"""Seconds by which a time may differ from that of the facts."""
_SENTENCES = re.compile(r"(?:[^.!?。！？“]|\.(?=\d)|“[^”]*”)+[.!?。！？]*\s*")
_ENDS = (".", "!", "?", "。", "！", "？", "”")
_QUOTES = re.compile(r"“([^”]+)”")
_TIMES = re.compile(r"(\d+(?:\.\d+)?)\s*(?:s\b|秒)|(?<=from )(\d+(?:\.\d+)?)(?= to )")


@dataclass(frozen=True)
class Checked:
    """A generated sentence with its contradictions.

    Attributes:
        text: the sentence.
        claims: number of its claims that can be checked.
        contradictions: one clause for each claim that the measurements do not confirm.
    """

    text: str
    claims: int
    contradictions: tuple[str, ...] = ()


def split_sentences(text: str) -> list[str]:
    """Split a text at the end of sentences; quotes and decimal points stay whole."""
    return [match.group().strip() for match in _SENTENCES.finditer(text) if match.group().strip()]


def without_repetition(text: str) -> str:
    """Return a generated text up to its first repeated sentence, without an unfinished last sentence.

    Small models start again when they are finished. A text of one unfinished sentence is unchanged.
    """
    sentences = split_sentences(text)
    kept: list[str] = []
    for sentence in sentences:
        if sentence in kept or not sentence.endswith(_ENDS):
            break
        kept.append(sentence)
    joint = "" if any("\u4e00" <= letter <= "\u9fff" for letter in text) else " "
    return joint.join(kept or sentences[:1])


def check_text(text: str, facts: ClipFacts) -> list[Checked]:
    """Check a generated text sentence by sentence."""
    return [check_sentence(sentence, facts) for sentence in split_sentences(text)]


def check_sentence(sentence: str, facts: ClipFacts) -> Checked:
    """Check which claims of one sentence are not among the facts."""
    checkable = list(verdicts(sentence, facts))
    texts = in_language(CHECKS, facts.language)
    wrong = tuple(texts[kind].format(claim=claim) for kind, claim, right in checkable if not right)
    return Checked(sentence, len(checkable), wrong)


def verdicts(sentence: str, facts: ClipFacts) -> Iterator[tuple[str, str, bool]]:
    """Yield (kind, claim as words, whether the facts confirm it) of every claim that can be checked.

    Kinds are the keys of `CHECKS`: "movement", "voice", "time", "quote", "emotion".
    """
    unquoted = _QUOTES.sub("", sentence)
    language = facts.language
    movements = [stretch for person in facts.people for stretch in person.face]
    for word in claims_in(unquoted, language):
        yield "movement", spoken_phrase(word, language), word in _words(movements)
    for phrase in unknown_movements(unquoted) if language == "en" else ():
        yield "movement", phrase, False
    for word in voice_claims_in(unquoted, language):
        yield "voice", spoken_phrase(word, language), word in _words(facts.voice)
    times = [time for stretch in _stretches(facts) for time in (stretch.start, stretch.end)] + [facts.seconds]
    for match in _TIMES.finditer(unquoted):
        time = float(match.group(1) or match.group(2))
        near = any(abs(time - known) <= TOLERANCE for known in times)
        yield "time", match.group(1) or match.group(2), near or (not facts.still and _within(time, facts))
    for quote in _QUOTES.findall(sentence):
        yield "quote", f"“{quote}”", any(quote.strip() in utterance.text for utterance in facts.words)
    stated = {stretch.word for person in facts.people for stretch in person.feelings}
    stated |= {name for person in facts.people for name, _ in person.likeliest} | {name for name, _ in facts.likeliest}
    known = {concept_of_word().get(word.lower()) for word in stated}  # None for a user's own label that is no emotion
    for emotion in sorted(stated_concepts(unquoted, language)):
        yield "emotion", feeling_word(emotion, language), emotion in known


def _within(time: float, facts: ClipFacts) -> bool:
    """Whether a time is that of a word."""
    return any(abs(time - utterance.start) <= TOLERANCE for utterance in facts.words)


def _stretches(facts: ClipFacts) -> Iterator[Stretch]:
    for person in facts.people:
        yield from (*person.feelings, *person.face)
    yield from facts.voice


def _words(stretches: Iterable[Stretch]) -> set[str]:
    return {stretch.word for stretch in stretches}
