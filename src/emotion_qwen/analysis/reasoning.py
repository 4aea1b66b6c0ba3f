"""Structured reasoning: the model states step by step what is seen, heard and said, its meaning, and a conclusion.

The steps form a JSON object that is constrained by a schema, so that it always parses. Each step but the last begins
with fixed words from the schema, after which a small model that was trained on short sentences gives a relevant answer.
The conclusion is one of the names of the label set. All steps are generated text: it has not been shown that the label
depends on them.
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
"""Maximum number of characters of a step after its fixed beginning."""
_CONTROLS = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
# Line breaks, changes of the writing direction, byte order marks, replacement characters.
_UNSEEN = "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\ufffd"
UNSAFE = '"\\' + _CONTROLS + _UNSEEN
"""Characters that steps must not contain, so that no escapes are needed and nothing is invisible."""
STEPS = {"seen": "picture", "heard": "sound", "said": "words", "meaning": "", "conclusion": ""}
"""Step -> its channel. A step is omitted if its channel is absent; steps with "" are always included."""


@dataclass(frozen=True)
class Reasoning:
    """A request for structured reasoning.

    Attributes:
        form: one of `FORMS`.
        sampling: how its tokens are sampled.

    Raises:
        SettingsError: unknown form.
    """

    form: str = "steps"
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise SettingsError(unknown_choice("form of reasoning", self.form, FORMS))

    def provenance(self, language: str, steps: Collection[str]) -> dict[str, object]:
        """Return how the steps were generated, and which words of the given steps are fixed by the schema."""
        begun = {step: text for step, text in in_language(BEGINNINGS, language).items() if step in steps}
        return {
            "form": self.form,
            "temperature": float(self.sampling.temperature),
            "seed": self.sampling.seed,
            "fixed_beginnings": begun,
        }


def think(
    engine: Engine,
    view: View,
    channels: Collection[str],
    labels: LabelSet,
    language: str,
    sampling: Sampling,
    facts: str = "",
) -> dict[str, str]:
    """Generate reasoning steps about a view.

    Args:
        engine: the model.
        view: the input of the question.
        channels: those of `records.CHANNELS` that the view has.
        labels: the label set from which the conclusion is chosen.
        language: "en" or "zh", for question, fixed beginnings and conclusion.
        sampling: how tokens are sampled.
        facts: text of the clip's measured facts, for a model that was trained to read them; its steps begin freely.

    Returns:
        Step -> text, in the order of `STEPS`.
    """
    steps = steps_of(channels)
    (text,) = engine.write(
        [view], steps_question(steps, labels, language), most_tokens(steps, labels, language), sampling=sampling,
        system=facts, schema=schema_of(steps, labels, language, begun=not facts),
    )  # fmt: skip
    return {step: written.strip() for step, written in json.loads(text).items()}


def steps_of(channels: Collection[str]) -> tuple[str, ...]:
    """Return the steps for the channels of a view."""
    return tuple(step for step, channel in STEPS.items() if not channel or channel in channels)


def schema_of(steps: Collection[str], labels: LabelSet, language: str, *, begun: bool = True) -> dict[str, Any]:
    """Return the JSON Schema of the steps: each a fixed beginning if `begun`, and free text; a label as conclusion."""
    blank = " " if language == "en" else ""  # English words are separated by a space
    free = f"[^{_class(UNSAFE + ' ')}][^{_class(UNSAFE)}]{{0,{LETTERS[language] - 1}}}"
    described: dict[str, Any] = {
        step: {"type": "string", "pattern": f"^{text + blank if begun else ''}{free}$"}
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
    """Return the number of tokens of the longest answer that the schema allows, at one token per byte, plus its end."""
    words = " " + "\U0001f600" * LETTERS[language]  # UTF-8 has at most four bytes per character
    longest = {step: text + words for step, text in in_language(BEGINNINGS, language).items()}
    longest["conclusion"] = max(labels.names(language), key=lambda name: len(name.encode()))
    return len(json.dumps({step: longest[step] for step in steps}, ensure_ascii=False).encode()) + 1


def _class(letters: str) -> str:
    """Return the inside of a character class of a regular expression."""
    return "".join(f"\\{letter}" if letter in "\\]^-" else letter for letter in letters)


def steps_question(steps: Collection[str], labels: LabelSet, language: str) -> str:
    """Return the question that requests the steps."""
    texts, joint = in_language(THINKING, language), ", " if language == "en" else "、"
    listed = joint.join(f'"{step}": {texts[step]}' for step in steps)
    return texts["steps"].format(steps=listed.format(labels=joint.join(labels.names(language))))


def difference(steps: dict[str, str], label: str, labels: LabelSet, language: str) -> str | None:
    """Return a warning if the conclusion differs from the measured label, else None."""
    measured = labels.names(language)[labels.labels.index(label)]
    concluded = steps.get("conclusion", measured)
    text = in_language(SENTENCES, language)["differs"]
    return None if concluded == measured else text.format(own=concluded, label=measured)
