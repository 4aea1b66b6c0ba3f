"""Extract the final answer from a reply: numbers (GSM8K), options and words (BIG-Bench Hard), ratings (EQ-Bench)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring.records import Read
from emotion_qwen.matching.answer import EMPTY

NO_NUMBER, NO_RATINGS = "no number", "not the four ratings"
SHORT = 6
"""Maximum number of words of a reference that is searched for in a free answer; longer ones have many correct wordings.
"""
ADJUSTMENT, STEEPNESS, MIDDLE, HEIGHT, LINEAR = 0.7477, 1.2, 4.0, 6.5, 5.0
"""Constants of EQ-Bench's second version; the first makes random ratings score 0."""
_NUMBER = re.compile(r"-?\$?\d+(?:,\d{3})*(?:\.\d+)?|-?\$?\.\d+")
_ANSWER = re.compile(r"(?:####|\b(?:final )?answer(?: is|:)|答案(?:是|：|:))[^\S\n]*", re.IGNORECASE)
_DECIDING = {"yes", "no", "true", "false", "valid", "invalid", "plausible", "implausible"}


def final_number(text: str) -> Read:
    """Read the number after the last "####" or "answer is"; without such a mark, the last number of the text.

    Thousands separators, the dollar sign and trailing zeros are ignored: "$1,200.00" is "1200".
    """
    if not text.strip():
        return Read(None, EMPTY)
    marked = _NUMBER.search(text, _behind_mark(text))
    numbers = _NUMBER.findall(text)
    if not numbers:
        return Read(None, NO_NUMBER)
    return Read(plain_number(marked.group() if marked else numbers[-1]))


def _behind_mark(text: str) -> int:
    ends = [match.end() for match in _ANSWER.finditer(text)]
    return ends[-1] if ends else len(text)


def plain_number(text: str) -> str:
    """Write a number without separators, currency and trailing zeros."""
    bare = re.sub(r"[$,\s]", "", text)
    whole, dot, decimals = bare.partition(".")
    decimals = decimals.rstrip("0")
    return (whole or "0") + (dot + decimals if decimals else "")


def final_answer(text: str, reference: str) -> Read:
    """Read the final answer of a reply in the form that the reference has.

    It follows the last "answer is"; without that, it is the first line. If the reference is an option such as "(B)",
    the first option letter counts, in brackets or alone. If the reference is one verdict word (yes, true, invalid), the
    first such word counts. Other answers must be equal apart from case, surrounding punctuation and repeated spaces.
    """
    marks = list(_ANSWER.finditer(text))
    part = text[marks[-1].end() :] if marks else text
    lines = [line.strip() for line in part.splitlines() if line.strip()]
    if not lines:
        return Read(None, EMPTY)
    if re.fullmatch(r"\([A-Z]\)", reference):
        letter = re.search(r"\(([A-Z])\)", part) or re.match(r"\W*([A-Z])(?![\w'])", lines[0])
        return Read(f"({letter.group(1)})") if letter else Read(None, "no option")
    if reference.lower() in _DECIDING:
        words = [word for word in re.findall(r"[a-z]+", part.lower()) if word in _DECIDING]
        return Read(words[0]) if words else Read(None, "no such word")
    return Read(plain_answer(lines[0]))


def plain_answer(text: str) -> str:
    """Write an answer in lower case, without surrounding punctuation and repeated spaces; brackets stay."""
    return " ".join(text.lower().split()).strip(" .,!?;:\"'*`。，！？")


def short_answer_right(text: str, reference: str) -> bool | None:
    """Return whether a free answer contains a short reference; None if the reference is too long to be checked.

    Yes, no and single letters must be the first or the last word. Other references must occur in the reply as whole
    words.
    """
    wanted = _words(reference)
    if not wanted or len(wanted) > SHORT:
        return None
    given = _words(text)
    if len(wanted) == 1 and (wanted[0] in _DECIDING or len(wanted[0]) == 1):
        return bool(given) and wanted[0] in (given[0], given[-1])
    return any(given[start : start + len(wanted)] == wanted for start in range(len(given)))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def emotion_ratings(text: str, emotions: tuple[str, ...]) -> Read:
    """Read EQ-Bench's ratings as JSON of emotion -> rating from 0 to 10, from the revised part if there is one."""
    if not text.strip():
        return Read(None, EMPTY)
    parts = re.split(r"revised scores\W", text, flags=re.IGNORECASE)
    for part in reversed(parts):
        ratings = {
            name: float(match.group(1))
            for name in emotions
            if (match := re.search(rf"\b{re.escape(name)}\W{{1,4}}(\d+(?:\.\d+)?)", part, re.IGNORECASE))
        }
        if len(ratings) == len(emotions) and all(rating <= 10 for rating in ratings.values()):
            return Read(json.dumps(ratings, sort_keys=True))
    return Read(None, NO_RATINGS)


def emotion_rating_points(ratings: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """Return the points of one question by EQ-Bench's second version: at most 10, about 0 for random ratings.

    Every rating is compared with the reference on the full scale. A difference of up to 5 is weighted by a sigmoid, so
    that small differences hardly count; a larger one counts in full (Paech 2023, arXiv:2312.06281, and the scoring of
    version 2).

    Raises:
        DataError: the emotions are not the same.
    """
    if set(ratings) != set(reference):
        raise DataError(f"ratings of {sorted(ratings)}; expected those of {sorted(reference)}")
    total = 0.0
    for name, wanted in reference.items():
        distance = abs(ratings[name] - wanted)
        if distance > LINEAR:
            total += distance
        elif distance:
            total += HEIGHT / (1 + math.exp(-STEEPNESS * (distance - MIDDLE)))
    return 10 - ADJUSTMENT * total
