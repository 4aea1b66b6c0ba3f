"""Facts measured in a clip, as text for a language model that writes and answers questions from them.

A small model reads times, facial movements and the voice more reliably from text than from pictures. A model trained
for it (`reads_facts` in its training facts) therefore gets them as the system message, and its text can be compared
with them afterwards. Training writes the same text from annotated data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emotion_qwen.faces.face_claims import PHRASES as FACE_PHRASES
from emotion_qwen.faces.face_claims import PLAIN
from emotion_qwen.media.voice_claims import PHRASES as VOICE_PHRASES
from emotion_qwen.questions import LANGUAGES
from emotion_qwen.records import Person, Utterance
from emotion_qwen.strings import Strings, in_language
from emotion_qwen.taxonomy import feeling_word

MOVEMENTS = 6
"""Maximum number of movements of a face that the facts list, so that a prompt stays short."""

FACTS: Strings = {
    "clip": ("Measured in a clip of {seconds:.1f} s:", "在{seconds:.1f}秒的片段中测得："),
    "picture": ("Measured in a picture:", "在图片中测得："),
    "person": ("Person {person}: {feelings}.", "人物{person}：{feelings}。"),
    "likeliest": (
        " Likeliest: {first} ({share:.0%}), {second} ({other:.0%}).",
        "最可能：{first}（{share:.0%}）、{second}（{other:.0%}）。",
    ),
    "together": (
        "Together: {first} ({share:.0%}), {second} ({other:.0%}).",
        "综合：{first}（{share:.0%}）、{second}（{other:.0%}）。",
    ),
    "face": ("Face of person {person}: {face}.", "人物{person}的面部：{face}。"),
    "voice": ("Voice: {voice}.", "声音：{voice}。"),
    "words_at": ("Said at {start:.1f} s: “{text}”", "{start:.1f}秒时说：“{text}”"),
    "words": ("Said: “{text}”", "说：“{text}”"),
    "context": ("Known: {text}", "已知：{text}"),
    "nobody": ("Nobody is seen.", "看不到人。"),
    "silent": ("No voice is heard.", "听不到人声。"),
    "span": ("{start:.1f}-{end:.1f} s", "{start:.1f}-{end:.1f}秒"),
    "instant": ("{start:.1f} s", "{start:.1f}秒"),
    "and": ("; ", "；"),
}
"""Measured facts as a model gets them, in English and Chinese."""
Shares = tuple[tuple[str, float], ...]
"""Emotions in the facts' language, each with its share, 0 to 1."""


@dataclass(frozen=True)
class Stretch:
    """Something that is true from `start` to `end`, in seconds.

    Attributes:
        word: a key of `face_claims.PHRASES` or `voice_claims.PHRASES`, or an emotion in the facts' language.
        start: seconds; 0 in a picture.
        end: seconds; 0 in a picture.
    """

    word: str
    start: float = 0.0
    end: float = 0.0


@dataclass(frozen=True)
class PersonFacts:
    """The measurements of one person.

    Attributes:
        person: number as reports show it, from 1.
        feelings: emotions over time, names in the facts' language; one for a picture.
        likeliest: the two likeliest emotions by the picture of the person, with their shares, larger first.
        face: movements of the face.
    """

    person: int
    feelings: tuple[Stretch, ...]
    likeliest: Shares = ()
    face: tuple[Stretch, ...] = ()


@dataclass(frozen=True)
class ClipFacts:
    """The measurements of a clip.

    Attributes:
        language: "en" or "zh".
        seconds: duration; 0 for a picture.
        people: everyone who is seen.
        voice: claims about the voice; those about all of it last from 0 to `seconds`.
        words: the spoken words.
        likeliest: the two likeliest emotions by all channels together, with their shares, larger first; the answer.
        context: what the user knows about the situation.
    """

    language: str
    seconds: float
    people: tuple[PersonFacts, ...] = ()
    voice: tuple[Stretch, ...] = ()
    words: tuple[Utterance, ...] = ()
    likeliest: Shares = ()
    context: str = ""

    @property
    def still(self) -> bool:
        """Whether the clip is a picture or has no duration."""
        return not self.seconds

    def during(self, stretches: Sequence[Stretch], start: float, end: float) -> tuple[Stretch, ...]:
        """Return the periods of which at least half is between two times; all of them in a picture."""
        if self.still:
            return tuple(stretches)
        return tuple(
            stretch
            for stretch in stretches
            if min(stretch.end, end) - max(stretch.start, start) >= (stretch.end - stretch.start) / 2
        )


