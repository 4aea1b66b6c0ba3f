"""Reports as tiers: named rows of labelled spans that do not overlap, as ELAN and Praat show them below a clip."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from emotion_qwen.export.names import PersonNames
from emotion_qwen.records import EmotionReport, Person

EMOTION, WORDS, VOICE, MOVEMENT = "emotion", "words", "voice", "movement"
"""Kinds of tiers: labels of episodes, spoken words, claims about the voice, movements of a face."""
SHORTEST = 0.04
"""Seconds of a movement in a single frame, where the rate of the analyzed frames is not known."""


@dataclass(frozen=True, order=True)
class TierSpan:
    """A labelled span: `start` and `end` in whole milliseconds, which is the precision of ELAN."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Tier:
    """A named row of spans.

    Attributes:
        name: unique within its file.
        kind: of `EMOTION`, `WORDS`, `VOICE` and `MOVEMENT`.
        spans: in order of time, without overlap.
        person: the person concerned; "" for the whole clip.
    """

    name: str
    kind: str
    spans: tuple[TierSpan, ...]
    person: str = ""


def report_tiers(report: EmotionReport, names: PersonNames | None = None) -> list[Tier]:
    """Return the tiers of a report: the clip's episodes, those of each person, words, voice, and movements of faces.

    Overlapping spans, such as two subtitles at one time, are divided among several tiers. A picture has none.

    Args:
        report: of a clip.
        names: given by the user.
    """
    frame = 1 / (report.provenance.get("fps") or 1 / SHORTEST)
    tiers = _lanes("clip", EMOTION, [(e.onset, e.offset, e.label) for e in report.episodes])
    for person in report.people:
        name = person_tier(report, person, names)
        tiers += _lanes(name, EMOTION, [(e.onset, e.offset, e.label) for e in person.episodes], name)
    tiers += _lanes(WORDS, WORDS, [(u.start, u.end, u.text) for u in report.utterances])
    tiers += _lanes(VOICE, VOICE, [(c.start, c.end, c.text) for c in report.cues if c.modality == "sound"])
    for person in report.people if report.timeline else ():
        name = person_tier(report, person, names)
        for measurement in dict.fromkeys(move.name for move in person.face):
            moves = [(m.start, max(m.end, m.start + frame), m.word) for m in person.face if m.name == measurement]
            tiers += _lanes(f"{name}: {measurement}", MOVEMENT, moves, name)
    return tiers


def person_tier(report: EmotionReport, person: Person, names: PersonNames | None = None) -> str:
    """Return the name of a person's tier, such as "person 1" or "mother (person 1)"."""
    number = f"person {person.person}"
    name = names.name(report.source, person.person) if names else None
    return f"{name} ({number})" if name else number


def clip_end(report: EmotionReport, tiers: Iterable[Tier]) -> int:
    """Return the end of a clip, milliseconds: the last time in the report."""
    seconds = report.provenance.get("seconds") or [0.0]
    return max([milliseconds(seconds[-1]), *(span.end for tier in tiers for span in tier.spans)])


def milliseconds(seconds: float) -> int:
    """Return a time in whole milliseconds."""
    return round(seconds * 1000)


def _lanes(name: str, kind: str, spans: Iterable[tuple[float, float, str]], person: str = "") -> list[Tier]:
    """Divide spans over as few tiers as needed, so that none overlap in one; empty and zero-length spans are left out.

    The first tier has the name, further ones a number.
    """
    lanes: list[list[TierSpan]] = []
    for start, end, text in sorted(spans):
        span = TierSpan(milliseconds(max(start, 0.0)), milliseconds(end), " ".join(text.split()))
        if span.end <= span.start or not span.text:
            continue
        lane = next((lane for lane in lanes if lane[-1].end <= span.start), None)
        if lane is None:
            lanes.append(lane := [])
        lane.append(span)
    numbered = [name if number == 1 else f"{name} {number}" for number in range(1, len(lanes) + 1)]
    return [Tier(title, kind, tuple(lane), person) for title, lane in zip(numbered, lanes, strict=True)]
