"""Count the claims of an explanation that the measurements confirm."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from emotion_qwen.records import EmotionReport
from emotion_qwen.verify.checking import split_sentences, verdicts
from emotion_qwen.verify.facts import ClipFacts, person_facts, two_likeliest

UNSTORED = ("voice", "time")
"""Kinds of claims about which a stored report contains no facts; see `facts_of_report`."""


@dataclass(frozen=True)
class ClaimCount:
    """Claims in a text.

    Attributes:
        checkable: number of claims about something that is measured.
        confirmed: number of those that the measurements confirm.
    """

    checkable: int = 0
    confirmed: int = 0


def count_claims(text: str, facts: ClipFacts, unmeasured: Collection[str] = ()) -> ClaimCount:
    """Count the claims of a text and those that the facts confirm.

    Args:
        text: in the language of the facts.
        facts: of the clip.
        unmeasured: kinds of claims that are left out because the facts do not cover them; see `checking.verdicts`.
    """
    right = [
        confirmed
        for sentence in split_sentences(text)
        for kind, _, confirmed in verdicts(sentence, facts)
        if kind not in unmeasured
    ]
    return ClaimCount(len(right), sum(right))


def facts_of_report(report: EmotionReport) -> ClipFacts:
    """Return the facts in a stored report: all but the measurements of the voice.

    Claims of the kinds `UNSTORED` must then be left out of `count_claims`, since a report names neither the voice's
    claims nor the length of the clip.
    """
    seconds = max([0.0, *(person.end for person in report.people), *(m.end for m in report.timeline)])
    seconds = round(seconds, 1) if report.timeline or any(person.timeline for person in report.people) else 0.0
    return ClipFacts(
        report.language,
        seconds,
        tuple(person_facts(person, seconds, report.language) for person in report.people),
        (),
        report.utterances,
        two_likeliest(report.distribution, report.language),
        report.context.strip(),
    )
