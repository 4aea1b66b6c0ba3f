"""Answers that are lists of words: their words, and the overlap of two sets."""

from __future__ import annotations

import re
from collections.abc import Callable, Set

from emotion_qwen.matching.answer import answer_part

_SEPARATORS = re.compile(r"[,;/|\n、，；。]|\band\b|(?<!\w)[-*•](?!\w)|\d+[.)]\s")
_FUNCTION_WORDS = (
    "about above after again also although and any are because been being both but can could did does doing "
    "during each for from had has have her here hers him his how into its may might more most not now off once "
    "only other our out over own same she should so some such than that the their them then there these they "
    "this those through under until very was were what when where which while who whom why will with would you "
    "your in on at of to is it he as by be or an a i we if no video picture image person people someone appears "
    "seems shows scene infer inferred"
)
STOP = frozenset(_FUNCTION_WORDS.split())
_VERB_FORMS = "feel feels feeling felt look looks looking show showing express expresses expressing"
_VERBS = frozenset(_VERB_FORMS.split())
_FENCE = re.compile(r"^\s*```\w*|```\s*$", re.MULTILINE)
_HEADING = re.compile(
    r"^[^\n:：,，]{0,40}(?:emotions?|feelings?|labels?|answers?|words?|情绪|情感|标签|答案)[^\n:：,，]{0,20}[:：]",
    re.IGNORECASE | re.MULTILINE,
)
_SHARE = re.compile(r"\s*[:=(]\s*[\d.]+\s*%?\s*\)?\s*$")
_DENIAL = re.compile(r"\b(?:not|no|never|without|nor|neither|lack\w*|rather than|instead of|hardly)\b|n't\b")


def words_of(text: str, in_vocabulary: Callable[[str], bool] = lambda word: True) -> tuple[str, ...]:
    """Return the words of a list: JSON or Python, or separated by commas, semicolons, slashes, line breaks or "and".

    Args:
        text: the reply; a heading such as "Emotions:", a fence around JSON and percentages after words are removed.
        in_vocabulary: whether a word is in the vocabulary. A part of several words that is not, such as "the person
            feels happy", is replaced by those of its words that are, unless it contains a negation.
    """
    part, _ = answer_part(_FENCE.sub("", text))
    words: dict[str, None] = {}
    for piece in _SEPARATORS.split(_HEADING.sub("", part)):
        plain_piece = re.sub(r"[\[\]{}()\"“”‘`*]|(?<!\w)['’]|['’](?!\w)", " ", _SHARE.sub("", piece))
        word = " ".join(plain_piece.strip(" .:!?。").lower().split())
        if word:
            words |= dict.fromkeys([word] if in_vocabulary(word) else _known_in(word, in_vocabulary) or [word])
    return tuple(words)


def _known_in(piece: str, in_vocabulary: Callable[[str], bool]) -> list[str]:
    """Return the vocabulary words in part of a sentence, the longest match at each position."""
    tokens, words, at = piece.split(), [], 0
    if _DENIAL.search(piece):
        return []
    while at < len(tokens):
        spans = (" ".join(tokens[at : at + length]) for length in range(min(3, len(tokens) - at), 0, -1))
        word = next((span for span in spans if span not in STOP | _VERBS and in_vocabulary(span)), None)
        words += [word] if word else []
        at += len(word.split()) if word else 1
    return words


def set_f1(right: Set[str], given: Set[str]) -> float:
    """Return the F1 of a set against the right one, 0 to 1; 0 if both are empty."""
    return 2 * len(right & given) / (len(right) + len(given)) if right or given else 0.0
