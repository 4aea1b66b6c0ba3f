"""From cues to utterances: cues without words left out, times mended, rolling captions taken apart."""

from __future__ import annotations

import re
from itertools import pairwise

from emotion_qwen.media.subtitle_formats import Caption, next_start
from emotion_qwen.records import Utterance

LONGEST_MENDED = 5.0  # seconds that a cue with a wrong end lasts at most
_TOUCH = 0.1  # seconds between a cue and one that follows it closely
_ROLLING_LINES = 4  # as many as television shows
_EMPTY_CELLS = frozenset(("nan", "NaN"))  # of a table; "Nan" is a word


def to_utterances(cues: list[Caption], warnings: list[str]) -> tuple[Utterance, ...]:
    """Make cues of any order into utterances, ascending by start, each with words and a length.

    Cues without a letter or digit are left out, equal ones kept once, wrong times mended, and lines that rolling
    captions repeat taken out; `read_subtitles` tells the rules.

    Args:
        cues: on the clip's clock.
        warnings: what was wrong is added here.
    """
    spoken = [cue for cue in cues if re.search(r"[^\W_]", text := " ".join(cue.lines)) and text not in _EMPTY_CELLS]
    if not spoken:
        warnings.append(f"none of {len(cues)} cues holds words")
    mended = _mend_times(sorted(spoken, key=lambda cue: cue.start), warnings)
    unique = {(cue.start, cue.end, *cue.lines): cue for cue in mended}
    rolled = _take_out_repeats(list(unique.values()))
    return tuple(Utterance(cue.start, cue.end, " ".join(cue.lines)) for cue in rolled)


def _mend_times(cues: list[Caption], warnings: list[str]) -> list[Caption]:
    starts = [cue.start for cue in cues]
    mended = list(cues)
    wrong = [place for place, cue in enumerate(cues) if cue.end <= cue.start]
    for place in wrong:
        latest = starts[place] + LONGEST_MENDED
        mended[place] = cues[place]._replace(end=min(next_start(starts, starts[place], latest), latest))
    if wrong:
        warnings.append(
            f"{len(wrong)} of {len(cues)} cues do not end after they begin; their end is taken from the next cue, at "
            f"most {LONGEST_MENDED:g} s later"
        )
    outside = sum(cue.end <= 0 for cue in mended)
    early = sum(cue.start < 0 for cue in mended) - outside
    if outside:
        warnings.append(f"{outside} of {len(cues)} cues end before the clip begins and are left out")
    if early:
        warnings.append(f"{early} of {len(cues)} cues begin before the clip and now begin with it")
    return [cue._replace(start=max(cue.start, 0.0)) for cue in mended if cue.end > 0]


def _take_out_repeats(cues: list[Caption]) -> list[Caption]:
    """Take the lines that rolling captions show again out of the later cue; one that adds nothing prolongs the last."""
    close = [after.start <= before.end + _TOUCH for before, after in pairwise(cues)]
    repeats = [
        _repeated_lines(before.lines, after.lines) if near else 0
        for (before, after), near in zip(pairwise(cues), close, strict=True)
    ]
    rolling = sum(map(bool, repeats))
    adding = any(0 < count < len(cue.lines) for cue, count in zip(cues[1:], repeats, strict=True))  # else: "No." "No."
    if rolling < 2 or 2 * rolling <= sum(close) or not adding:
        return cues
    kept = cues[:1]
    for cue, count in zip(cues[1:], repeats, strict=True):
        if count < len(cue.lines):
            kept.append(cue._replace(lines=cue.lines[count:]))
        else:
            kept[-1] = kept[-1]._replace(end=max(kept[-1].end, cue.end))
    return kept


def _repeated_lines(before: list[str], after: list[str]) -> int:
    longest = min(len(before), len(after), _ROLLING_LINES)
    return next((count for count in range(longest, 0, -1) if after[:count] == before[-count:]), 0)
