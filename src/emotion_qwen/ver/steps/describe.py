"""Teachers: what is seen, heard and felt in a clip, as one strict record in each language.

A teacher at an endpoint sees frames, words and measurements and answers JSON; an answer that is not the agreed JSON is
asked for again with the fault named. A local model of ours cannot write such records; its descriptions are composed of
its report's cues and rationale, each of which is measured or marked as the model's own sentence.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from emotion_qwen.errors import DataError, MediaError
from emotion_qwen.matching.answer import match_label
from emotion_qwen.records import EmotionReport, Person
from emotion_qwen.taxonomy import LabelSet, concept_of_word, label_set
from emotion_qwen.ver.settings import DescribeSettings
from emotion_qwen.ver.steps.segment import KEPT, REJECTED
from emotion_qwen.ver.store.table import Row
from emotion_qwen.ver.teachers.calls import Caller, Refused
from emotion_qwen.ver.teachers.evidence import messages_for
from emotion_qwen.ver.teachers.prompts import MEND, OBJECT, TEXTS, answer_schema
from emotion_qwen.views.phrases import label_name

COLUMNS = {"clip": "text", "status": "text", "reason": "text", "en": "text", "zh": "text", "teacher": "text"}

ALONE = threading.Lock()
"""Held while a local model works: where an endpoint is called too, clips are worked on by many threads."""


class Unusable(DataError):
    """An answer that is not the agreed JSON, or holds what does not fit."""


@dataclass(frozen=True)
class Description:
    """What a teacher says of a clip, in one language; `emotions` are labels as the label set spells them in English."""

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
        """All texts, one a line."""
        return "\n".join([*self.facial_cues, *(getattr(self, name) for name in TEXTS)])

    def packed(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def unpacked(cls, text: str) -> Description:
        """Read what `packed` wrote."""
        fields = json.loads(text)
        lists = {name: tuple(fields[name]) for name in ("facial_cues", "emotions")}
        return cls(**{**fields, **lists})


class Teacher(Protocol):
    """Anything that describes clips."""

    @property
    def name(self) -> str:
        """What the data card calls it."""
        ...

    @property
    def revises(self) -> bool:
        """Whether objections can change what it says."""
        ...

    def describe(self, item: Row, language: str, objections: Sequence[str] = ()) -> Description:
        """Describe a clip in "en" or "zh", minding objections to an earlier answer.

        Raises:
            Unusable: no answer could be used.
        """
        ...


@dataclass(frozen=True)
class DescribeClip:
    """Describe one clip in all languages; a clip without a usable answer is rejected with the reason."""

    teacher: Teacher
    languages: tuple[str, ...]

    def __call__(self, item: Row) -> list[Row]:
        """Return one row."""
        row: Row = {
            "clip": item["clip"],
            "status": KEPT,
            "reason": "",
            "en": "",
            "zh": "",
            "teacher": self.teacher.name,
        }
        try:
            for language in self.languages:
                row[language] = self.teacher.describe(item, language).packed()
        except (Unusable, Refused, MediaError) as error:
            return [{**row, "en": "", "zh": "", "status": REJECTED, "reason": str(error)}]
        return [row]

    def lost(self, item: Row, reason: str) -> list[Row]:
        """Return one rejected row; see `engines.Work`."""
        return [{"clip": item["clip"], "status": REJECTED, "reason": reason}]


@dataclass(frozen=True)
class EndpointTeacher:
    """A vision model behind an endpoint."""

    caller: Caller
    settings: DescribeSettings
    folder: str
    revises: bool = True

    @property
    def name(self) -> str:
        """The model's name at the endpoint."""
        return self.caller.teacher.model

    def describe(self, item: Row, language: str, objections: Sequence[str] = ()) -> Description:
        """Ask the endpoint; see `Teacher`. Errors of calls are those of `Caller.ask`."""
        labels = label_set(self.settings.labels)
        messages = messages_for(item, Path(self.folder), self.settings, language)
        if objections:
            told = "\n".join(f"- {one}" for one in objections)
            messages[1]["content"].append({"type": "text", "text": OBJECT[language].format(faults=told)})
        schema = answer_schema(labels, language)
        fault = ""
        for _ in range(self.settings.repairs + 1):
            answer = self.caller.ask(messages, schema)
            text = answer.text
            try:
                return parse(text, labels, language)
            except Unusable as error:
                fault = str(error)
                if answer.cut:
                    most = self.caller.teacher.answer_tokens
                    fault = f"cut off after {most} tokens, answer_tokens of the teacher may be too few; {fault}"
                self.caller.ledger.count("unusable answer")
                messages = [
                    *messages[:2],
                    {"role": "assistant", "content": text[:4000] or "-"},
                    {"role": "user", "content": MEND[language].format(fault=fault)},
                ]
        raise Unusable(f"no usable {language} answer after {self.settings.repairs + 1} tries: {fault}")


