"""Hashed n-grams of texts: words, pairs of words, and pieces of words, as a sparse matrix of buckets.

No vocabulary is stored: the number of a bucket is a checksum of the n-gram. Chinese has no blanks between words, so
each character counts as a word, and three characters in a row as a piece. Pieces make a word readable that was never
seen in training, such as "teary-eyed" (Bojanowski et al., TACL 2017).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from zlib import crc32

import numpy as np
from scipy.sparse import csr_matrix, diags

PIECES = (3, 4, 5)
"""Lengths of the pieces of words, in characters."""
_TOKENS = re.compile(r"[a-z0-9]+(?:'[a-z]+)?|[^\W_]|[^\w\s]")
_REPEATED = re.compile(r"(.)\1{2,}")
_CHINESE = re.compile(r"[\u3400-\u9fff]+")


def is_chinese(text: str) -> bool:
    """Whether a text has a Chinese character."""
    return bool(_CHINESE.search(text))


def tokens_of(text: str) -> list[str]:
    """Return the words, Chinese characters and signs of a text, in lower case, with letters repeated at most twice."""
    text = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    return _TOKENS.findall(_REPEATED.sub(r"\1\1", text))


def count_grams(texts: Sequence[str], bits: int) -> tuple[csr_matrix, csr_matrix]:
    """Return how often N texts contain each n-gram.

    Args:
        texts: N texts.
        bits: there are 2 ** bits buckets.

    Returns:
        (N, 2 ** bits) float32 counts of words and pairs of words, and of pieces of words.
    """
    whole, pieces = [], []
    for text in texts:
        tokens = tokens_of(text)
        whole.append(Counter(_bucket(gram, bits) for gram in (*tokens, *map(" ".join, pairwise(tokens)))))
        counts: Counter[int] = Counter()
        for token in tokens:
            counts.update(_pieces(token, bits))
        for run in _CHINESE.findall("".join(token if _CHINESE.match(token) else " " for token in tokens)):
            counts.update(_bucket(f"_{run[at : at + 3]}", bits) for at in range(len(run) - 2))
        pieces.append(counts)
    return _matrix(whole, bits), _matrix(pieces, bits)


def weighted(counts: tuple[csr_matrix, csr_matrix], inverse_frequency: np.ndarray) -> csr_matrix:
    """Weight n-grams by 1 + log(count) and their rarity, and scale words and pieces of each text to length 1.

    Args:
        counts: from `count_grams`.
        inverse_frequency: (2 ** bits,) float32 weight of each bucket.

    Returns:
        (N, 2 ** bits) float32; rows of texts without n-grams are empty.
    """
    parts = []
    for part in counts:
        rows = part.copy()
        rows.data = (1 + np.log(rows.data)) * inverse_frequency[rows.indices]
        lengths = np.sqrt(rows.multiply(rows).sum(axis=1)).A1
        parts.append(diags(1 / np.maximum(lengths, 1e-9)).astype(np.float32) @ rows)
    return (parts[0] + parts[1]).tocsr()


def rarity(counts: tuple[csr_matrix, csr_matrix]) -> np.ndarray:
    """Return (2 ** bits,) float32 log((1 + N) / (1 + n)) + 1 of buckets that n of N texts contain."""
    texts = counts[0].shape[0]
    containing = sum(np.bincount(part.indices, minlength=part.shape[1]) for part in counts)
    return (np.log((1 + texts) / (1 + np.minimum(containing, texts))) + 1).astype(np.float32)


@lru_cache(maxsize=200_000)
def _pieces(token: str, bits: int) -> tuple[int, ...]:
    if not token[0].isalnum() or _CHINESE.match(token):
        return ()
    marked = f"<{token}>"
    places = ((at, length) for length in PIECES for at in range(len(marked) - length + 1))
    return tuple(_bucket(f"_{marked[at : at + length]}", bits) for at, length in places)


def _bucket(gram: str, bits: int) -> int:
    return crc32(gram.encode("utf-8", "replace")) & ((1 << bits) - 1)


def _matrix(rows: Sequence[Counter[int]], bits: int) -> csr_matrix:
    offsets = np.cumsum([0, *map(len, rows)])
    buckets = np.fromiter((bucket for row in rows for bucket in row), dtype=np.int32, count=offsets[-1])
    counts = np.fromiter((count for row in rows for count in row.values()), dtype=np.float32, count=offsets[-1])
    return csr_matrix((counts, buckets, offsets), shape=(len(rows), 1 << bits))
