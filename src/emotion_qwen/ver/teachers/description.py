"""The description of a clip, the interface of teachers, and the parser of their answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from emotion_qwen.errors import DataError
from emotion_qwen.matching.answer import match_label
from emotion_qwen.taxonomy import LabelSet
from emotion_qwen.ver.store.columns import Row
from emotion_qwen.ver.teachers.prompts import TEXTS, UNCLEAR, VERDICTS, answer_schema


class Unusable(DataError):
    """An answer that is not JSON of the agreed form, or that contains invalid values."""


@dataclass(frozen=True)
class Description:
    """A teacher's description of a clip in one language; `emotions` are English labels of the label set."""

    people: int
    speaker: int
    facial_cues: tuple[str, ...]
    body: str
    voice: str
    scene: str
    context: str
    reasoning: str
    description: str
    emotions: tuple[str, ...]
    valence: float
    arousal: float

    @property
    def texts(self) -> str:
        """All texts, one per line."""
        return "\n".join([*self.facial_cues, *(getattr(self, name) for name in TEXTS)])

    def packed(self) -> str:
        """Return the description as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def unpacked(cls, text: str) -> Description:
        """Read the output of `packed`."""
        fields = json.loads(text)
        lists = {name: tuple(fields[name]) for name in ("facial_cues", "emotions")}
        return cls(**{**fields, **lists})


class Teacher(Protocol):
    """Interface of models that describe clips and read emotions from texts."""

    @property
    def name(self) -> str:
        """Name in the data card."""
        ...

    @property
    def revises(self) -> bool:
        """Whether objections can change its answers."""
        ...

    def describe(self, item: Row, language: str, objections: Sequence[str] = ()) -> Description:
        """Describe a clip in "en" or "zh", given objections to an earlier answer.

        Raises:
            Unusable: there was no usable answer.
        """
        ...

    def read(self, text: str, language: str) -> str:
        """Return the label, in English, of the emotion that a text describes, or "unclear".

        Raises:
            Unusable: there was no usable answer.
        """
        ...


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_degree(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1 <= value <= 1


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("people", "speaker"), (_is_count, "a whole number from 0")),
    **dict.fromkeys(("valence", "arousal"), (_is_degree, "a number from -1 to 1")),
    **dict.fromkeys(TEXTS, (lambda value: isinstance(value, str), "text")),
    **dict.fromkeys(("facial_cues", "emotions"), (_is_list, "a list of texts")),
}


def parse_description(text: str, labels: LabelSet, language: str) -> Description:
    """Parse a teacher's answer strictly; a code fence around it is removed, and nothing is guessed.

    Raises:
        Unusable: it is not JSON, a key is missing or unknown, or a value does not fit.
    """
    fields = read_object(text)
    wanted = answer_schema(labels, language)["properties"]
    missing, unknown = [key for key in wanted if key not in fields], [key for key in fields if key not in wanted]
    if missing or unknown:
        raise Unusable(f"keys missing: {missing or 'none'}, keys unknown: {unknown or 'none'}")
    for key, (fits, expected) in _FORMS.items():
        if not fits(fields[key]):
            raise Unusable(f"{key} is {fields[key]!r}; expected {expected}")
    emotions = [label_of(emotion, labels, language) for emotion in fields["emotions"]]
    if not 1 <= len(emotions) <= 3:
        raise Unusable(f"emotions has {len(emotions)} entries; expected one to three")
    return Description(
        **fields
        | {key: fields[key].strip() for key in TEXTS}
        | {key: float(fields[key]) for key in ("valence", "arousal")}
        | {"facial_cues": tuple(cue.strip() for cue in fields["facial_cues"] if cue.strip())}
        | {"emotions": tuple(dict.fromkeys(emotions))}
    )


def parse_reading(text: str, labels: LabelSet, language: str) -> str:
    """Parse the label, or "unclear", of an independent reading.

    Raises:
        Unusable: it is not JSON, or the emotion is not a label.
    """
    emotion = str(read_object(text).get("emotion", "")).strip()
    return "unclear" if emotion in UNCLEAR.values() else label_of(emotion, labels, language)


def parse_judgement(text: str) -> tuple[str, str]:
    """Parse the verdict and the reason of a judgement.

    Raises:
        Unusable: it is not JSON, the verdict is unknown, or an objection has no reason.
    """
    fields = read_object(text)
    verdict, reason = str(fields.get("verdict", "")).strip(), str(fields.get("reason") or "").strip()
    if verdict not in VERDICTS:
        raise Unusable(f"verdict {verdict!r}; expected {', '.join(VERDICTS)}")
    if verdict != VERDICTS[0] and not reason:
        raise Unusable(f"verdict {verdict!r} without a reason")
    return verdict, reason


def read_object(text: str) -> dict[str, Any]:
    """Parse one JSON object, with or without a code fence around it.

    Raises:
        Unusable: the text is not a JSON object.
    """
    fence = re.fullmatch(r"\s*```(?:json)?\s*\n(.*?)\n?```\s*", text, re.DOTALL)
    try:
        fields = json.loads(fence[1] if fence else text)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"not JSON ({error}); it begins with {text[:40]!r}") from error
    if not isinstance(fields, dict):
        raise Unusable(f"a JSON {type(fields).__name__}; expected an object")
    return fields


def label_of(text: str, labels: LabelSet, language: str) -> str:
    """Return the label that matches a teacher's word, as spelled in the label set.

    Raises:
        Unusable: no label matches.
    """
    for names in (labels.names(language), labels.labels, labels.chinese):
        if text.strip() in names:
            return labels.labels[names.index(text.strip())]
    label = match_label(text, labels)
    if label is None:
        raise Unusable(f"emotion {text!r} is not one of {', '.join(labels.names(language))}")
    return label