def two_likeliest(distribution: Mapping[str, float], language: str) -> Shares:
    """Return the two likeliest labels of a distribution, said of a person, with their shares."""
    ranked = sorted(distribution.items(), key=lambda pair: -pair[1])[:2]
    return tuple((feeling_word(label, language), share) for label, share in ranked)


def person_facts(person: Person, seconds: float, language: str) -> PersonFacts:
    """Return the facts of a person in a report.

    Args:
        person: of the report.
        seconds: duration of the clip; 0 for a picture.
        language: "en" or "zh".
    """
    feelings = [
        Stretch(feeling_word(episode.label, language), round(episode.onset, 1), round(episode.offset, 1))
        for episode in person.episodes
    ]
    if not feelings:
        feelings = [Stretch(feeling_word(person.label, language), *_span(person.start, person.end, seconds))]
    moves = [movement for movement in person.face if movement.word not in PLAIN]
    longest = sorted(moves, key=lambda movement: movement.start - movement.end)[:MOVEMENTS]
    face = [Stretch(m.word, *_span(m.start, m.end, seconds)) for m in moves if m in longest]
    return PersonFacts(person.person, tuple(feelings), two_likeliest(person.distribution, language), tuple(face))


def _span(start: float, end: float, seconds: float) -> tuple[float, float]:
    return (round(start, 1), round(end, 1)) if seconds else (0.0, 0.0)


def facts_text(facts: ClipFacts) -> str:
    """Return the facts as text, one line per person, face, voice and words."""
    texts = in_language(FACTS, facts.language)
    form = "picture" if facts.still else "clip"
    lines = [texts[form].format(seconds=facts.seconds)]
    for person in facts.people:
        feelings = texts["and"].join(with_times(stretch.word, stretch, facts) for stretch in person.feelings)
        lines.append(texts["person"].format(person=person.person, feelings=feelings))
        if len(person.likeliest) > 1 and len(facts.people) > 1:
            lines[-1] += _likeliest("likeliest", person.likeliest, texts)
        if person.face:
            face = texts["and"].join(with_times(spoken_phrase(s.word, facts.language), s, facts) for s in person.face)
            lines.append(texts["face"].format(person=person.person, face=face))
    lines += [] if facts.people else [texts["nobody"]]
    if facts.voice:
        voice = texts["and"].join(with_times(spoken_phrase(s.word, facts.language), s, facts) for s in facts.voice)
        lines.append(texts["voice"].format(voice=voice))
    elif not facts.still:
        lines.append(texts["silent"])
    for utterance in facts.words:
        form = "words" if facts.still else "words_at"
        lines.append(texts[form].format(start=utterance.start, text=utterance.text.strip()))
    if facts.context:
        lines.append(texts["context"].format(text=facts.context))
    if len(facts.likeliest) > 1:
        lines.append(_likeliest("together", facts.likeliest, texts))
    return "\n".join(lines)


def _likeliest(form: str, shares: Shares, texts: dict[str, str]) -> str:
    (first, share), (second, other) = shares[:2]
    return texts[form].format(first=first, share=share, second=second, other=other)


def with_times(phrase: str, stretch: Stretch, facts: ClipFacts) -> str:
    """Return a phrase with its times; without times if it is true throughout."""
    if facts.still or (stretch.start <= 0 and stretch.end >= facts.seconds):
        return phrase
    return f"{phrase} {span_text(stretch, facts.language)}"


def span_text(stretch: Stretch, language: str) -> str:
    """Return the times of a period, such as `0.5-6.2 s`; `3.0 s` for something seen in one frame only."""
    form = "instant" if f"{stretch.start:.1f}" == f"{stretch.end:.1f}" else "span"
    return in_language(FACTS, language)[form].format(start=stretch.start, end=stretch.end)


def spoken_phrase(word: str, language: str) -> str:
    """Return the first phrase for a word about a face or a voice."""
    table = FACE_PHRASES if word in FACE_PHRASES else VOICE_PHRASES
    return table[word][LANGUAGES.index(language)][0]
