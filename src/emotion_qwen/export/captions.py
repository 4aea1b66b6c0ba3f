"""Subtitles (SubRip and WebVTT) with people's emotions or words, for any player."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from pathlib import Path

from emotion_qwen.export.names import PersonNames
from emotion_qwen.export.tiers import EMOTION, WORDS, Tier, report_tiers
from emotion_qwen.files import write_whole
from emotion_qwen.records import EmotionReport

SRT, VTT = "srt", "vtt"


def write_captions(
    path: Path, form: str, report: EmotionReport, kinds: Sequence[str], names: PersonNames | None
) -> None:
    """Write the emotions, the words, or both of a report as subtitles.

    Cues never overlap: at every change there is a new cue with a line per person and utterance. The clip's own
    episodes are written where the report has no person.

    Args:
        path: of the file.
        form: `SRT` or `VTT`.
        report: of a clip.
        kinds: of `EMOTION` and `WORDS`.
        names: of people, given by the user.

    Raises:
        StorageError: the file cannot be written.
    """
    tiers = [tier for tier in report_tiers(report, names) if tier.kind in kinds]
    if any(tier.person for tier in tiers):
        tiers = [tier for tier in tiers if tier.person or tier.kind != EMOTION]
    mark = "," if form == SRT else "."
    blocks = [
        f"{number}\n{_stamp(start, mark)} --> {_stamp(end, mark)}\n" + "\n".join(_escaped(line, form) for line in lines)
        for number, (start, end, lines) in enumerate(_cut(tiers), 1)
    ]
    head = ["WEBVTT"] if form == VTT else []
    write_whole(path, "\n\n".join([*head, *blocks]) + "\n")


def _cut(tiers: Sequence[Tier]) -> list[tuple[int, int, list[str]]]:
    """Return (start, end, lines) between all changes at which anything is shown, milliseconds."""
    times = sorted({time for tier in tiers for span in tier.spans for time in (span.start, span.end)})
    cues: list[tuple[int, int, list[str]]] = []
    for start, end in itertools.pairwise(times):
        shown = [(tier, span) for tier in tiers for span in tier.spans if span.start <= start and end <= span.end]
        lines = [span.text if tier.kind == WORDS else f"{tier.name}: {span.text}" for tier, span in shown]
        if lines and cues and cues[-1][1] == start and cues[-1][2] == lines:
            start = cues.pop()[0]
        if lines:
            cues.append((start, end, lines))
    return cues


def _stamp(time: int, mark: str) -> str:
    seconds, rest = divmod(time, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{mark}{rest:03}"


def _escaped(line: str, form: str) -> str:
    """Return a line that players show unchanged; an arrow would be read as a time."""
    return html.escape(line, quote=False) if form == VTT else line.replace("-->", "→")


KINDS = {"episodes": EMOTION, "words": WORDS}
"""Table -> the kind of tier that subtitles take from it."""
