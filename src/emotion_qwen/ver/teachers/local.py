"""A local model as teacher and reader.

It cannot generate whole descriptions; they are composed from the measurements of faces, voice and words in its report.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from emotion_qwen.records import EmotionReport, Person
from emotion_qwen.strings import PHRASES, in_language
from emotion_qwen.taxonomy import concept_of_word, label_set
from emotion_qwen.ver.settings import DescribeSettings
from emotion_qwen.ver.store.columns import Row, speaker_of
from emotion_qwen.ver.teachers.description import Description, Unusable
from emotion_qwen.views.phrases import label_name
from emotion_qwen.views.sections import movement_lines

_ALONE = threading.Lock()  # held while a model runs: if an endpoint is called, too, many threads work on clips


@dataclass(frozen=True)
class LocalTeacher:
    """A local model; its answers are composed from measurements and its label."""

    model: str
    settings: DescribeSettings
    folder: str
    revises: bool = False

    @property
    def name(self) -> str:
        """The name of the model's folder, or nano."""
        return Path(self.model).name if self.model else "nano"

    def describe(self, item: Row, language: str, objections: Sequence[str] = ()) -> Description:
        """Analyze the clip and compose a description; objections change nothing."""
        with _ALONE:
            report = _analyzer(self.model).analyze(
                Path(self.folder) / item["media"], labels=self.settings.labels, language=language
            )
        return compose(report, item, language)

    def read(self, text: str, language: str) -> str:
        """Score the labels for the text; see `Teacher`."""
        from emotion_qwen.analysis.reader import label_reader

        labels = label_set(self.settings.labels)
        with _ALONE:
            reader = label_reader(_analyzer(self.model).engine, labels, language)
            scores, _ = reader.scores([{"type": "text", "text": text}])
        return labels.labels[int(scores[0].argmax())]


@cache
def _analyzer(model: str) -> Any:
    """Load a local model, once per process; only one thread may use it at a time, holding `_ALONE`."""
    from emotion_qwen.analysis.analyzer import Analyzer

    return Analyzer.load(model or None)


_COMPOSED: dict[str, dict[str, Any]] = {
    "en": {
        "seen": "From {start:.1f} to {end:.1f} s, the face of person {number}, {place}, shows {shown}",
        "still": "The face of person {number}, {place}, shows {shown}",
        "then": ", then {shown} until {end:.1f} s",
        "stop": ".",
        "face": "Movements of this face: {movements}.",
        "next": "; ",
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
        "face": "这张脸的动作：{movements}。",
        "next": "；",
        "neutral": "中性表情",
        "place": ("画面左侧", "画面中间", "画面右侧"),
        "moves": "人物 {number} 的嘴部随声音活动。",
        "said": "话语是：“{words}”",
        "sum": "总体来看，片段表现出{shown}。",
        "pleasant": "表情{valence}、{arousal}。",
        "valence": ("不愉快", "谈不上愉快或不愉快", "愉快"),
        "arousal": ("平静", "略显激动", "激动"),
    },
}


def compose(report: EmotionReport, item: Row, language: str) -> Description:
    """Convert a report to a description: plain sentences about the measurements of faces, voice and words.

    The model's answers for partly covered pictures are left out: they explain an answer of the model and do not belong
    in training descriptions of a clip.

    Raises:
        Unusable: the report gives no answer.
    """
    texts = _COMPOSED[language]
    if report.label is None or report.valence_arousal is None or (report.uncertainty and report.uncertainty.abstains):
        raise Unusable("the model gives no answer for this clip")
    seen = []
    for number, person in enumerate(report.people, 1):
        seen.append(_person_sentence(report, person, number, texts))
        lines = [line for line, _ in movement_lines(report, person, in_language(PHRASES, language))]
        if lines:
            seen.append(
                texts["face"].format(movements=texts["next"].join(line[:1].lower() + line[1:] for line in lines))
            )
    speaker = speaker_of(item)
    moves = [texts["moves"].format(number=speaker + 1)] if 0 <= speaker < len(report.people) else []
    words = " ".join(text for _, _, text in json.loads(item["words"] or "[]"))
    ended = words.rstrip("\"'”’」』)）").endswith((".", "!", "?", "…", "。", "！", "？"))
    context = [texts["said"].format(words=words) + ("" if ended else texts["stop"])] if words else []
    valence, arousal = report.valence_arousal
    feeling = texts["pleasant"].format(
        valence=texts["valence"][1 + (valence > 0.25) - (valence < -0.25)],
        arousal=texts["arousal"][1 + (arousal > 0.35) - (arousal < 0.0)],
    )
    space = " " if language == "en" else ""
    voice = str(item[f"voice_{language}"] or "")
    spoken = [voice] if voice else []
    total = texts["sum"].format(shown=_shown(report, report.label, texts))
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


def _person_sentence(report: EmotionReport, person: Person, number: int, texts: dict[str, Any]) -> str:
    """Describe where a person is and what the face shows over time; neighbouring episodes with one label are merged."""
    middle = (person.box[0] + person.box[2]) / 2
    place = texts["place"][max(0, min(2, int(middle * 3)))]
    stretches: list[tuple[str, float]] = []
    for episode in person.episodes:
        if stretches and stretches[-1][0] == episode.label:
            stretches.pop()
        stretches.append((episode.label, episode.offset))
    stretches = stretches or [(person.label, person.end)]
    start = person.episodes[0].onset if person.episodes else person.start
    form = texts["seen"] if stretches[-1][1] > start else texts["still"]
    label, end = stretches[0]
    text = form.format(start=start, end=end, number=number, place=place, shown=_shown(report, label, texts))
    for label, end in stretches[1:]:
        text += texts["then"].format(shown=_shown(report, label, texts), end=end)
    return text + texts["stop"]


def _shown(report: EmotionReport, label: str, texts: dict[str, Any]) -> str:
    """Return what a face shows as a noun: `happy` becomes "happiness"."""
    name = concept_of_word().get(label.lower(), label)
    if name == "neutral":
        return texts["neutral"]
    return name if report.language == "en" else label_name(report, label)
