"""Compare the cues of two texts about one clip: precision, recall and F, as EmoCue-360 (XEmoGPT, 2026) counts them.

Both texts are split into clauses. Each clause of the correct text is matched with the most similar clause of the other
one (recall), and vice versa (precision). Similarity is the cosine of n-gram vectors, so no other model is needed; it
is above 0 for any two texts, which is why a figure means nothing without the value for texts of other clips (`floor`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from emotion_qwen.verify.checking import split_sentences
from emotion_qwen.verify.ngrams import is_chinese
from emotion_qwen.verify.tree import Overlap
from emotion_qwen.verify.verifier import Verifier

_CLAUSES = re.compile(r"[,;:，；：、]\s*|\s+(?:and|but|while|as|because|with)\s+")
_SHORTEST = {"en": 2, "zh": 3}
"""Fewest words (English) or characters (Chinese) of a clause of its own; a shorter one joins the one before it."""


def clauses_of(text: str) -> list[str]:
    """Return the different clauses of a text, in its order."""
    clauses: list[str] = []
    for line in text.splitlines():
        for sentence in split_sentences(line):
            parts = [part.strip(" .!?。！？") for part in _CLAUSES.split(sentence)]
            clauses += _joined([part for part in parts if any(map(str.isalnum, part))])
    return list(dict.fromkeys(clauses))


def cue_overlap(text: str, right: str, verifier: Verifier) -> Overlap:
    """Compare the cues of a text with those of the correct text; 0 if either has no clause.

    Raises:
        CheckpointError: a text is in a language that the verifier was not trained for.
    """
    (overlap,) = cue_overlaps([text], [right], verifier)
    return overlap


def cue_overlaps(texts: Sequence[str], right: Sequence[str], verifier: Verifier) -> list[Overlap]:
    """Compare N texts with N correct texts; errors as in `cue_overlap`."""
    given, wanted = [clauses_of(text) for text in texts], [clauses_of(text) for text in right]
    every = list(dict.fromkeys(clause for clauses in (*given, *wanted) for clause in clauses))
    place = {clause: row for row, clause in enumerate(every)}
    vectors = {language: verifier.table(language).vectors(every) for language in {_language(c) for c in every}}
    return [_overlap(a, b, place, vectors) for a, b in zip(given, wanted, strict=True)]


def _overlap(given: Sequence[str], wanted: Sequence[str], place: dict[str, int], vectors: dict) -> Overlap:
    if not given or not wanted:
        return Overlap(0.0, 0.0)
    table = vectors[_language(wanted[0])]
    rows = [table[[place[clause] for clause in clauses]] for clauses in (given, wanted)]
    lengths = [np.maximum(np.sqrt(part.multiply(part).sum(axis=1).A1), 1e-9) for part in rows]
    likeness = (rows[0] @ rows[1].T).toarray() / np.outer(*lengths)
    likeness = np.clip(likeness, 0.0, 1.0)
    return Overlap(float(likeness.max(axis=1).mean()), float(likeness.max(axis=0).mean()))


def _joined(parts: Sequence[str]) -> list[str]:
    joined: list[str] = []
    for part in parts:
        size = len(part) if is_chinese(part) else len(part.split())
        if joined and size < _SHORTEST[_language(part)]:
            joined[-1] += f", {part}" if _language(part) == "en" else f"，{part}"
        else:
            joined.append(part)
    return joined


def _language(text: str) -> str:
    return "zh" if is_chinese(text) else "en"
