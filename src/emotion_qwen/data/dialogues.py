"""Dialogues with emotions and their causes: the records of ECF and RECCON, and the question about causes.

A pair states that an utterance has an emotion and which utterance causes it. An utterance often causes its own emotion,
so the target itself is always a candidate.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from emotion_qwen.errors import DataError
from emotion_qwen.taxonomy import concept_of_word

QUESTION = {
    "en": (
        "Which utterances cause which emotions? For every utterance with an emotion, write its number, the emotion, a "
        "colon and the numbers of the utterances that cause it, such as “3 surprise: 1, 3”, separated by semicolons; "
        "write “none” if there is none.\n{lines}"
    ),
    "zh": (
        "哪些话引起了哪些情绪？对每句带有情绪的话，写出它的编号、情绪、冒号，以及引起该情绪的话的编号，"
        "例如“3 surprise: 1, 3”，各项用分号隔开；没有则写“none”。\n{lines}"
    ),
}
NONE = "none"
"""The answer for a dialogue without any cause."""
_OURS = re.compile(r"(\d+)\s+([^\W\d_]+)\s*[:：]\s*(\d+(?:\s*[,，、]\s*\d+)*)")
_PUBLISHED = re.compile(r"(\d+)_([^\W\d_]+)\s*[,，]\s*(\d+)")
_NONE = re.compile(r"\W*(?:none|无|没有)?\W*", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """One utterance of a dialogue; `emotion` is "" if it was not annotated."""

    speaker: str
    text: str
    emotion: str = ""


@dataclass(frozen=True, order=True)
class CausePair:
    """Utterance `cause` makes utterance `target` have an emotion; both are numbers from 1."""

    target: int
    emotion: str
    cause: int


@dataclass(frozen=True)
class Dialogue:
    """A dialogue and its pairs, in ascending order."""

    id: str
    lines: tuple[Line, ...]
    pairs: tuple[CausePair, ...] = ()

    def packed(self) -> str:
        """Return the dialogue as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def unpacked(cls, text: str) -> Dialogue:
        """Read the output of `packed`."""
        fields = json.loads(text)
        lines = tuple(Line(**line) for line in fields["lines"])
        return cls(fields["id"], lines, tuple(CausePair(**pair) for pair in fields["pairs"]))

    def question(self, language: str) -> str:
        """Return the question about all pairs, in "en" or "zh", with the numbered utterances."""
        lines = "\n".join(f"{number}. {said(line)}" for number, line in enumerate(self.lines, 1))
        return QUESTION[language].format(lines=lines)


def said(line: Line) -> str:
    """Return an utterance with its speaker."""
    return f"{line.speaker}: {line.text}" if line.speaker else line.text


def dialogue(identity: str, lines: Sequence[Line], pairs: Sequence[CausePair]) -> Dialogue:
    """Build a dialogue.

    Raises:
        DataError: there is no utterance, or a pair names an utterance that does not exist.
    """
    if not lines:
        raise DataError("the dialogue has no utterance; expected at least one")
    for pair in pairs:
        for number in (pair.target, pair.cause):
            if not 1 <= number <= len(lines):
                raise DataError(f"pair {pair.target}_{pair.emotion},{pair.cause}: there are {len(lines)} utterances")
    return Dialogue(identity, tuple(lines), tuple(sorted(set(pairs))))


def pairs_text(pairs: Sequence[CausePair]) -> str:
    """Return pairs as the answer to the question."""
    causes: dict[tuple[int, str], list[int]] = {}
    for pair in sorted(pairs):
        causes.setdefault((pair.target, pair.emotion), []).append(pair.cause)
    parts = (f"{target} {emotion}: {', '.join(map(str, numbers))}" for (target, emotion), numbers in causes.items())
    return "; ".join(parts) or NONE


def read_pairs(text: str) -> frozenset[CausePair] | None:
    """Read pairs in our format or in the published one (`3_surprise,1;3_surprise,3`); None if the text is neither.

    An empty text and "none" mean no pair. Numbers of utterances that do not exist are kept: they are wrong.
    """
    if _NONE.fullmatch(text):
        return frozenset()
    pairs = {
        CausePair(int(target), emotion_name(emotion), int(cause)) for target, emotion, cause in _PUBLISHED.findall(text)
    }
    for target, emotion, causes in _OURS.findall(text):
        pairs |= {CausePair(int(target), emotion_name(emotion), int(cause)) for cause in re.findall(r"\d+", causes)}
    return frozenset(pairs) or None


