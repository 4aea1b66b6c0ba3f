"""Texts that a model writes about clips: one sentence about the person, or an account from measured facts, and
reasoning.

A model whose training facts contain `reads_facts` gets the facts of the clip as its system message (`facts`). Its
text is checked against them, sentence by sentence (`checking`). Any other model gets the view that shows the answer
best and writes one sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from emotion_qwen.analysis.clip_facts import facts_of
from emotion_qwen.analysis.forms import form_named
from emotion_qwen.analysis.glimpses import Glimpse, glimpses, whole
from emotion_qwen.analysis.reader import ViewReader
from emotion_qwen.analysis.reading import ClipReading
from emotion_qwen.analysis.reasoning import Prompt, Reasoning, safe_text, think
from emotion_qwen.analysis.report import Outline, denies_person
from emotion_qwen.engine.engine import Engine, View
from emotion_qwen.errors import MediaError
from emotion_qwen.prepare import PreparedClip
from emotion_qwen.questions import account_question, describe_question
from emotion_qwen.records import CHANNELS, EVOKED, GENERATED, PEOPLE, WHOLE, Sentence, Verification
from emotion_qwen.strings import PHRASES, SENTENCES, in_language
from emotion_qwen.verify.checking import Checked, check_text, without_repetition
from emotion_qwen.verify.facts import ClipFacts, facts_text
from emotion_qwen.verify.verification import verify_steps

ACCOUNT_TOKENS, ANSWER_TOKENS = 192, 96
"""Maximum lengths of an account and of an answer to a question, tokens."""
MOST_UTTERANCES = 40
"""Utterances among which a step of reasoning may choose."""


@dataclass(frozen=True, eq=False)
class Written:
    """The model's texts about a clip; `unread` if it denies the presence of a person whose face was detected.

    Attributes:
        text: the summary.
        steps: of reasoning, step -> text.
        reasoning: how the steps were requested.
        unread: see above.
        checked: the sentences of an account, each with what contradicts it; empty if the text was not checked.
        doubts: statements of the steps that contradict the measurements, one clause each.
        verification: of the steps.
    """

    text: str = ""
    steps: dict[str, str] = field(default_factory=dict)
    reasoning: Reasoning | None = None
    unread: bool = False
    checked: tuple[Checked, ...] = ()
    doubts: tuple[str, ...] = ()
    verification: Verification | None = None

    @property
    def sentences(self) -> tuple[Sentence, ...]:
        """The summary as generated sentences."""
        if self.checked:
            return tuple(Sentence(each.text, GENERATED, each.contradictions) for each in self.checked)
        return (Sentence(self.text, GENERATED),) if self.text else ()


def write(reader: ViewReader, readings: Sequence[ClipReading], outlines: Sequence[Outline]) -> list[Written]:
    """Write about every clip that has an answer, with reasoning steps if requested."""
    engine = reader.engine
    shown = [_telling(reading, outline) for reading, outline in zip(readings, outlines, strict=True)]
    wanted = [row for row, glimpse in enumerate(shown) if glimpse is not None]
    if reads_facts(engine) and all(readings[row].about == PEOPLE for row in wanted):
        facts = {row: facts_of(readings[row], outlines[row]) for row in wanted}
        texts = engine.write(
            [[] for _ in wanted],
            [account_question(readings[row].language) for row in wanted],
            ACCOUNT_TOKENS,
            system=[facts_text(facts[row]) for row in wanted],
        )
        texts = [without_repetition(text) for text in texts]
    else:
        facts = {}
        views = [_view(readings[row], shown[row]) for row in wanted]
        questions = {describe_question(readings[row].language, readings[row].about) for row in wanted}
        texts = reader.write(views, *questions) if wanted else []
    written = [Written() for _ in readings]
    for row, text in zip(wanted, texts, strict=True):
        written[row] = _about(engine, readings[row], outlines[row], shown[row], text, facts.get(row))
    return written


def _about(
    engine: Engine,
    reading: ClipReading,
    outline: Outline,
    glimpse: Glimpse | None,
    text: str,
    facts: ClipFacts | None,
) -> Written:
    """Check a text about a clip, and have the model reason about it; the steps are verified."""
    assert glimpse is not None  # only clips with a glimpse are written about
    unread = facts is None and glimpse.person is not None and denies_person(text)
    steps: dict[str, str] = {}
    doubts: list[str] = []
    verification = None
    thinking, label = reading.request.thinking, outline.conclusion.label
    if thinking is not None:
        prompt = _prompt(thinking, reading, glimpse, facts)
        view, system = (_view(reading, glimpse), "") if facts is None else ([], facts_text(facts))
        if prompt.form.fits(prompt.channels, prompt.utterances):
            steps = think(engine, view, prompt, thinking.sampling, facts=system)
        else:
            lacks = in_language(PHRASES, reading.language)[prompt.form.needs]
            doubts = [in_language(SENTENCES, reading.language)["unusable_form"].format(form=thinking.form, lacks=lacks)]
        if facts is not None:
            observed = [steps.get(step.name, "") for step in prompt.steps if step.observes]
            doubts += [
                clause for text in observed for each in check_text(text, facts) for clause in each.contradictions
            ]
        if label is not None and steps:
            measured = facts_of(reading, outline) if facts is None else facts
            verification = verify_steps(steps, label, reading.labels, measured, engine)
    checked = () if facts is None else tuple(check_text(text, facts))
    doubted = tuple(dict.fromkeys(doubts))
    return Written("" if unread else text, steps, thinking, unread, checked, doubted, verification)


def _prompt(thinking: Reasoning, reading: ClipReading, glimpse: Glimpse, facts: ClipFacts | None) -> Prompt:
    """Return the question for the steps; a model that reads facts is asked about their content."""
    spoken = reading.prepared.clip.utterances if facts is None else facts.words
    utterances = tuple(dict.fromkeys(text for each in spoken if (text := safe_text(each.text))))
    channels = tuple(glimpse.channels) if facts is None else _channels(facts)
    utterances = utterances[:MOST_UTTERANCES]
    return Prompt(form_named(thinking.form), channels, reading.labels, reading.language, facts is None, utterances)


def _channels(facts: ClipFacts) -> tuple[str, ...]:
    present = {"picture": bool(facts.people), "sound": bool(facts.voice), "words": bool(facts.words)}
    return tuple(channel for channel in CHANNELS if present.get(channel))


def _view(reading: ClipReading, glimpse: Glimpse | None) -> View:
    return [] if glimpse is None else glimpse.view(reading.channels, reading.language) or []


def _telling(reading: ClipReading, outline: Outline) -> Glimpse | None:
    """Return the glimpse that the model's sentences describe, which shows the answer best, or None."""
    if outline.conclusion.label is None or not trained_about(reading.engine, reading.about):
        return None
    if not reading.people and reading.about != PEOPLE and len(reading.prepared.shown.frames):
        return reading.whole
    leading = reading.labels.labels.index(outline.conclusion.label)
    return reading.glimpses[int(np.nanargmax(outline.shares[:, leading]))]


