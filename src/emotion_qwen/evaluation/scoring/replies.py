"""Read option letters, and yes or no, from replies, with one rule each; an unclear reply is unparsed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from emotion_qwen.evaluation.scoring.records import Read
from emotion_qwen.matching.answer import EMPTY, NOTHING, SEVERAL, answer_part
from emotion_qwen.matching.yes_no import stated_answer

LETTERS = "ABCDEFGHIJ"
_DENIED = re.compile(
    r"(?:\bnot|n't|\bnor|\bneither|\brather than|\binstead of|不是|并非|而非)\s*(?:option\s*)?\(?$", re.IGNORECASE
)
_WRONG = re.compile(r"\)?\s*(?:is|are)?\s*(?:wrong|incorrect|not correct|false)\b|\)?是?(?:错|不对)", re.IGNORECASE)
_ALONE = re.compile(r"[\W_]*([A-Ja-j])[\W_]*")
_HEAD = re.compile(r"\s*[(\[*]*([A-Ja-j])[)\].:*]+(?=\s|$)|\s*([A-J])\s*[:：。]")
_MARKED = re.compile(
    r"(?:\b(?:answer|choice|option|choose|select|pick|conclusion)(?: is| would be)?|答案|选项|选择?|应该?选)"
    r"(?:[\s:：=*_(\[\"'`]|\bis\b|\boption\b|是|为)*(?<![A-Za-z])([A-Ja-j])(?![A-Za-z'’])",
    re.IGNORECASE,
)
# "a man", "I see"; but not "A or B", "A is right", "A because ..."
_ARTICLE = re.compile(r"[AI]\s+(?!(?:or|and|is|are|because|since|as|but|not)\b)[a-z]", re.IGNORECASE)
_LOOSE = re.compile(r"(?<![A-Za-z0-9'’-])([A-J])(?![A-Za-z0-9'’-])")


def read_option(text: str, options: Sequence[str]) -> Read:
    """Read which option a reply chooses.

    The following are tried in this order, and the first match decides: the reply is one letter; it begins with a letter
    written as "B." or "(B)"; the last letter after "answer", "option", 选 or the like; capital letters that stand alone
    and are not negated ("A" as an article and "I" are not options); the text of exactly one option.

    Args:
        text: the reply.
        options: texts in the order of their letters.

    Returns:
        The capital letter, or None and the reason.
    """
    part, why = answer_part(text)
    if why:
        return Read(None, why)
    if not any(letter.isalnum() for letter in part):
        return Read(None, EMPTY)
    part = unicodedata.normalize("NFKC", part)
    offered = LETTERS[: len(options)]
    chosen: list[str] = []
    for letters in (_whole, _beginning, _behind_a_mark, _standing_alone):
        chosen = [letter for letter in letters(part) if letter in offered]
        if chosen:
            break
    else:
        chosen = [offered[place] for place in _named(part, options)]
    if not chosen:
        return Read(None, NOTHING)
    return Read(chosen[0]) if len(set(chosen)) == 1 else Read(None, SEVERAL)


def _whole(text: str) -> list[str]:
    match = _ALONE.fullmatch(text)
    return [match.group(1).upper()] if match else []


def _beginning(text: str) -> list[str]:
    match = _HEAD.match(text)
    if match is None:
        return []
    # A list of all options begins with a letter, too, and so does "A: wrong".
    heads = [m for line in text.splitlines() if (m := _HEAD.match(line))]
    return [(m.group(1) or m.group(2)).upper() for m in heads if not _WRONG.match(m.string, m.end())]


def _behind_a_mark(text: str) -> list[str]:
    matches = [m for m in _MARKED.finditer(text) if _states(text, m.start(1), m.end(1))]
    matches = [m for m in matches if not _ARTICLE.match(text[m.start(1) :])]
    if not matches:
        return []
    last = matches[-1]
    joined = re.match(r"\)?\s*(?:or|and|/|,|或|和)\s*\(?([A-J])(?![A-Za-z])", text[last.end(1) :])
    return [last.group(1).upper(), *([joined.group(1)] if joined else [])]


def _standing_alone(text: str) -> list[str]:
    letters = []
    for m in _LOOSE.finditer(text):
        letter, bracketed = m.group(1), text[m.start() - 1 : m.start()] == "(" and text[m.end() : m.end() + 1] == ")"
        if (bracketed or not _ARTICLE.match(letter + text[m.end() :])) and _states(text, m.start(), m.end()):
            letters.append(letter)
    return letters


def _states(text: str, start: int, end: int) -> bool:
    return not _DENIED.search(text[max(0, start - 30) : start]) and not _WRONG.match(text, end)


def _named(text: str, options: Sequence[str]) -> list[int]:
    """Return the indices of the options whose text occurs in a reply; a match inside a longer match is ignored."""
    plain = _flat(text)
    whole = [place for place, option in enumerate(options) if _flat(option) == plain]
    if whole:
        return whole
    spans: list[tuple[int, int, int]] = []
    for place, option in enumerate(options):
        words = _flat(option)
        if words:
            edge = r"(?<!\w)", r"(?!\w)"
            if re.search("[一-鿿]", words):
                edge = "", ""
            spans += [
                (*m.span(), place)
                for m in re.finditer(edge[0] + re.escape(words) + edge[1], plain)
                if not _DENIED.search(plain[max(0, m.start() - 30) : m.start()])
            ]
    inside = {
        span
        for span in spans
        for other in spans
        if span[:2] != other[:2] and other[0] <= span[0] <= span[1] <= other[1]
    }
    return sorted({place for *_, place in (span for span in spans if span not in inside)})


def _flat(text: str) -> str:
    return re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", text).lower()).strip()


def read_yes_no(text: str) -> Read:
    """Read "yes" or "no" from a reply; see `matching.yes_no.stated_answer`."""
    return Read(*stated_answer(text))
