"""Structured thinking: the model says step by step what is seen, heard and said, what it means, and what follows.

The steps are one JSON object that the model writes under a grammar, so that it always parses. Each step but the last
begins with a few fixed words, which the grammar writes and not the model: a small model that was taught short sentences
says something to the point after them. The conclusion is one of the label set's names. All of it is generated: it is
the model's account of itself, and nobody has shown that a label rests on it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field

from emotion_qwen.errors import SettingsError, unknown_choice
from emotion_qwen.inference.engine import Engine, Sampling, View
from emotion_qwen.inference.grammar import Choice, Free, Literal, Part, json_object
from emotion_qwen.taxonomy import LabelSet

FORMS = ("steps",)
MAX_TOKENS = 40
"""Of a step, after its beginning."""
STEPS = {"seen": "picture", "heard": "sound", "said": "words", "meaning": "", "conclusion": ""}
"""Step -> the channel that it is about; a step of a channel that is absent is left out, "" is always there."""
BEGINNINGS = {
    "en": {
        "seen": "The person looks",
        "heard": "The voice sounds",
        "said": "The words sound",
        "meaning": "I think the person feels",
    },
    "zh": {
        "seen": "这个人看起来很",
        "heard": "声音听起来很",
        "said": "说的话显得很",
        "meaning": "我觉得这个人很",
    },
}
"""The fixed words that a step begins with; they belong to the grammar, not to the model."""
_ASKED = {
    "en": {
        "all": "Think step by step about what the person feels. Answer as JSON: {steps}.",
        "seen": "what is seen of the person",
        "heard": "what is heard",
        "said": "what is said",
        "meaning": "what this means in context",
        "conclusion": "one of {labels}",
    },
    "zh": {
        "all": "请一步一步地思考这个人的感受，并用 JSON 回答：{steps}。",
        "seen": "看到了什么",
        "heard": "听到了什么",
        "said": "说了什么",
        "meaning": "结合情境意味着什么",
        "conclusion": "从{labels}中选一个",
    },
}
_DIFFERS = {
    "en": "the reasoning concludes {own!r}, but the measured label is {label!r}; the label does not rest on it",
    "zh": "推理的结论是“{own}”，而测得的标签是“{label}”；标签并不以推理为依据",
}


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
        """Say how the steps came about, and which of their words are the grammar's."""
        begun = {step: text for step, text in BEGINNINGS[language].items() if step in steps}
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
    grammar = grammar_of(steps, labels, language)
    (text,) = engine.write([view], question(steps, labels, language), sampling=sampling, grammar=grammar)
    return {step: told.strip() for step, told in json.loads(text).items()}


def steps_of(channels: Collection[str]) -> tuple[str, ...]:
    """Return the steps for what a view has."""
    return tuple(step for step, channel in STEPS.items() if not channel or channel in channels)


def grammar_of(steps: Collection[str], labels: LabelSet, language: str) -> tuple[Part, ...]:
    """Return the grammar of the steps: a beginning and a free slot each, and of the conclusion a choice of labels."""
    slot = Free(MAX_TOKENS, begins=" " if language == "en" else "")  # an English word is set off by a blank
    begun: dict[str, tuple[Part, ...]] = {step: (Literal(text), slot) for step, text in BEGINNINGS[language].items()}
    begun["conclusion"] = (Choice(labels.names(language)),)
    return json_object({step: begun[step] for step in steps})


def question(steps: Collection[str], labels: LabelSet, language: str) -> str:
    """Return the question that asks for the steps."""
    asked, joint = _ASKED[language], ", " if language == "en" else "、"
    told = joint.join(f'"{step}": {asked[step]}' for step in steps)
    return asked["all"].format(steps=told.format(labels=joint.join(labels.names(language))))


def difference(steps: dict[str, str], label: str, labels: LabelSet, language: str) -> str | None:
    """Return the warning that the conclusion is not the measured label; None if it is."""
    measured = labels.names(language)[labels.labels.index(label)]
    own = steps.get("conclusion", measured)
    return None if own == measured else _DIFFERS[language].format(own=own, label=measured)
