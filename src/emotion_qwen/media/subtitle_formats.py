"""Read SubRip, WebVTT, SSA, ASS and transcripts as cues.

The library pysubs2 1.8 is not used, because it reads notes and cue names of WebVTT as words and the times of single
words as cues, drops a last line that is a number, and stops at the first bad line of ASS. Speaker names are removed if
they are markup (WebVTT) or a field (ASS); a name within the text ("ANNA: Hello") stays.
"""

from __future__ import annotations

import html
import math
import re
from bisect import bisect_right
from itertools import dropwhile
from typing import NamedTuple

_ASS_FIELDS = ["layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text"]
_STAMP = r"-?(?:\d{1,4}:)?\d{1,2}:\d{1,2}(?:[.,]\d{1,9})?"
_TIMING = re.compile(rf"\s*({_STAMP})\s*-{{1,3}}>\s*({_STAMP})(?![\d:])")
_ASS = re.compile(r"^(\[Script Info\]|\[Events\]|Dialogue:[^,\n]*,\s*-?\d+:\d)", re.MULTILINE | re.IGNORECASE)
_LINE_STAMP = re.compile(rf"\s*(?:[\[(]\s*({_STAMP})(?:\s*[-–]+>?\s*({_STAMP}))?\s*[\])]|({_STAMP})(?!\S))")
_LRC_HEAD = re.compile(r"\s*\[(?:ti|ar|al|au|by|re|ve|la|lr|length|offset|tool|id|#)\s*:[^\]]*\]\s*", re.IGNORECASE)
# No pattern may look ahead across the start of another match, which would make the time quadratic in the length.
_MARKUP = re.compile(r"<rt>[^<]*</rt>|</?(?:[A-Za-z]|\d+:)[^<>]*>|\{\\[^{}]*\}")  # rt: pronunciation of a word
_ENTITY = re.compile(r"&(?:#\d+|#[xX][\da-fA-F]+|[A-Za-z]\w*);")
_INVISIBLE = re.compile(r"[\ufeff\u200b\u200e\u200f\u202a-\u202e\x1a]")


class Caption(NamedTuple):
    """A cue: lines of text with the time at which they are shown.

    Attributes:
        start: seconds.
        end: seconds, as written in the file, which may be wrong.
        lines: stripped of markup and surrounding space; never empty strings.
    """

    start: float
    end: float
    lines: list[str]


def read_cues(text: str, suffix: str, duration: float) -> tuple[list[Caption], list[str]]:
    """Read the cues of WebVTT, ASS, SubRip or a transcript; the format is detected from the content where possible.

    Times are not corrected, cues are in the order of the file, and cues without words are included.

    Args:
        text: lines end with a line feed.
        suffix: of the file, in lower case. A `.vtt` file may lack its header, and only `.txt` may have no times.
        duration: end of a transcript, seconds; infinite if unknown.

    Returns:
        The cues, and the time lines that cannot be read; their cues are omitted.
    """
    broken: list[str] = []
    if text.startswith("WEBVTT") or (suffix == ".vtt" and "-->" in text):
        return _read_timed(text, broken, blank_ends=True), broken
    if _ASS.search(text):
        return _read_ass(text, broken), broken
    if suffix != ".txt" or any(map(_TIMING.match, text.split("\n"))):
        return _read_timed(text, broken, blank_ends=False), broken
    return _read_transcript(text, duration), broken


def markup_lines(text: str) -> list[str]:
    """Remove markup from SubRip, WebVTT or 3GPP text, decode entities, and split it into lines."""
    plain = _ENTITY.sub(lambda entity: html.unescape(entity[0]), _MARKUP.sub("", text))
    return _tidy_lines(plain.replace("\\N", "\n").replace("\\h", " "))  # remains of ASS


def ass_lines(text: str) -> list[str]:
    """Remove overrides and drawings from the text of an ASS event, and split it into lines."""
    shown = ""
    drawing = False
    for place, piece in enumerate(re.split(r"\{([^{}]*)\}", text)):
        if place % 2:  # text in braces
            scales = re.findall(r"\\p(\d)", piece)
            drawing = scales[-1] != "0" if scales else drawing
        elif not drawing:
            shown += piece
    return _tidy_lines(re.sub(r"\\[Nn]", "\n", shown).replace("\\h", " "))


