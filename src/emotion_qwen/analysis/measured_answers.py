"""Answer a question about a clip from its measurements, without a model.

Who shows an emotion, when, what is shown at a time, what comes first, and whether it gets better or worse is known from
a report's timeline, and a small language model answers such questions hardly better than by chance. So they are
recognised by their words and answered by composed sentences; every other question is left to the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emotion_qwen.analysis.question_reading import EARLIER, LATER, OFFER, SAME, QuestionReading
from emotion_qwen.faces.face_claims import PLAIN
from emotion_qwen.matching.statements import plain
from emotion_qwen.strings import Strings, in_language
from emotion_qwen.taxonomy import CONCEPTS, concept_of_word, feeling_word
from emotion_qwen.verify.facts import MOVEMENTS, ClipFacts, PersonFacts, Stretch, spoken_phrase

CLEARLY = 0.25
"""Smallest difference of valence that counts as better or worse."""
NEAR = 0.15
"""Largest difference of two times that are the same after rounding, seconds."""
ANSWERS: Strings = {
    "person": ("person {number}", "人物{number}"),
    "the person": ("the person", "这个人"),
    "unknown": ("Person {number} is not in the clip.", "片段中没有人物{number}。"),
    "nobody": ("Nobody is seen.", "看不到人。"),
    "nobody is": ("Nobody looks {word}.", "没有人看起来{word}。"),
    "looks": ("{Who} looks {word} {times}.", "{who}{times}看起来{word}。"),
    "never": ("{Who} does not look {word} at any time.", "{who}始终没有显得{word}。"),
    "movement": ("It is measured that {phrase} {times}.", "测到{times}{phrase}。"),
    "no movement": ("It is not measured at any time that {phrase}.", "始终没有测到{phrase}。"),
    "throughout": ("throughout", "自始至终"),
    "span": ("from {start:.1f} to {end:.1f} s", "在{start:.1f}秒到{end:.1f}秒"),
    "instant": ("at {start:.1f} s", "在{start:.1f}秒时"),
    "at": ("At {time:.1f} s, {who} looks {word}.", "{time:.1f}秒时，{who}看起来{word}。"),
    "nothing at": ("At {time:.1f} s, no emotion of {who} was measured.", "{time:.1f}秒时没有测到{who}的情感。"),
    "after the end": ("The clip ends at {seconds:.1f} s.", "片段在{seconds:.1f}秒结束。"),
    "before": ("Before: first {first}, then {second}.", "之前：先是{first}，后是{second}。"),
    "after": ("After: first {first}, then {second}.", "之后：先是{first}，后是{second}。"),
    "order": ("First {first}, then {second}.", "先是{first}，后是{second}。"),
    "better": ("Better: from {first} to {second}.", "变好了：从{first}到{second}。"),
    "worse": ("Worse: from {first} to {second}.", "变差了：从{first}到{second}。"),
    "level": ("About the same: from {first} to {second}.", "差不多：从{first}到{second}。"),
    "same": ("About the same: {first}.", "差不多：一直是{first}。"),
    "count": ("{number} in all.", "共{number}人。"),
    "and": (" and ", "和"),
}  # fmt: skip


@dataclass(frozen=True)
class MeasuredAnswer:
    """An answer, and how to recognise it among offered options.

    Attributes:
        text: one sentence or more.
        fits: whether an offered option says the same.
    """

    text: str
    fits: Callable[[str], bool]


def measured_answer(question: str, facts: ClipFacts, labels: Sequence[str]) -> str | None:
    """Answer a question from measurements.

    Args:
        question: in the language of the facts.
        facts: of the clip.
        labels: that the measurements distinguish; a question about another emotion is left to the model.

    Returns:
        The answer, one of the options if the question offers the right one; None if the measurements do not have it.
    """
    wording, *offered = OFFER.split(question, maxsplit=1)
    reading = QuestionReading(plain(wording), facts.language)
    if any(emotion not in map(_concept, labels) for emotion in reading.emotions):
        return None
    answer = _Answers(reading, facts).answer()
    if answer is None:
        return None
    options = [option.strip(" .。?？!！") for option in re.split(r"[,，、;；/]|\bor\b|还是", "".join(offered))]
    fitting = [option for option in options if option and answer.fits(plain(option))]
    return fitting[0][:1].upper() + fitting[0][1:] if len(fitting) == 1 else answer.text


def _concept(word: str) -> str:
    return concept_of_word().get(word.strip().lower(), "")


class _Answers:
    """Answers to a question from the facts of a clip.

    Args:
        question: as it was read.
        facts: of the clip.
    """

    def __init__(self, question: QuestionReading, facts: ClipFacts) -> None:
        self.question, self.facts = question, facts
        self.say = in_language(ANSWERS, facts.language)
        self.people = [person for person in facts.people if not question.numbers or person.person in question.numbers]

    def answer(self) -> MeasuredAnswer | None:
        """Return the answer, if it was measured."""
        kind, numbers = self.question.kind, [person.person for person in self.facts.people]
        if kind == "count":
            return self._count(len(numbers))
        missing = [number for number in self.question.numbers if number not in numbers]
        if kind and numbers and missing:
            return self._sentence("unknown", _never, number=missing[0])
        if not self.people or self.facts.still:
            return None
        answers: dict[str, Callable[[], MeasuredAnswer | None]] = {
            "at": self._at, "order": self._order, "direction": self._direction, "who": self._who, "when": self._when,
            "movement": self._moved,
        }  # fmt: skip
        return answers[kind]() if kind else None

    def _count(self, number: int) -> MeasuredAnswer:
        if not number:
            return self._sentence("nobody", lambda option: "0" in option or "none" in option)
        return self._sentence("count", lambda option: str(number) in option, number=number)

    def _sentence(self, key: str, fits: Callable[[str], bool], **words: object) -> MeasuredAnswer:
        who = str(words.get("who", ""))
        return MeasuredAnswer(self.say[key].format(Who=who[:1].upper() + who[1:], **words), fits)

    def _joined(self, answers: Sequence[MeasuredAnswer]) -> MeasuredAnswer | None:
        """Return one answer of the answers about each person; options fit if there is one person."""
        if not answers:
            return None
        return MeasuredAnswer(self._together(answers), answers[0].fits if len(answers) == 1 else _never)

    def _together(self, answers: Sequence[MeasuredAnswer]) -> str:
        return ("" if self.facts.language == "zh" else " ").join(answer.text for answer in answers)

    def _name(self, person: PersonFacts) -> str:
        alone = len(self.facts.people) == 1
        return self.say["the person"] if alone else self.say["person"].format(number=person.person)

    def _times(self, stretches: Sequence[Stretch]) -> str:
        if any(each.start <= 0 and each.end >= self.facts.seconds for each in stretches):
            return self.say["throughout"]
        spans = [
            self.say["instant" if f"{each.start:.1f}" == f"{each.end:.1f}" else "span"].format(
                start=each.start, end=each.end
            )
            for each in stretches
        ]
        return self.say["and"].join(spans)

    def _at(self) -> MeasuredAnswer | None:
        time = self.question.time or 0.0
        if time > self.facts.seconds:
            return self._sentence("after the end", _never, seconds=self.facts.seconds)
        answers = []
        for person in self.people:
            shown = [each for each in person.feelings if each.start <= time <= each.end]
            if not shown:
                answers.append(self._sentence("nothing at", _never, time=time, who=self._name(person)))
                continue
            word = shown[0].word
            answers.append(self._sentence("at", _says(word), time=time, who=self._name(person), word=word))
        return self._joined(answers)

    def _order(self) -> MeasuredAnswer | None:
        starts = []
        for person in self.people:
            begins = {_concept(each.word): each.start for each in reversed(person.feelings)}
            if all(emotion in begins for emotion in self.question.emotions):
                starts.append(begins)
        if len(starts) != 1:  # nobody shows both, or it is not known who is meant
            return None
        first, second = sorted(self.question.emotions, key=lambda emotion: starts[0][emotion])
        words = {"first": feeling_word(first, self.facts.language), "second": feeling_word(second, self.facts.language)}
        if not (self.question.earlier or self.question.later):
            return self._sentence("order", _says(first), **words)
        key = "before" if first == self.question.emotions[0] else "after"
        sign = EARLIER if key == "before" else LATER
        return self._sentence(key, lambda option: bool(sign.search(option)) or _says(first)(option), **words)

    def _direction(self) -> MeasuredAnswer | None:
        if len(self.people) != 1:
            return None
        words = [each.word for each in self.people[0].feelings]
        concepts = [_concept(word) for word in words]
        if not concepts[0] or not concepts[-1]:
            return None
        moved = CONCEPTS[concepts[-1]].valence - CONCEPTS[concepts[0]].valence
        key = "better" if moved > CLEARLY else "worse" if moved < -CLEARLY else "level"
        sign = {"better": re.compile("better|好"), "worse": re.compile("worse|差|坏|糟"), "level": SAME}[key]
        others = "worse" if key == "better" else "better"

        def fits(option: str) -> bool:
            return bool(sign.search(option)) and others not in option and (key == "level" or not SAME.search(option))

        return self._sentence("same" if words[0] == words[-1] else key, fits, first=words[0], second=words[-1])

    def _who(self) -> MeasuredAnswer | None:
        (emotion,) = self.question.emotions
        word = feeling_word(emotion, self.facts.language)
        them = [
            (p.person, shown) for p in self.people if (shown := [s for s in p.feelings if _concept(s.word) == emotion])
        ]
        if not them:
            return self._sentence("nobody is", lambda option: "nobody" in option or "没有人" in option, word=word)
        wanted = {number for number, _ in them}
        parts = [
            self._sentence(
                "looks", lambda option: {int(each) for each in re.findall(r"\d+", option)} == wanted,
                who=self.say["person"].format(number=number), word=word, times=self._times(shown),
            )
            for number, shown in them
        ]  # fmt: skip
        return MeasuredAnswer(self._together(parts), parts[0].fits)

    def _when(self) -> MeasuredAnswer | None:
        (emotion,) = self.question.emotions
        answers = []
        for person in self.people:
            shown = [each for each in person.feelings if _concept(each.word) == emotion]
            words = {"who": self._name(person), "word": feeling_word(emotion, self.facts.language)}
            if shown:
                words["times"] = self._times(shown)
            answers.append(self._sentence("looks" if shown else "never", _spans(shown) if shown else _never, **words))
        return self._joined(answers)

    def _moved(self) -> MeasuredAnswer | None:
        if not any(person.face for person in self.facts.people) or set(self.question.movements) <= set(PLAIN):
            return None  # facial actions were not measured, or these are not listed
        shown = [each for person in self.people for each in person.face if each.word in self.question.movements]
        phrase = spoken_phrase(shown[0].word if shown else self.question.movements[0], self.facts.language)
        if not shown and any(len(person.face) >= MOVEMENTS for person in self.people):
            return None  # shorter movements are not listed
        if not shown:
            return self._sentence("no movement", _never, phrase=phrase)
        return self._sentence("movement", _spans(shown), phrase=phrase, times=self._times(shown))


def _never(option: str) -> bool:
    """No option says the same."""
    return False


def _says(word: str) -> Callable[[str], bool]:
    """Return a test of whether an option names the same emotion as a word."""
    return lambda option: bool(_concept(option)) and _concept(option) == _concept(word)


def _spans(stretches: Sequence[Stretch]) -> Callable[[str], bool]:
    """Return a test of whether the times in an option are those of the stretches."""

    def fits(option: str) -> bool:
        numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", option)]
        wanted = [edge for each in stretches for edge in (each.start, each.end)]
        return len(numbers) == len(wanted) and all(
            abs(number - edge) <= NEAR for number, edge in zip(numbers, wanted, strict=True)
        )

    return fits
