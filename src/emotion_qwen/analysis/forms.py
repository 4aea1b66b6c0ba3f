"""Forms of reasoning: the steps that a model takes before it concludes, the content of each, and what can be checked.

The subject of each step, in both languages, is in `strings.THINKING`; the question and the JSON Schema follow from
both.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from emotion_qwen.errors import SettingsError, unknown_choice

TEXT, ACTIONS, UTTERANCE, LABEL = "text", "actions", "utterance", "label"
"""Content of a step: free text, phrases of `faces.face_claims` joined by semicolons, the text of one utterance, or a
name from the label set."""
MOST_ACTIONS = 5
"""Phrases of one step."""


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: key of `strings.THINKING`.
        holds: one of `TEXT`, `ACTIONS`, `UTTERANCE`, `LABEL`.
        channel: one of `records.CHANNELS`; the step is left out where the clip has none. "" if it is always taken.
        observes: whether it claims what was observed, so that its sentences are compared with the measurements.
    """

    name: str
    holds: str = TEXT
    channel: str = ""
    observes: bool = False


@dataclass(frozen=True)
class Form:
    """A form of reasoning.

    Attributes:
        name: the value of `--reasoning`.
        steps: in order.
        needs: the channel without which the form cannot be used; "" for none.
        checked: what is compared, and with what; for documentation.
        source: who proposed it.
    """

    name: str
    steps: tuple[Step, ...]
    needs: str
    checked: str
    source: str

    def fits(self, channels: Collection[str], utterances: Sequence[str]) -> bool:
        """Whether the form can be used for a clip with these channels and utterances."""
        return not self.needs or self.needs in channels or (self.needs == "words" and bool(utterances))

    def steps_for(self, channels: Collection[str]) -> tuple[Step, ...]:
        """Return the steps for the channels that a clip has."""
        return tuple(step for step in self.steps if not step.channel or step.channel in channels)


CONCLUSION = Step("conclusion", LABEL)
FORMS = {
    form.name: form
    for form in (
        Form(
            "steps",
            (
                Step("seen", channel="picture", observes=True),
                Step("heard", channel="sound", observes=True),
                Step("said", channel="words"),
                Step("meaning", observes=True),
                CONCLUSION,
            ),
            "",
            "movements, voice, times and emotions with the measurements; the conclusion with the measured label",
            "this project",
        ),
        Form(
            "reflect",
            (Step("trigger", observes=True), Step("reaction"), CONCLUSION),
            "",
            "the trigger with the measurements; the conclusion with the measured label",
            "EMO-R3, arXiv 2602.23802",
        ),
        Form(
            "tree",
            (Step("actions", ACTIONS, "picture", observes=True), Step("expression", observes=True), CONCLUSION),
            "picture",
            "movements with the measurements; the conclusion with the measured label",
            "VidEmo, arXiv 2511.02712",
        ),
        Form(
            "triplet",
            (Step("background"), Step("attribute"), Step("subject"), CONCLUSION),
            "picture",
            "the conclusion with the measured label",
            "EmoVerse, arXiv 2511.12554",
        ),
        Form(
            "cause",
            (Step("utterance", UTTERANCE), Step("link"), CONCLUSION),
            "words",
            "the conclusion with the measured label; the sentence is always one of the clip's",
            "M2SE, arXiv 2412.08049",
        ),
        Form(
            "reply",
            (Step("situation"), Step("other"), Step("own"), Step("managing"), Step("influence"), Step("answer")),
            "",
            "nothing",
            "ECoT, arXiv 2401.06836",
        ),
    )
}
"""By name."""


def form_named(name: str) -> Form:
    """Return a form.

    Raises:
        SettingsError: unknown name.
    """
    if name not in FORMS:
        raise SettingsError(unknown_choice("form of reasoning", name, tuple(FORMS)))
    return FORMS[name]
