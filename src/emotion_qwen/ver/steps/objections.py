"""The critic's objections to a description: its label is compared with its words, faces and known label, and its claims
with the measurements.

Every objection names its kind, and either the sentence that is contradicted or the label that the evidence supports.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from emotion_qwen.errors import SettingsError
from emotion_qwen.matching.statements import stated_concepts
from emotion_qwen.media.prosody import Prosody
from emotion_qwen.media.voice_claims import MEASURED, PHRASES, voice_claims, voice_claims_in
from emotion_qwen.taxonomy import LabelSet, concept
from emotion_qwen.ver.settings import CriticSettings
from emotion_qwen.ver.steps.facts import without_emotions
from emotion_qwen.ver.store.columns import Row
from emotion_qwen.ver.teachers.description import Description
from emotion_qwen.ver.teachers.prompts import PLACES
from emotion_qwen.verify.checking import TOLERANCE, split_sentences
from emotion_qwen.verify.explanations import read_explanations
from emotion_qwen.verify.verifier import Verifier, emotion_of

ABOUT_LABEL = ("words", "face", "known")
"""Kinds of objections to a label, one per source of evidence."""
ABOUT_TEXT = ("voice", "quote", "time", "place")
"""Kinds of objections to one sentence."""
_TIMES = {
    "en": re.compile(r"(\d+(?:\.\d+)?)\s*(?:s\b|seconds?\b)|(?<=from )(\d+(?:\.\d+)?)(?= to )", re.IGNORECASE),
    "zh": re.compile(r"(\d+(?:\.\d+)?)\s*秒|(?<=从)\s*(\d+(?:\.\d+)?)(?=\s*[至到])"),
}
_PERSON = {"en": re.compile(r"\b(?:person|face) (\d+)\b", re.IGNORECASE), "zh": re.compile(r"人物\s*(\d+)")}
_PLACE = {
    "en": re.compile(r"\b(?:on|at|to) the (left|right)\b(?! (?:hand|arm|side of (?:the|his|her) (?:face|mouth)))"
                     r"|\bin the (middle|cent(?:er|re))(?= of the (?:picture|frame|image)|[,.])", re.IGNORECASE),
    "zh": re.compile("(?:画面|镜头|位于)(?:的)?(左|右|中)(?:侧|边|间|央)"),
}  # fmt: skip
_SIDES = {"left": 0, "左": 0, "middle": 1, "center": 1, "centre": 1, "中": 1, "right": 2, "右": 2}
_QUOTES = re.compile('[“"「『]([^”"」』]{4,})[”"」』]')
_BORDER = 0.05
"""Share of the width around a border between left, middle and right in which both positions are correct."""


@dataclass(frozen=True)
class Objection:
    """One objection to a description.

    Attributes:
        kind: one of `ABOUT_LABEL` or `ABOUT_TEXT`, "rule" for those of the check, or "teacher".
        text: the objection, as reviewers and the teacher read it.
        language: of the description, "en" or "zh"; "" for both.
        sentence: the contradicted sentence; "" for an objection to the label.
        label: the label, as spelt in the label set, that the evidence supports; "" if it supports none.
    """

    kind: str
    text: str
    language: str = ""
    sentence: str = ""
    label: str = ""

    def packed(self) -> dict[str, str]:
        """Return the objection as JSON values."""
        return asdict(self)


def label_objections(
    record: Description, item: Row, language: str, labels: LabelSet, settings: CriticSettings
) -> Iterator[Objection]:
    """Yield the objections to the label of a description, at most one per source of evidence."""
    given = record.emotions[0]
    words, how = _words_say(record, language, labels, settings)
    if words and not words & {_meaning(concept(emotion), labels) for emotion in record.emotions}:
        text = f"label: {given!r}, but the text {how} {', '.join(sorted(words))}"
        yield Objection("words", text, language, label=_label_of(words, labels))
    if face := _face_says(item, given, settings):
        name, share, other = face
        text = f"label: {given!r}, but the face reads as {name} ({share:.0%}, {given} {other:.0%})"
        yield Objection("face", text, label=_label_of({name}, labels))
    known = str(item.get("known") or "")
    if known and (meant := _concept(known)) and meant != concept(given):
        text = f"label: {given!r}, but the source says {known!r}"
        yield Objection("known", text, label=_label_of({meant}, labels))


def text_objections(record: Description, item: Row, language: str) -> Iterator[Objection]:
    """Yield the objections to sentences of a description that measurements contradict."""
    for sentence in _sentences(record):
        bare = _QUOTES.sub(" ", sentence)
        for kind, text in (
            *_voice_faults(bare, item, language),
            *_quote_faults(sentence, item),
            *_time_faults(bare, item, language),
            *_place_faults(bare, item, language),
        ):
            yield Objection(kind, text, language, sentence)


def _words_say(record: Description, language: str, labels: LabelSet, settings: CriticSettings) -> tuple[set[str], str]:
    """Return the emotions that the words express, and how: stated, or read without being named.

    Only emotions that have a label, or count for one, can contradict one: "agitated" goes with most labels.
    """
    text = f"{record.description}\n{record.reasoning}"
    if stated := stated_concepts(text, language):
        return {meaning for name in stated if (meaning := _meaning(name, labels))}, "states"
    (reading,) = read_explanations([without_emotions(text)], Verifier.load())
    emotion = emotion_of(record.emotions[0])
    share = reading.shares.get(reading.emotion or "", 0.0)
    if emotion and reading.emotion and share >= settings.clear and reading.shares[emotion] <= settings.unlikely:
        return {reading.emotion}, "reads as"
    return set(), ""


def _face_says(item: Row, given: str, settings: CriticSettings) -> tuple[str, float, float] | None:
    """Return (emotion, its share, share of the label) if the main face contradicts the label; None otherwise."""
    shares: Mapping[str, float] = json.loads(item.get("shares") or "{}")
    emotion = emotion_of(given)
    if emotion is None or emotion not in shares:
        return None
    name = max(shares, key=lambda label: shares[label])
    if name == emotion or shares[name] < settings.clear or shares[emotion] > settings.unlikely:
        return None
    return name, shares[name], shares[emotion]


def _meaning(name: str, labels: LabelSet) -> str:
    """Return the concept itself if the set has a label for it, else the one of seven emotions that it counts for."""
    return name if any(concept(label) == name for label in labels.labels) else emotion_of(name) or ""


def _label_of(names: set[str], labels: LabelSet) -> str:
    """Return the only label of the set that means one of the concepts; "" for none or several."""
    fitting = [label for label in labels.labels if concept(label) in names]
    return fitting[0] if len(fitting) == 1 else ""


def _concept(label: str) -> str:
    try:
        return concept(label)
    except SettingsError:
        return ""  # a word of the manifest that no label set has


def _sentences(record: Description) -> list[str]:
    texts = (*record.facial_cues, record.voice, record.context, record.reasoning, record.description)
    return list(dict.fromkeys(sentence for text in texts for sentence in split_sentences(text)))


def _voice_faults(sentence: str, item: Row, language: str) -> Iterator[tuple[str, str]]:
    """Yield claims about the voice that differ from its measurements; clips without sound are handled by the check."""
    measured: dict[str, Any] = json.loads(item.get("prosody") or "{}")
    if not measured:
        return
    words = {claim.name: claim.word for claim in voice_claims(Prosody(**measured))}
    for word in voice_claims_in(sentence, language):
        name = MEASURED[word]
        if name in words and words[name] != word:
            claimed, right = (PHRASES[each][language == "zh"][0] for each in (word, words[name]))
            yield "voice", f"voice: {claimed!r}, but measured: {right}"


def _quote_faults(sentence: str, item: Row) -> Iterator[tuple[str, str]]:
    """Yield quotations of several words that are not among the known words."""
    known = _plain(" ".join(text for _, _, text in json.loads(item.get("words") or "[]")))
    if not known:
        return
    for quote in _QUOTES.findall(sentence):
        several = len(quote.split()) > 2 or len(re.findall("[\u4e00-\u9fff]", quote)) > 3
        if several and _plain(quote) not in known:
            yield "quote", f"quote: “{quote}”, but these words are not in the clip"


def _time_faults(sentence: str, item: Row, language: str) -> Iterator[tuple[str, str]]:
    """Yield times after the end of the clip."""
    seconds = float(item.get("seconds") or 0.0)
    for match in _TIMES[language].finditer(sentence) if seconds else ():
        time = float(match.group(1) or match.group(2))
        if time > seconds + TOLERANCE:
            yield "time", f"time: {time:g} s, but the clip ends at {seconds:.1f} s"


def _place_faults(sentence: str, item: Row, language: str) -> Iterator[tuple[str, str]]:
    """Yield places of a person that differ from those of the measured boxes.

    A sentence must name a person by number, unless only one was measured.
    """
    if voice_claims_in(sentence, language):
        return  # a pitch "in the middle" is not a place
    tracks = json.loads(item.get("tracks") or "[]")
    numbers = {int(number) for number in _PERSON[language].findall(sentence)} or ({1} if len(tracks) == 1 else set())
    stated = {_SIDES[next(filter(None, match.groups())).lower()] for match in _PLACE[language].finditer(sentence)}
    if len(numbers) != 1 or len(stated) != 1 or not 1 <= min(numbers) <= len(tracks):
        return
    (number,), (side,) = numbers, stated
    boxes = tracks[number - 1]["boxes"]
    middle = sum(box[0] + box[2] for box in boxes) / (2 * len(boxes))
    right = {min(2, max(0, int((middle + step) * 3))) for step in (-_BORDER, _BORDER)}
    if side not in right:
        names = PLACES[language]
        measured = names[min(2, int(middle * 3))]
        yield "place", f"place: person {number} {names[side]}, but the box is {measured} ({middle:.0%} of the width)"


def _plain(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())