def parse(text: str, labels: LabelSet, language: str) -> Description:
    """Read a teacher's answer strictly; a code fence around it is taken off, nothing is guessed.

    Raises:
        Unusable: it is not JSON, a key is missing or unknown, or a value does not fit.
    """
    fields = read_object(text)
    wanted = answer_schema(labels, language)["properties"]
    missing, unknown = [key for key in wanted if key not in fields], [key for key in fields if key not in wanted]
    if missing or unknown:
        raise Unusable(f"keys missing: {missing or 'none'}, keys unknown: {unknown or 'none'}")
    for key in ("people", "speaker"):
        if isinstance(fields[key], bool) or not isinstance(fields[key], int) or fields[key] < 0:
            raise Unusable(f"{key} is {fields[key]!r}; expected a whole number from 0")
    for key in ("valence", "arousal"):
        value = fields[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not -1 <= value <= 1:
            raise Unusable(f"{key} is {value!r}; expected a number from -1 to 1")
    for key in TEXTS:
        if not isinstance(fields[key], str):
            raise Unusable(f"{key} is {fields[key]!r}; expected text")
    for key in ("facial_cues", "emotions"):
        if not isinstance(fields[key], list) or not all(isinstance(one, str) for one in fields[key]):
            raise Unusable(f"{key} is {fields[key]!r}; expected a list of texts")
    emotions = [label_of(one, labels, language) for one in fields["emotions"]]
    if not 1 <= len(emotions) <= 3:
        raise Unusable(f"emotions has {len(emotions)} entries; expected one to three")
    return Description(
        **{key: fields[key] for key in ("people", "speaker")},
        facial_cues=tuple(one.strip() for one in fields["facial_cues"] if one.strip()),
        **{key: fields[key].strip() for key in TEXTS},
        emotions=tuple(dict.fromkeys(emotions)),
        valence=float(fields["valence"]),
        arousal=float(fields["arousal"]),
    )


def read_object(text: str) -> dict[str, Any]:
    """Read one JSON object, with or without a code fence around it.

    Raises:
        Unusable: it is none.
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
    """Return the label that a teacher's word means, spelled as the label set does.

    Raises:
        Unusable: it means none.
    """
    for names in (labels.names(language), labels.labels, labels.chinese):
        if text.strip() in names:
            return labels.labels[names.index(text.strip())]
    found = match_label(text, labels)
    if found is None:
        raise Unusable(f"emotion {text!r} is not one of {', '.join(labels.names(language))}")
    return found


@dataclass(frozen=True)
class LocalTeacher:
    """A local model of ours; its answers are composed of measurements and its own sentence."""

    model: str
    settings: DescribeSettings
    folder: str
    revises: bool = False

    @property
    def name(self) -> str:
        """The model's folder, or nano."""
        return Path(self.model).name if self.model else "nano"

    def describe(self, item: Row, language: str, objections: Sequence[str] = ()) -> Description:
        """Analyze the clip and compose a description; objections cannot be minded and change nothing."""
        with ALONE:
            report = analyzer(self.model).analyze(
                Path(self.folder) / item["media"], labels=self.settings.labels, language=language
            )
        return compose(report, item, language)


@cache
def analyzer(model: str) -> Any:
    """Load a local model, once a process; it serves one thread at a time, which holds `ALONE`."""
    from emotion_qwen.analysis.analyzer import EmotionQwen

    return EmotionQwen.load(model or None)


_COMPOSED: dict[str, dict[str, Any]] = {
    "en": {
        "seen": "From {start:.1f} to {end:.1f} s, the face of person {number}, {place}, shows {shown}",
        "still": "The face of person {number}, {place}, shows {shown}",
        "then": ", then {shown} until {end:.1f} s",
        "stop": ".",
        "neutral": "a neutral expression",
        "place": ("on the left", "in the middle", "on the right"),
        "moves": "The mouth of person {number} moves with the sound.",
        "said": 'The words are: "{words}"',
        "sum": "Overall, the clip shows {shown}.",
        "pleasant": "The expression is {valence} and {arousal}.",
        "valence": ("unpleasant", "neither pleasant nor unpleasant", "pleasant"),
        "arousal": ("calm", "moderately excited", "excited"),
    },
    "zh": {
        "seen": "{start:.1f} 至 {end:.1f} 秒，{place}人物 {number} 的面部表现出{shown}",
        "still": "{place}人物 {number} 的面部表现出{shown}",
        "then": "，随后转为{shown}，直到 {end:.1f} 秒",
        "stop": "。",
        "neutral": "中性表情",
        "place": ("画面左侧", "画面中间", "画面右侧"),
        "moves": "人物 {number} 的嘴部随声音活动。",
        "said": "台词是：“{words}”",
        "sum": "总体来看，片段表现出{shown}。",
        "pleasant": "表情{valence}、{arousal}。",
        "valence": ("不愉快", "谈不上愉快或不愉快", "愉快"),
        "arousal": ("平静", "略显激动", "激动"),
    },
}


def compose(report: EmotionReport, item: Row, language: str) -> Description:
    """Put a report into the form of a description: plain sentences about what was measured of faces, voice and words.

    What the model says of pictures with a part covered stays out: such figures explain an answer of the model, and are
    nothing that a description of the clip should teach.

    Raises:
        Unusable: the report gives no answer.
    """
    told = _COMPOSED[language]
    if report.label is None or report.valence_arousal is None or (report.uncertainty and report.uncertainty.abstains):
        raise Unusable("the model gives no answer about this clip")
    seen = [_person_sentence(report, person, number, told) for number, person in enumerate(report.people, 1)]
    speaker = item["speaker"] if item["speaker"] is not None else -1
    moves = [told["moves"].format(number=speaker + 1)] if 0 <= speaker < len(report.people) else []
    words = " ".join(text for _, _, text in json.loads(item["words"] or "[]"))
    ended = words.rstrip("\"'”’」』)）").endswith((".", "!", "?", "…", "。", "！", "？"))
    context = [told["said"].format(words=words) + ("" if ended else told["stop"])] if words else []
    valence, arousal = report.valence_arousal
    feeling = told["pleasant"].format(
        valence=told["valence"][1 + (valence > 0.25) - (valence < -0.25)],
        arousal=told["arousal"][1 + (arousal > 0.35) - (arousal < 0.0)],
    )
    space = " " if language == "en" else ""
    voice = str(item[f"voice_{language}"] or "")
    spoken = [voice] if voice else []
    total = told["sum"].format(shown=_shown(report, report.label, told))
    return Description(
        people=item["people"],
        speaker=speaker + 1 if moves else 0,
        facial_cues=(*seen, *moves),
        body="",
        voice=voice,
        scene="",
        context=space.join(context),
        reasoning=space.join([*seen, *moves, *spoken, total]),
        description=space.join([*seen, *moves, *spoken, *context, feeling, total]),
        emotions=(report.label,),
        valence=round(max(-1.0, min(1.0, valence)), 3),
        arousal=round(max(-1.0, min(1.0, arousal)), 3),
    )


def _person_sentence(report: EmotionReport, person: Person, number: int, told: dict[str, Any]) -> str:
    """Say where a person is and what the face shows, one after the other; neighbours of one label are one stretch."""
    middle = (person.box[0] + person.box[2]) / 2
    place = told["place"][max(0, min(2, int(middle * 3)))]
    stretches: list[tuple[str, float]] = []
    for one in person.episodes:
        if stretches and stretches[-1][0] == one.label:
            stretches.pop()
        stretches.append((one.label, one.offset))
    stretches = stretches or [(person.label, person.end)]
    start = person.episodes[0].onset if person.episodes else person.start
    form = told["seen"] if stretches[-1][1] > start else told["still"]
    label, end = stretches[0]
    text = form.format(start=start, end=end, number=number, place=place, shown=_shown(report, label, told))
    for label, end in stretches[1:]:
        text += told["then"].format(shown=_shown(report, label, told), end=end)
    return text + told["stop"]


def _shown(report: EmotionReport, label: str, told: dict[str, Any]) -> str:
    """Return what a face shows as a noun: `happy` is "happiness"."""
    name = concept_of_word().get(label.lower(), label)
    if name == "neutral":
        return told["neutral"]
    return name if report.language == "en" else label_name(report, label)
