"""Verify the steps of reasoning in a report: against its label, against the measurements, and against themselves."""

from __future__ import annotations

from collections.abc import Mapping

from emotion_qwen.records import Verification
from emotion_qwen.taxonomy import LabelSet
from emotion_qwen.verify.claims import count_claims
from emotion_qwen.verify.explanations import read_explanations, steps_text
from emotion_qwen.verify.facts import ClipFacts
from emotion_qwen.verify.reflection import Writer, reflect
from emotion_qwen.verify.verifier import Verifier, emotion_of


def verify_steps(
    steps: Mapping[str, str], label: str, labels: LabelSet, facts: ClipFacts, writer: Writer,
    verifier: Verifier | None = None,
) -> Verification:  # fmt: skip
    """Verify steps of reasoning; the conclusion is left out, since it repeats the answer.

    Args:
        steps: step -> text.
        label: of the report.
        labels: its label set.
        facts: measured in the clip, in the language of the steps.
        writer: the model, which is asked once more, with the steps as its only input.
        verifier: None uses the shipped one.

    Raises:
        CheckpointError: see `Verifier.shares`.
    """
    text = steps_text(steps)
    (reading,) = read_explanations([text], verifier or Verifier.load())
    claims = count_claims(text, facts)
    (reflection,) = reflect(writer, [text], labels, facts.language)
    known = emotion_of(label)
    return Verification(
        emotion=reading.emotion,
        distribution=dict(reading.shares),
        agrees=None if known is None else reading.emotion == known,
        claims=claims.checkable,
        confirmed=claims.confirmed,
        reflected=reflection.label,
    )
