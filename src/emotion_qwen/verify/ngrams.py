"""N-grams of texts as sparse vectors: words, pairs of words, and pieces of words.

N-grams are known by a checksum of 32 bits, so no list of words is stored. Chinese has no blanks between words, so each
character counts as a word, and three characters in a row as a piece. Pieces make it possible to read a word that was
not seen in training, such as "teary-eyed" (Bojanowski et al., TACL 2017).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from zlib import crc32

import numpy as np
from scipy.sparse import csr_matrix, diags, hstack

PIECES = (3, 4, 5)
"""Lengths of the pieces of words, in characters."""
PIECES_COUNT = 0.7
"""Length of the part of a vector that represents pieces; that of words and pairs has length 1."""
FEWEST_TEXTS = (3, 20)
"""A rarer word or pair, and a rarer piece, is left out: it occurs in fewer texts than this. Small collections keep
more; see `collect_grams`."""
_TOKENS = re.compile(r"[a-z0-9]+(?:'[a-z]+)?|[^\W_]|[^\w\s]")
_REPEATED = re.compile(r"(.)\1{2,}")
_CHINESE = re.compile(r"[\u3400-\u9fff]+")
Counts = list[Counter[int]]
"""Per text, how often it has each n-gram, by its checksum."""


def is_chinese(text: str) -> bool:
    """Whether a text has a Chinese character."""
    return bool(_CHINESE.search(text))


def tokens_of(text: str) -> list[str]:
    """Return the words, Chinese characters and signs of a text, in lower case, with letters repeated at most twice."""
    text = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    return _TOKENS.findall(_REPEATED.sub(r"\1\1", text))


def count_grams(texts: Sequence[str]) -> tuple[Counts, Counts]:
    """Count the words and pairs of words of N texts, and the pieces of their words."""
    whole, pieces = [], []
    for text in texts:
        tokens = tokens_of(text)
        whole.append(Counter(_checksum(gram) for gram in (*tokens, *map(" ".join, pairwise(tokens)))))
        counts: Counter[int] = Counter()
        for token in tokens:
            counts.update(_pieces(token))
        for run in _CHINESE.findall("".join(token if _CHINESE.match(token) else " " for token in tokens)):
            counts.update(_checksum(f"_{run[at : at + 3]}") for at in range(len(run) - 2))
        pieces.append(counts)
    return whole, pieces


@dataclass(frozen=True, eq=False)
class GramList:
    """The n-grams of one kind that a table knows.

    Attributes:
        checksums: (G,) uint32, ascending.
        rarity: (G,) float32 weight of each; rare ones have a larger weight.
    """

    checksums: np.ndarray
    rarity: np.ndarray

    def matrix(self, counts: Counts, length: float) -> csr_matrix:
        """Return (N, G) float32 vectors of N texts, scaled to a length; those without a known n-gram are empty."""
        sums = np.fromiter((gram for row in counts for gram in row), dtype=np.uint32)
        values = np.fromiter((count for row in counts for count in row.values()), dtype=np.float32)
        rows = np.repeat(np.arange(len(counts)), [len(row) for row in counts])
        places = np.minimum(np.searchsorted(self.checksums, sums), max(len(self.checksums) - 1, 0))
        known = self.checksums[places] == sums if len(self.checksums) else np.zeros(len(sums), dtype=bool)
        places, rows = places[known], rows[known]
        values = (1 + np.log(values[known])) * self.rarity[places]
        matrix = csr_matrix((values, (rows, places)), shape=(len(counts), len(self.checksums)), dtype=np.float32)
        sizes = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
        return (diags(length / np.maximum(sizes, 1e-9)) @ matrix).astype(np.float32).tocsr()


def collect_grams(counts: Counts, fewest: int) -> GramList:
    """Return the n-grams of N texts that at least `fewest` of them have, with rarity log((1 + N) / (1 + n)) + 1.

    Of fewer than 1,000 `fewest` texts, those are kept that one text in 1,000 has.
    """
    containing = Counter(gram for row in counts for gram in row)
    least = max(1, min(fewest, len(counts) // 1000))
    kept = sorted(gram for gram, texts in containing.items() if texts >= least)
    texts = np.array([containing[gram] for gram in kept], dtype=np.float64)
    rarity = np.log((1 + len(counts)) / (1 + texts)) + 1
    return GramList(np.array(kept, dtype=np.uint32), rarity.astype(np.float32))


def vectors_of(counts: tuple[Counts, Counts], grams: tuple[GramList, GramList]) -> csr_matrix:
    """Return the (N, G) float32 vectors of N texts: words and pairs of words, then pieces of words."""
    lengths = (1.0, PIECES_COUNT)
    return hstack([g.matrix(c, length) for c, g, length in zip(counts, grams, lengths, strict=True)]).tocsr()


@lru_cache(maxsize=200_000)
def _pieces(token: str) -> tuple[int, ...]:
    if not token[0].isalnum() or _CHINESE.match(token):
        return ()
    marked = f"<{token}>"
    places = ((at, length) for length in PIECES for at in range(len(marked) - length + 1))
    return tuple(_checksum(f"_{marked[at : at + length]}") for at, length in places)


def _checksum(gram: str) -> int:
    return crc32(gram.encode("utf-8", "replace"))
