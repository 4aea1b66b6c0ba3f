"""Read "yes" or "no" from replies: whole words only, so that "eyes" is not "yes" and "know" is not "no"."""

from __future__ import annotations

import re
import unicodedata

from emotion_qwen.matching.answer import EMPTY, NOTHING, SEVERAL, answer_part

_YES, _NO = r"yes|yeah|yep|是的?|有|对的?", r"no|nope|不是的?|没有|不|否|不对"
_LEADING = re.compile(rf"[\W_]*(?:(?P<yes>{_YES})|(?P<no>{_NO}))(?:[\W_]+(?!(?:and|or)\b|/)|$)", re.IGNORECASE)
_ANSWER = re.compile(
    r"\b(?:answer|conclusion)(?: is)?\W{1,3}(?:(?P<yes>yes)|(?P<no>no))\b"
    r"|答案[是为::：\s]*(?:(?P<y>是|有)|(?P<n>否|不|没))",
    re.IGNORECASE,
)
_NO_ANSWER = re.compile(r"\bno (?:doubt|problem|idea|clue)\b", re.IGNORECASE)
# "yes and no", "yes/no", a bare "yes no"; not "Yes; no cat though", whose first word answers.
_BOTH = re.compile(
    r"\byes\W*(?:\b(?:and|or)\b|/)\W*no\b|\bno\W*(?:\b(?:and|or)\b|/)\W*yes\b"
    r"|\byes\W+no\W*$|\bno\W+yes\W*$|是或否|是/否",
    re.IGNORECASE,
)
_WORDS = re.compile(r"\b(?:(?P<yes>yes)|(?P<no>no))\b", re.IGNORECASE)


def stated_answer(text: str) -> tuple[str | None, str]:
    """Return "yes" or "no" as a reply states it, and "" or why it states neither.

    The word at the beginning decides, else the last one after "answer", else the only one that occurs. A reply without
    either word ("maybe", "I cannot tell", "there is a dog") is unparsed, and so is "yes and no".
    """
    part, why = answer_part(text)
    if why:
        return None, why
    if not any(letter.isalnum() for letter in part):
        return None, EMPTY
    part = _NO_ANSWER.sub(" ", unicodedata.normalize("NFKC", part))
    both = _BOTH.search(part)
    leading = _LEADING.match(part)
    marked = list(_ANSWER.finditer(part))
    if marked:
        last = marked[-1]
        return "yes" if last["yes"] or last["y"] else "no", ""
    if both:
        return None, SEVERAL
    if leading:
        return "yes" if leading["yes"] else "no", ""
    words = {m.lastgroup for m in _WORDS.finditer(part)}
    if len(words) == 1:
        return words.pop(), ""
    return None, SEVERAL if words else NOTHING
