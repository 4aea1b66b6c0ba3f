"""Texts of the sections of a readable view; `terminal` and `markdown` define the layout."""

from __future__ import annotations

import math
from collections.abc import Iterator

from emotion_qwen.records import Channel, Cue, EmotionReport
from emotion_qwen.views.phrases import label_name, ranked, times
from emotion_qwen.views.playhead import is_still

Phrases = dict[str, str]


def abstention(report: EmotionReport) -> str | None:
    """Return why the report abstains, or None."""
    doubt = report.uncertainty
    return doubt.reason if doubt and doubt.abstains else None


def time_span(start: float, end: float, say: Phrases) -> str:
    """Format a span of time."""
    return f"{start:.1f}–{end:.1f} {say['second']}"


def leading(report: EmotionReport, distribution: dict[str, float], count: int) -> list[str]:
    """Format the `count` largest shares of a distribution with the names of their labels, the largest first."""
    return [f"{label_name(report, label)} {share:.0%}" for label, share in ranked(distribution)[:count]]


def channel_cells(report: EmotionReport, channel: Channel) -> tuple[str, str, str]:
    """Format a channel's own answer, its weight, and its effect on the answer."""
    share = channel.distribution.get(channel.label, 0.0)
    weight = "" if channel.weight is None else f"{channel.weight:.0%}"
    return f"{label_name(report, channel.label)} {share:.0%}", weight, times(math.exp(channel.moved))


def cue_place(report: EmotionReport, cue: Cue, say: Phrases) -> tuple[str, str]:
    """Format the time of a cue ("" in a picture), and its channel and person."""
    whose = "" if cue.person is None else f", {say['person']} {cue.person + 1}"
    return "" if is_still(report) else time_span(cue.start, cue.end, say), f"{say[cue.modality]}{whose}"


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
        yield ", ".join(facts)
    if any(report.gate.values()):
        general, emotion = report.gate["general"], report.gate["emotion"]
        yield f"{say['gate']}: {say['general_expert']} {general:.2f}, {say['emotion_expert']} {emotion:.2f}"
