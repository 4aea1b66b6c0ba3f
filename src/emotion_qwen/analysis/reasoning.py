"""Structured thinking: the model says step by step what is seen, heard and said, what it means, and what follows.

The steps are one JSON object that the model is held to by a schema, so that it always parses. Each step but the last
begins with a few fixed words, which the schema prescribes and the model does not choose: a small model that was taught
short sentences says something to the point after them. The conclusion is one of the label set's names. All of it is
generated: it is the model's account of itself, and nobody has shown that a label rests on it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from emotion_qwen.engine.engine import Engine, Sampling, View
from emotion_qwen.errors import SettingsError, unknown_choice
from emotion_qwen.strings import BEGINNINGS, SENTENCES, THINKING, in_language
from emotion_qwen.taxonomy import LabelSet

FORMS = ("steps",)
LETTERS = {"en": 160, "zh": 60}
"""The most letters of a step, after its beginning."""
_CONTROLS = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
# What breaks lines or turns the direction of writing; a byte order mark; the sign of a character that was lost.
_UNSEEN = "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\ufffd"
UNSAFE = '"\\' + _CONTROLS + _UNSEEN
"""Characters that may not stand in a step: no escape is ever needed, and nothing is hidden."""
STEPS = {"seen": "picture", "heard": "sound", "said": "words", "meaning": "", "conclusion": ""}
"""Step -> the channel that it is about; a step of a channel that is absent is left out, "" is always there."""


@dataclass(frozen=True)
class Reasoning:
    """A request for structured thinking.

    Attributes:
        form: of `FORMS`.
        sampling: how its words are drawn.

    Raises:
        SettingsError: an unknown form.
    """

    form: str = "steps"
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise SettingsError(unknown_choice("form of reasoning", self.form, FORMS))

    def provenance(self, language: str, steps: Collection[str]) -> dict[str, object]:
        """Say how the steps came about, and which of their words are the schema's."""
        begun = {step: text for step, text in in_language(BEGINNINGS, language).items() if step in steps}
        return {
            "form": self.form,
            "temperature": float(self.sampling.temperature),
            "seed": self.sampling.seed,
            "fixed_beginnings": begun,
        }


def think(
    engine: Engine, view: View, channels: Collection[str], labels: LabelSet, language: str, sampling: Sampling
) -> dict[str, str]:
    """Let the model think about a view.

    Args:
        engine: the model.
        view: what it is asked about.
        channels: of `records.CHANNELS`, those that the view has.
        labels: the set of which the conclusion names one.
        language: "en" or "zh", of question, beginnings and conclusion.
        sampling: how words are drawn.

    Returns:
        Step -> text, in the order of `STEPS`.
    """
    steps = steps_of(channels)
    (text,) = engine.write(
        [view], steps_question(steps, labels, language), most_tokens(steps, labels, language), sampling=sampling,
        schema=schema_of(steps, labels, language),
    )  # fmt: skip
    return {step: written.strip() for step, written in json.loads(text).items()}


def steps_of(channels: Collection[str]) -> tuple[str, ...]:
    """Return the steps for what a view has."""
    return tuple(step for step, channel in STEPS.items() if not channel or channel in channels)


def schema_of(steps: Collection[str], labels: LabelSet, language: str) -> dict[str, Any]:
    """Return the JSON Schema of the steps: a beginning and free words each, and as conclusion one of the labels."""
    blank = " " if language == "en" else ""  # an English word is set off by a blank
    free = f"[^{_class(UNSAFE + ' ')}][^{_class(UNSAFE)}]{{0,{LETTERS[language] - 1}}}"
    described: dict[str, Any] = {
        step: {"type": "string", "pattern": f"^{text}{blank}{free}$"}
        for step, text in in_language(BEGINNINGS, language).items()
    }
    described["conclusion"] = {"enum": list(labels.names(language))}
    return {
        "type": "object",
        "properties": {step: described[step] for step in steps},
        "required": list(steps),
        "additionalProperties": False,
    }


def most_tokens(steps: Collection[str], labels: LabelSet, language: str) -> int:
    """Return the tokens of the longest answer that the schema allows, written byte by byte, and of its end."""
    words = " " + "\U0001f600" * LETTERS[language]  # no character has more than its four bytes
    longest = {step: text + words for step, text in in_language(BEGINNINGS, language).items()}
    longest["conclusion"] = max(labels.names(language), key=lambda name: len(name.encode()))
    return len(json.dumps({step: longest[step] for step in steps}, ensure_ascii=False).encode()) + 1


def _class(letters: str) -> str:
    """Return the inside of a character class of a regular expression."""
    return "".join(f"\\{letter}" if letter in "\\]^-" else letter for letter in letters)


def steps_question(steps: Collection[str], labels: LabelSet, language: str) -> str:
    """Return the question that asks for the steps."""
    texts, joint = in_language(THINKING, language), ", " if language == "en" else "、"
    listed = joint.join(f'"{step}": {texts[step]}' for step in steps)
    return texts["steps"].format(steps=listed.format(labels=joint.join(labels.names(language))))


def difference(steps: dict[str, str], label: str, labels: LabelSet, language: str) -> str | None:
    """Return the warning that the conclusion is not the measured label; None if it is."""
    measured = labels.names(language)[labels.labels.index(label)]
    concluded = steps.get("conclusion", measured)
    text = in_language(SENTENCES, language)["differs"]
    return None if concluded == measured else text.format(own=concluded, label=measured)
