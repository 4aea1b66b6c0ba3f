"""Fit the weights of a verifier to labelled sentences: logistic regression, then one bias per emotion.

Rare emotions count little in a likelihood, so that a classifier fitted only by likelihood seldom names them. The
biases are therefore chosen for macro F1, on scores of weights that were fitted without the sentence (cross-fitting).
"""

from __future__ import annotations

from zlib import crc32

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from emotion_qwen.errors import DataError
from emotion_qwen.verify.ngrams import FEWEST_TEXTS, collect_grams, count_grams, is_chinese, vectors_of
from emotion_qwen.verify.sentences import Sentences
from emotion_qwen.verify.verifier import EMOTIONS, EmotionTable, emotion_shares, softmax

PENALTY = 1 / 3
"""Of the squared weights, per sentence of weight 1 in the likelihood."""
ITERATIONS, MORE = 30, 15
"""Steps of a fit without the sentences of one part, and then with all, starting from the mean of the others."""
FOLDS = 3
"""The biases are chosen on scores of sentences that were left out, in this many parts."""
FEWEST = 20
"""Minimum number of sentences per language."""
_STEPS = (0.3, 0.1)


def of_language(sentences: Sentences, language: str) -> Sentences:
    """Return the sentences in a language; those with a Chinese character are Chinese."""
    return sentences[np.array([is_chinese(text) == (language == "zh") for text in sentences.texts], dtype=bool)]


def fit_table(sentences: Sentences, language: str) -> EmotionTable:
    """Fit the weights for one language.

    Args:
        sentences: in this language; equal texts are left out together.
        language: "en" or "zh", for messages.

    Raises:
        DataError: fewer than `FEWEST` sentences, or fewer than two emotions among them.
    """
    named = int((sentences.by_emotion().sum(axis=0) > 0).sum()) if len(sentences) else 0
    if len(sentences) < FEWEST or named < 2:
        raise DataError(
            f"{len(sentences)} labelled sentence(s) in {language!r} with {named} emotion(s); expected at least "
            f"{FEWEST} sentences and two emotions, give more data"
        )
    fold = np.array([crc32(text.encode("utf-8", "replace")) % FOLDS for text in sentences.texts])
    counts = count_grams(sentences.texts)
    words, pieces = (collect_grams(part, fewest) for part, fewest in zip(counts, FEWEST_TEXTS, strict=True))
    vectors = vectors_of(counts, (words, pieces))
    kinds = np.array(sentences.emotions)
    shares = np.full((len(sentences), len(EMOTIONS)), 1 / len(EMOTIONS))
    start = np.zeros((vectors.shape[1] + 1, len(kinds)))
    for left_out in range(FOLDS):
        rows = fold == left_out
        fitted = fit_weights(vectors[~rows], sentences[~rows], np.zeros_like(start), ITERATIONS)
        shares[rows] = emotion_shares(vectors[rows], fitted, kinds)
        start += fitted / FOLDS
    fitted = fit_weights(vectors, sentences, start, MORE)
    fitted[-1] += macro_biases(np.log(np.maximum(shares, 1e-9)), sentences)[kinds]
    return EmotionTable((words, pieces), fitted[:-1], fitted[-1], kinds)


def fit_weights(
    vectors: csr_matrix, sentences: Sentences, start: np.ndarray, iterations: int, penalty: float = PENALTY
) -> np.ndarray:
    """Fit multinomial logistic regression to shares by L-BFGS.

    Args:
        vectors: (N, G).
        sentences: N of them, with K classes.
        start: (G + 1, K) weights of the n-grams, then biases, to start from.
        iterations: at most.
        penalty: see `PENALTY`.

    Returns:
        (G + 1, K) float32, like `start`.
    """
    backwards = vectors.T.tocsr()
    counts = sentences.weights[:, None].astype(np.float32)
    targets = sentences.targets.astype(np.float32)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        table = values.reshape(start.shape).astype(np.float32)
        shares = softmax(vectors @ table[:-1] + table[-1])
        surprise = -float((counts * targets * np.log(np.maximum(shares, 1e-12))).sum())
        wrong = counts * (shares - targets)
        gradient = np.concatenate([backwards @ wrong + penalty * table[:-1], wrong.sum(axis=0, keepdims=True)])
        value = surprise + penalty / 2 * float(np.square(table[:-1], dtype=np.float64).sum())
        return value, gradient.ravel().astype(np.float64)

    best = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": iterations, "maxcor": 5}).x
    return best.reshape(start.shape).astype(np.float32)


def macro_biases(scores: np.ndarray, sentences: Sentences) -> np.ndarray:
    """Return (7,) float32 biases that make macro F1 largest on sentences with one emotion, by coordinate search.

    Args:
        scores: (N, 7) of N sentences.
        sentences: those; sentences with several emotions and emotions without sentences are ignored.
    """
    targets = sentences.by_emotion()
    single = targets.max(axis=1) == 1
    scores, right = scores[single], targets[single].argmax(axis=1)
    present = np.unique(right)
    biases = np.zeros(len(EMOTIONS), dtype=np.float32)
    if len(present) < 2:
        return biases
    best = _macro_f1(scores, right, present)
    for step in _STEPS:
        for _ in range(2):
            for emotion in present:
                for moved in np.arange(-6, 7) * step:
                    tried = biases.copy()
                    tried[emotion] += moved
                    f1 = _macro_f1(scores + tried, right, present)
                    if f1 > best + 1e-6:
                        best, biases = f1, tried
    return biases


def _macro_f1(scores: np.ndarray, right: np.ndarray, present: np.ndarray) -> float:
    chosen = scores.argmax(axis=1)
    f1 = [2 * ((chosen == k) & (right == k)).sum() / ((chosen == k).sum() + (right == k).sum()) for k in present]
    return float(np.mean(f1))
