"""Reflection: ask a model again from its own reasoning, as EMO-R3 (2026) does, but greedily and with whole words.

Two questions: does the first step describe the clip (yes or no)? And from the steps alone, without the clip and without
the conclusion, which label fits? A model whose label follows from its reasons names the same label again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from emotion_qwen.engine.encoding import View
from emotion_qwen.matching.answer import match_label
from emotion_qwen.matching.yes_no import stated_answer
from emotion_qwen.questions import REFLECTION
from emotion_qwen.taxonomy import LabelSet

LABEL_TOKENS, YES_NO_TOKENS = 24, 8
"""Maximum lengths of the replies, in tokens."""


class Writer(Protocol):
    """Answers questions about views greedily, such as an `engine.Engine`."""

    def write(self, views: Sequence[View], question: Sequence[str], max_new_tokens: int = ...) -> list[str]:
        """Return one reply for each of the views."""


@dataclass(frozen=True)
class Reflection:
    """A model's replies when it is asked again.

    Attributes:
        label: of the label set, as read from the steps alone; None if the reply names none or there are no steps.
        describes: whether the first step describes the clip, in the model's own opinion; None if that was not asked,
            or the reply is neither yes nor no.
    """

    label: str | None = None
    describes: bool | None = None


def reflect(
    writer: Writer,
    explanations: Sequence[str],
    labels: LabelSet,
    language: str,
    views: Sequence[View] | None = None,
    first_steps: Sequence[str] | None = None,
) -> list[Reflection]:
    """Ask again about N explanations.

    Args:
        writer: the model.
        explanations: N texts without their conclusions (`explanations.steps_text`); empty ones are not asked about.
        labels: to choose from.
        language: "en" or "zh", of the questions.
        views: N views of the clips; without them it is not asked whether the first steps describe the clips.
        first_steps: N texts about what is seen or heard, for that question.

    Returns:
        N reflections.
    """
    joint = ", " if language == "en" else "、"
    names = joint.join(labels.names(language))
    replies = _asked(
        writer, [[] for _ in explanations],
        [text and REFLECTION["label"][language].format(text=text, labels=names) for text in explanations], LABEL_TOKENS,
    )  # fmt: skip
    opinions: Sequence[str] = [""] * len(explanations)
    if views is not None and first_steps is not None:
        questions = [text and REFLECTION["describes"][language].format(text=text) for text in first_steps]
        opinions = _asked(writer, views, questions, YES_NO_TOKENS)
    return [
        Reflection(match_label(reply, labels) if reply else None, _describes(opinion))
        for reply, opinion in zip(replies, opinions, strict=True)
    ]


def _asked(writer: Writer, views: Sequence[View], questions: Sequence[str], tokens: int) -> list[str]:
    """Ask all questions that are not empty; the others have an empty reply."""
    rows = [row for row, question in enumerate(questions) if question]
    replies = [""] * len(questions)
    if rows:
        written = writer.write([views[row] for row in rows], [questions[row] for row in rows], tokens)
        for row, reply in zip(rows, written, strict=True):
            replies[row] = reply
    return replies


def _describes(reply: str) -> bool | None:
    word, _ = stated_answer(reply) if reply else (None, "")
    return None if word is None else word == "yes"