def trained_about(engine: Engine, about: str) -> bool:
    """Whether a model was trained for the question, by its training facts; all models were for "people"."""
    facts = engine.training_facts()
    return about != EVOKED or not facts or EVOKED in facts.get("about", ())


def reads_facts(engine: Engine) -> bool:
    """Whether a model was trained to write from measured facts, by its training facts."""
    return bool(engine.training_facts().get("reads_facts"))


def language_of(text: str) -> str:
    """Return "zh" for a text with Chinese characters, else "en"."""
    return "zh" if any("\u3400" <= letter <= "\u9fff" for letter in text) else "en"


def asked_view(prepared: PreparedClip, context: str = "", *, hears: bool) -> View:
    """Return the message parts with which a free question about a clip is asked.

    Raises:
        MediaError: the clip contains nothing that can be seen or heard.
    """
    shown = glimpses(prepared, context, hears=hears, about=WHOLE)
    if not shown:
        raise MediaError(
            f"{prepared.clip.source!r} has no picture, and no sound that is not silence; give another clip"
        )
    if prepared.people:
        most = max(prepared.people, key=lambda person: len(person.track.frames)).track.person
        shown = [glimpse for glimpse in shown if glimpse.person == most]
    elif len(prepared.shown.frames):
        shown = [whole(prepared, context, hears=hears, about=WHOLE)]
    return shown[len(shown) // 2].view(CHANNELS, "en") or []