def next_start(starts: list[float], start: float, otherwise: float) -> float:
    """Return the first of the ascending `starts` after `start`, or `otherwise` if there is none."""
    place = bisect_right(starts, start)
    return starts[place] if place < len(starts) else otherwise


def _seconds(stamp: str) -> float:
    seconds = 0.0
    for part in stamp.lstrip("-").replace(",", ".").split(":"):
        seconds = seconds * 60 + float(part)
    return round(-seconds if stamp.startswith("-") else seconds, 3)


def _read_timed(text: str, broken: list[str], *, blank_ends: bool) -> list[Caption]:
    """Read SubRip, or WebVTT, where a blank line ends a cue so that notes and cue names are not read as words."""
    bodies: list[tuple[float, float, list[str]]] = []
    body: list[str] | None = None
    for line in text.split("\n"):
        timing = _TIMING.match(line)
        if timing or ("-->" in line and re.search(r"\d:\d", line)):
            _drop_number(body or [])
            body = []
            if timing:
                bodies.append((_seconds(timing[1]), _seconds(timing[2]), body))
            else:
                broken.append(line.strip())
        elif blank_ends and not line:
            body = None
        elif body is not None:
            body.append(line)
    return [Caption(start, end, markup_lines("\n".join(body))) for start, end, body in bodies]


def _drop_number(body: list[str]) -> None:
    """Remove the number of the next cue: digits just before its times, or on a separate line after a blank one."""
    last = max((place for place, line in enumerate(body) if line.strip()), default=-1)
    alone = last == len(body) - 1 or (last > 0 and not body[last - 1].strip())
    if last >= 0 and alone and body[last].strip().isdecimal():
        del body[last:]


def _read_ass(text: str, broken: list[str]) -> list[Caption]:
    """Read the dialogue lines of SSA and ASS; comments have another line type."""
    cues = []
    fields = _ASS_FIELDS
    for line in text.split("\n"):
        kind, _, rest = line.strip().partition(":")
        if kind == "Format":
            names = [name.strip().lower() for name in rest.split(",")]
            fields = names if "text" in names else fields  # styles also have a format line
        elif kind == "Dialogue":
            values = dict(zip(fields, rest.split(",", len(fields) - 1), strict=False))
            start, end = (values.get(name, "").strip() for name in ("start", "end"))
            if re.fullmatch(_STAMP, start) and re.fullmatch(_STAMP, end):
                cues.append(Caption(_seconds(start), _seconds(end), ass_lines(values.get("text", ""))))
            else:
                broken.append(rest.strip())
    return cues


def _read_transcript(text: str, duration: float) -> list[Caption]:
    lines = [line for line in text.split("\n") if line.strip()]
    if any(map(_LINE_STAMP.match, lines)):  # the header of an LRC file, [ti:...] [ar:...]
        lines = list(dropwhile(_LRC_HEAD.fullmatch, lines))
    stamps = [_LINE_STAMP.match(line) for line in lines]
    if stamps[0] is None or (stamps[0][3] and sum(map(bool, stamps)) < 2):
        return [Caption(0.0, duration, _tidy_lines(text))]
    cues: list[Caption] = []
    for line, stamp in zip(lines, stamps, strict=True):
        if stamp:
            end = _seconds(stamp[2]) if stamp[2] else math.inf
            cues.append(Caption(_seconds(stamp[1] or stamp[3]), end, []))
        cues[-1].lines.extend(_tidy_lines(line[stamp.end() :] if stamp else line))
    starts = sorted(cue.start for cue in cues)
    return [cue._replace(end=next_start(starts, cue.start, duration)) if math.isinf(cue.end) else cue for cue in cues]


def _tidy_lines(text: str) -> list[str]:
    lines = (" ".join(line.split()) for line in _INVISIBLE.sub("", text).split("\n"))
    return [line for line in lines if line]
