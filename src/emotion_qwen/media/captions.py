"""Turn cues into utterances: drop cues without words, correct wrong times, and split rolling captions."""

from __future__ import annotations

import re
from itertools import pairwise

from emotion_qwen.media.subtitle_formats import Caption, next_start
from emotion_qwen.records import Utterance

LONGEST_CORRECTED = 5.0  # seconds; maximum length of a cue whose end was wrong
_TOUCH = 0.1  # seconds; a larger gap ends a run of rolling captions
_ROLLING_LINES = 4  # the maximum on television
_EMPTY_CELLS = frozenset(("nan", "NaN"))  # empty table cells; "Nan" is a word


def to_utterances(cues: list[Caption], warnings: list[str]) -> tuple[Utterance, ...]:
    """Turn cues in any order into utterances, sorted by start, each with words and a positive length.

    Cues without a letter or digit and duplicates are dropped, wrong times are corrected, and lines repeated by rolling
    captions are removed. `read_subtitles` states the rules.

    Args:
        cues: with times on the clip's clock.
        warnings: problems are appended to this list.
    """
    spoken = [cue for cue in cues if re.search(r"[^\W_]", text := " ".join(cue.lines)) and text not in _EMPTY_CELLS]
    if not spoken:
        warnings.append(f"none of {len(cues)} cues holds words")
    corrected = _correct_times(sorted(spoken, key=lambda cue: cue.start), warnings)
    unique = {(cue.start, cue.end, *cue.lines): cue for cue in corrected}
    rolled = _take_out_repeats(list(unique.values()))
    return tuple(Utterance(cue.start, cue.end, " ".join(cue.lines)) for cue in rolled)


def _correct_times(cues: list[Caption], warnings: list[str]) -> list[Caption]:
    starts = [cue.start for cue in cues]
    corrected = list(cues)
    wrong = [place for place, cue in enumerate(cues) if cue.end <= cue.start]
    for place in wrong:
        latest = starts[place] + LONGEST_CORRECTED
        corrected[place] = cues[place]._replace(end=min(next_start(starts, starts[place], latest), latest))
    if wrong:
        warnings.append(
            f"{len(wrong)} of {len(cues)} cues do not end after they begin; their end is taken from the next cue, at "
            f"most {LONGEST_CORRECTED:g} s later"
        )
    outside = sum(cue.end <= 0 for cue in corrected)
    early = sum(cue.start < 0 for cue in corrected) - outside
    if outside:
        warnings.append(f"{outside} of {len(cues)} cues end before the clip begins and are left out")
    if early:
        warnings.append(f"{early} of {len(cues)} cues begin before the clip and now begin with it")
    return [cue._replace(start=max(cue.start, 0.0)) for cue in corrected if cue.end > 0]


def _take_out_repeats(cues: list[Caption]) -> list[Caption]:
    """Remove lines that rolling captions repeat from the later cue; a cue without new lines extends the one before."""
    close = [after.start <= before.end + _TOUCH for before, after in pairwise(cues)]
    repeats = [
        _repeated_lines(before.lines, after.lines) if near else 0
        for (before, after), near in zip(pairwise(cues), close, strict=True)
    ]
    rolling = sum(map(bool, repeats))
    # A cue must also add lines; otherwise a repeated remark ("No." "No.") would count as a rolling caption.
    adding = any(0 < count < len(cue.lines) for cue, count in zip(cues[1:], repeats, strict=True))
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