def emotion_name(word: str) -> str:
    """Return the concept that an emotion word means, `joy` -> "happiness"; the word itself in lower case otherwise."""
    return concept_of_word().get(word.strip().lower(), word.strip().lower())


def dialogue_of_ecf(record: Any) -> Dialogue:
    """Read one conversation of ECF: `conversation_ID`, `conversation`, and `emotion-cause_pairs` ["3_surprise", "1_…"].

    Raises:
        DataError: a key is missing or a pair cannot be read.
    """
    turns = _list(record, "conversation")
    numbers = {str(_key(turn, "utterance_ID")): place for place, turn in enumerate(turns, 1)}
    lines = [
        Line(str(turn.get("speaker", "")), str(_key(turn, "text")), str(turn.get("emotion", ""))) for turn in turns
    ]
    pairs = []
    for pair in record.get("emotion-cause_pairs", []):
        try:
            target, emotion = pair[0].split("_", 1)
            pairs.append(CausePair(numbers[target], emotion, numbers[pair[1].split("_", 1)[0]]))
        except (ValueError, KeyError, AttributeError, IndexError, TypeError) as error:
            raise DataError(f'pair {pair!r}; expected ["3_surprise", "1"] with numbers of utterances') from error
    return dialogue(str(_key(record, "conversation_ID")), lines, pairs)


def ecf_of_dialogue(whole: Dialogue) -> dict[str, Any]:
    """Return a dialogue as a conversation of ECF."""
    turns = [
        {"utterance_ID": number, "text": line.text, "speaker": line.speaker, "emotion": line.emotion}
        for number, line in enumerate(whole.lines, 1)
    ]
    pairs = [[f"{pair.target}_{pair.emotion}", str(pair.cause)] for pair in whole.pairs]
    return {"conversation_ID": whole.id, "conversation": turns, "emotion-cause_pairs": pairs}


_EVIDENCE = "expanded emotion cause evidence"


def dialogues_of_reccon(records: Any) -> Iterator[tuple[str, Any]]:
    """Yield (id, list of turns) of RECCON's object: id -> [[turn, …]]."""
    if not isinstance(records, dict):
        raise DataError(f"RECCON's file is a JSON {type(records).__name__}; expected an object of dialogues")
    yield from records.items()


def dialogue_of_reccon(identity: str, turns: Any) -> Dialogue:
    """Read one dialogue of RECCON; causes outside the dialogue (marked "b") are left out.

    Raises:
        DataError: a key is missing, or a cause is not the number of an utterance.
    """
    inner = turns[0] if isinstance(turns, list) and turns and isinstance(turns[0], list) else turns
    if not isinstance(inner, list):
        raise DataError(f"dialogue is a JSON {type(inner).__name__}; expected a list of turns")
    lines = [Line(str(_key(t, "speaker")), str(_key(t, "utterance")), str(t.get("emotion", ""))) for t in inner]
    pairs = [
        CausePair(number, str(turn["emotion"]), cause)
        for number, turn in enumerate(inner, 1)
        for cause in turn.get(_EVIDENCE, ())
        if isinstance(cause, int)
    ]
    return dialogue(identity, lines, pairs)


def reccon_of_dialogue(whole: Dialogue) -> list[list[dict[str, Any]]]:
    """Return a dialogue as RECCON's list of turns."""
    causes: dict[int, list[int]] = {}
    for pair in whole.pairs:
        causes.setdefault(pair.target, []).append(pair.cause)
    turns = []
    for number, line in enumerate(whole.lines, 1):
        turn: dict[str, Any] = {
            "turn": number,
            "speaker": line.speaker,
            "utterance": line.text,
            "emotion": line.emotion,
        }
        turns.append(turn | ({_EVIDENCE: causes[number]} if number in causes else {}))
    return [turns]


def _key(record: Any, key: str) -> Any:
    if not isinstance(record, dict) or key not in record:
        shown = sorted(record) if isinstance(record, dict) else type(record).__name__
        raise DataError(f"{key!r} is missing; the record has {shown}")
    return record[key]


def _list(record: Any, key: str) -> list[Any]:
    value = _key(record, key)
    if not isinstance(value, list):
        raise DataError(f"{key} is {type(value).__name__}; expected a list")
    return value
