"""Overlap of a text with a reference text: BLEU-4 and ROUGE-L."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence

from emotion_qwen.extras import optional

Stem = Callable[[str], str]
LONGEST = 4
"""Length of the longest n-grams of BLEU-4."""
STEMMED = 3
"""Words up to this length are not stemmed, as in the package rouge-score."""


def bleu4(reference: str, text: str) -> float:
    """Return sentence BLEU with n-grams of 1 to 4 words between blanks, equally weighted, without smoothing, 0 to 1.

    A text without a common 4-gram scores 0. Source: Papineni et al., ACL 2002.
    """
    right, given = reference.split(), text.split()
    total = 0.0
    for length in range(1, LONGEST + 1):
        grams, wanted = Counter(_grams(given, length)), Counter(_grams(right, length))
        common = sum(min(count, wanted[gram]) for gram, count in grams.items())
        if not common:
            return 0.0
        total += math.log(common / grams.total()) / LONGEST
    penalty = min(0.0, 1 - len(right) / len(given))
    return math.exp(total + penalty)


def _grams(words: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(words[place : place + length]) for place in range(len(words) - length + 1)]


def rouge_l(reference: str, text: str, stem: Stem | None = None) -> float:
    """Return the F-measure of the longest common subsequence of words, 0 to 1. Source: Lin, 2004.

    Words are runs of a-z and 0-9 in lower case, as in the package rouge-score.

    Args:
        reference: the reference text.
        text: the text to be scored.
        stem: function that stems a word; None compares the words themselves.
    """
    right, given = (_words(side, stem) for side in (reference, text))
    common = _subsequence(right, given)
    return 2 * common / (len(right) + len(given)) if common else 0.0


def _words(text: str, stem: Stem | None) -> list[str]:
    words = re.findall("[a-z0-9]+", text.lower())
    return words if stem is None else [stem(word) if len(word) > STEMMED else word for word in words]


def _subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    lengths = [0] * (len(second) + 1)
    for word in first:
        above = 0
        for place, other in enumerate(second, 1):
            above, lengths[place] = (
                lengths[place],
                above + 1 if word == other else max(lengths[place], lengths[place - 1]),
            )
    return lengths[-1]


def stemmer() -> Stem:
    """Return Porter's stemmer with NLTK's additions, which rouge-score uses.

    Raises:
        MissingPackage: NLTK is not installed.
    """
    return optional("nltk.stem.porter", "eval").PorterStemmer().stem  # type: ignore[no-any-return]
