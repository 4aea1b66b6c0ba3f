"""Texts of the sections of a readable view; `terminal` and `markdown` define the layout."""

from __future__ import annotations

import math
from collections.abc import Iterator

from emotion_qwen.faces.face_claims import PHRASES, PLAIN, FaceClaim
from emotion_qwen.records import GENERATED, HEAD_ANGLES, Channel, Cue, EmotionReport, FacialMovement, Person, Sentence
from emotion_qwen.views.phrases import label_name, measurement, one_line, ranked, times, word_name
from emotion_qwen.views.playhead import is_still

Phrases = dict[str, str]
MOVEMENTS = 6
"""Maximum number of movements of a face that are shown."""
CLEAR = 0.5
"""Strength of a claim from which it counts as clear; the middle of an interval has this strength."""


def abstention(report: EmotionReport) -> str | None:
    """Return why the report abstains, or None."""
    doubt = report.uncertainty
    return doubt.reason if doubt and doubt.abstains else None


def time_span(start: float, end: float, say: Phrases) -> str:
    """Format a span of time."""
    return f"{start:.1f}–{end:.1f} {say['second']}"


def leading(report: EmotionReport, distribution: dict[str, float], count: int) -> list[str]:
    """Format the `count` largest shares of a distribution with the names of their labels, the largest first."""
    return [
        f"{label_name(report, label)} {share:.0%}" for label, share in ranked(distribution)[:count] if share >= 0.005
    ]


def channel_cells(report: EmotionReport, channel: Channel) -> tuple[str, str, str]:
    """Format a channel's own answer, its weight, and its effect on the answer."""
    share = channel.distribution.get(channel.label, 0.0)
    weight = "" if channel.weight is None else f"{channel.weight:.0%}"
    return f"{label_name(report, channel.label)} {share:.0%}", weight, times(math.exp(channel.moved))


def cue_place(report: EmotionReport, cue: Cue, say: Phrases) -> tuple[str, str]:
    """Format the time of a cue ("" in a picture), and its channel and person."""
    whose = "" if cue.person is None else f"{say['comma']}{say['person']} {cue.person}"
    return "" if is_still(report) else time_span(cue.start, cue.end, say), f"{say[cue.modality]}{whose}"


def movement_lines(report: EmotionReport, person: Person, say: Phrases) -> list[tuple[str, str]]:
    """Format the clearest movements of a person's face, in order of time.

    Movements with words of `PLAIN` are left out. Of equally clear ones, the longest come first.

    Returns:
        Per movement a sentence and the measurement behind it.
    """
    telling = [movement for movement in person.face if movement.word not in PLAIN]
    clearest = sorted(telling, key=lambda movement: (-_clearness(movement), movement.start - movement.end))[:MOVEMENTS]
    return [(_movement(report, movement, say), _figure(movement)) for movement in person.face if movement in clearest]


def _clearness(movement: FacialMovement) -> float:
    return min(FaceClaim(movement.name, movement.word, movement.value).strength, CLEAR)


def _movement(report: EmotionReport, movement: FacialMovement, say: Phrases) -> str:
    phrase = PHRASES[movement.word][report.language == "zh"][0]
    what = phrase[:1].upper() + phrase[1:]
    if is_still(report):
        return what
    brief = movement.end == movement.start
    when = f"{movement.start:.1f} {say['second']}" if brief else time_span(movement.start, movement.end, say)
    return say["aside"].format(what=what, aside=when)


def _figure(movement: FacialMovement) -> str:
    return f"{movement.name} {measurement(movement.value)}{'°' if movement.name in HEAD_ANGLES else ''}"


def rationale_lines(report: EmotionReport, say: Phrases) -> Iterator[tuple[Sentence, str]]:
    """Yield the sentences of the rationale, each with a note of its contradictions, or "".

    Of an account of several sentences, which is the summary, only those that the measurements contradict are repeated.
    """
    for sentence in report.rationale:
        repeats = sentence.kind == GENERATED and sentence.text in report.summary and sentence.text != report.summary
        if sentence.contradicted:
            yield sentence, say["contradicted"].format(what=say["semicolon"].join(sentence.contradicted))
        elif not repeats:
            yield sentence, ""


def certainty(report: EmotionReport, say: Phrases) -> Iterator[str]:
    """Format the confidence of the answer and the gate weights."""
    doubt = report.uncertainty
    if doubt and doubt.confidence is not None:
        facts = [
            f"{say['confidence']} {doubt.confidence:.0%}",
            say["threshold"].format(threshold=f"{doubt.threshold:.0%}"),
            say["entropy"].format(entropy=f"{doubt.entropy:.2f}"),
            say["calibrated" if doubt.calibrated else "uncalibrated"],
        ]
        yield say["comma"].join(facts)
    if any(report.gate.values()):
        general, emotion = report.gate["general"], report.gate["emotion"]
        experts = (f"{say['general_expert']} {general:.2f}", f"{say['emotion_expert']} {emotion:.2f}")
        yield f"{say['gate']}{say['colon']}{say['comma'].join(experts)}"


def verification_text(report: EmotionReport, say: Phrases) -> str:
    """Describe whether the steps of reasoning are true to the answer; "" if they were not verified."""
    verified = report.verification
    if verified is None:
        return ""
    clauses = [say["verified_wordless"]]
    if verified.emotion is not None:
        clauses = [say["verified_emotion"].format(emotion=word_name(report, verified.emotion))]
        if verified.agrees is False and report.label is not None:
            clauses[0] += say["verified_other"].format(label=label_name(report, report.label))
    if verified.claims:
        clauses.append(say["verified_claims"].format(claims=verified.claims, confirmed=verified.confirmed))
    if verified.reflected is not None:
        clauses.append(say["verified_again"].format(label=label_name(report, verified.reflected)))
    return f"{say['verified']}{say['colon']}{say['semicolon'].join(clauses)}"


def examples_text(report: EmotionReport, say: Phrases) -> str:
    """List the labelled examples nearest to the clip; "" without any."""
    if not report.examples:
        return ""
    each = [
        say["aside"].format(
            what=f"{label_name(report, example.label)} {example.distance:.2f}", aside=one_line(example.source)
        )
        for example in report.examples
    ]
    return f"{say['examples']}{say['colon']}{say['semicolon'].join(each)}"
