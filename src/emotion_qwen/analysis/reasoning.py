"""Structured reasoning: the model takes the steps of one of `forms.FORMS`, most of which end in a conclusion.

The steps form a JSON object that is constrained by a schema, so that it always parses. A step of free text begins with
fixed words from the schema, after which a small model that was trained on short sentences gives a relevant answer.
The conclusion is one of the names of the label set. All steps are generated text: it has not been shown that the label
depends on them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from emotion_qwen.analysis.forms import ACTIONS, LABEL, MOST_ACTIONS, TEXT, UTTERANCE, Form, Step, form_named
from emotion_qwen.engine.engine import Engine, Sampling, View
from emotion_qwen.faces.face_claims import PHRASES
from emotion_qwen.strings import BEGINNINGS, SENTENCES, THINKING, in_language
from emotion_qwen.taxonomy import LabelSet
from emotion_qwen.verify.facts import FACTS

LETTERS = {"en": 240, "zh": 100}
"""Maximum number of characters of a step after its fixed beginning."""
_CONTROLS = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
# Line breaks, changes of the writing direction, byte order marks, replacement characters.
_UNSEEN = "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\ufffd"
UNSAFE = '"\\' + _CONTROLS + _UNSEEN
"""Characters that steps must not contain, so that no escapes are needed and nothing is invisible."""


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
        form_named(self.form)

    def provenance(self, language: str, steps: Collection[str]) -> dict[str, object]:
        """Return how the steps were generated, and which words of the given steps are fixed by the schema."""
        begun = {step: text for step, text in in_language(BEGINNINGS, language).items() if step in steps}
        return {
            "form": self.form,
            "temperature": float(self.sampling.temperature),
            "seed": self.sampling.seed,
            "fixed_beginnings": begun,
        }


@dataclass(frozen=True)
class Prompt:
    """The question for the steps about one clip, and the JSON Schema of the answer.

    Attributes:
        form: which steps.
        channels: those of `records.CHANNELS` that the clip has; steps of others are left out.
        labels: from which the conclusion is chosen.
        language: "en" or "zh", for question, fixed beginnings and conclusion.
        begun: whether steps of free text begin with fixed words; a model that was trained for the steps needs none.
        utterances: what is said, for a step that chooses one of them.
    """

    form: Form
    channels: tuple[str, ...]
    labels: LabelSet
    language: str
    begun: bool = True
    utterances: tuple[str, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps to take."""
        return self.form.steps_for(self.channels)

    @property
    def question(self) -> str:
        """The question to the model."""
        texts, joint = in_language(THINKING, self.language), ", " if self.language == "en" else "、"
        listed = joint.join(f'"{step.name}": {texts[step.name]}' for step in self.steps)
        return texts.get(self.form.name, texts["steps"]).format(
            steps=listed.format(labels=joint.join(self.labels.names(self.language)))
        )

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the answer: an object with every step, in order."""
        return {
            "type": "object",
            "properties": {step.name: self._described(step) for step in self.steps},
            "required": [step.name for step in self.steps],
            "additionalProperties": False,
        }

    @property
    def most_tokens(self) -> int:
        """Tokens of the longest answer that the schema allows, at one token per byte, plus its end."""
        longest = {step.name: max(self._extremes(step), key=lambda text: len(text.encode())) for step in self.steps}
        return len(json.dumps(longest, ensure_ascii=False).encode()) + 1

    def _described(self, step: Step) -> dict[str, Any]:
        if step.holds == LABEL:
            return {"enum": list(self.labels.names(self.language))}
        if step.holds == UTTERANCE:
            return {"enum": list(self.utterances)}
        if step.holds == ACTIONS:
            phrase = "|".join(map(re.escape, self._actions()))
            return {"type": "string", "pattern": f"^({phrase})({self._joint}({phrase})){{0,{MOST_ACTIONS - 1}}}$"}
        free = f"[^{_class(UNSAFE + ' ')}][^{_class(UNSAFE)}]{{0,{LETTERS[self.language] - 1}}}"
        return {"type": "string", "pattern": f"^{self._beginning(step)}{free}$"}

    def _extremes(self, step: Step) -> list[str]:
        """Return texts that include the longest possible content of a step."""
        if step.holds == TEXT:  # UTF-8 has at most four bytes per character
            return [self._beginning(step) + "\U0001f600" * LETTERS[self.language]]
        if step.holds == ACTIONS:
            return [self._joint.join([phrase] * MOST_ACTIONS) for phrase in self._actions()]
        return list(self.labels.names(self.language) if step.holds == LABEL else self.utterances)

    def _beginning(self, step: Step) -> str:
        text = in_language(BEGINNINGS, self.language).get(step.name, "") if self.begun else ""
        return f"{text} " if text and self.language == "en" else text  # English words are separated by a space

    def _actions(self) -> list[str]:
        return [PHRASES[word][self.language == "zh"][0] for word in PHRASES]

    @property
    def _joint(self) -> str:
        return in_language(FACTS, self.language)["and"]


def think(engine: Engine, view: View, prompt: Prompt, sampling: Sampling, facts: str = "") -> dict[str, str]:
    """Generate the steps of reasoning about a view.

    Args:
        engine: the model.
        view: the input of the question.
        prompt: the question and the form of the answer.
        sampling: how tokens are sampled.
        facts: text of the clip's measured facts, for a model that was trained to read them.

    Returns:
        Step -> text, in order.
    """
    (text,) = engine.write(
        [view], prompt.question, prompt.most_tokens, sampling=sampling, system=facts, schema=prompt.schema
    )
    steps = {step: written.strip() for step, written in json.loads(text).items()}
    for step in prompt.steps:
        if step.holds == ACTIONS:  # the same phrase again says nothing more
            steps[step.name] = prompt._joint.join(dict.fromkeys(steps[step.name].split(prompt._joint)))
    return steps


def safe_text(text: str) -> str:
    """Return a text without the characters that steps must not contain."""
    return "".join(letter for letter in text if letter not in UNSAFE).strip()


def _class(letters: str) -> str:
    """Return the inside of a character class of a regular expression."""
    return "".join(f"\\{letter}" if letter in "\\]^-" else letter for letter in letters)


def difference(steps: dict[str, str], label: str, labels: LabelSet, language: str) -> str | None:
    """Return a warning if the conclusion differs from the measured label, else None."""
    measured = labels.names(language)[labels.labels.index(label)]
    concluded = steps.get("conclusion", measured)
    text = in_language(SENTENCES, language)["differs"]
    return None if concluded == measured else text.format(own=concluded, label=measured)
