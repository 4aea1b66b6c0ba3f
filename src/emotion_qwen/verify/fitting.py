"""Fit the weights of a verifier to labelled sentences: logistic regression, then one bias per emotion.

Rare emotions count little in a likelihood, so that a classifier that is fitted by it alone seldom names them. The
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
from emotion_qwen.verify.verifier import EMOTIONS, EmotionTable, softmax

PENALTY = 1 / 3
"""Of the squared weights, per sentence of weight 1 in the likelihood."""
ITERATIONS = 40
FOLDS = 4
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
    named = int((sentences.targets.sum(axis=0) > 0).sum()) if len(sentences) else 0
    if len(sentences) < FEWEST or named < 2:
        raise DataError(
            f"{len(sentences)} labelled sentence(s) in {language!r} with {named} emotion(s); expected at least "
            f"{FEWEST} sentences and two emotions, give more data"
        )
    fold = np.array([crc32(text.encode("utf-8", "replace")) % FOLDS for text in sentences.texts])
    counts = count_grams(sentences.texts)
    words, pieces = (collect_grams(part, fewest) for part, fewest in zip(counts, FEWEST_TEXTS, strict=True))
    vectors = vectors_of(counts, (words, pieces))
    scores = np.zeros((len(sentences), len(EMOTIONS)), dtype=np.float32)
    for left_out in np.unique(fold):
        rows = fold == left_out
        if rows.all():
            continue
        weights, bias = fit_weights(vectors[~rows], sentences[~rows])
        scores[rows] = vectors[rows] @ weights + bias
    weights, bias = fit_weights(vectors, sentences)
    return EmotionTable((words, pieces), weights, bias + macro_biases(scores, sentences))


def fit_weights(
    vectors: csr_matrix, sentences: Sentences, penalty: float = PENALTY, iterations: int = ITERATIONS
) -> tuple[np.ndarray, np.ndarray]:
    """Fit multinomial logistic regression to shares by L-BFGS.

    Args:
        vectors: (N, G).
        sentences: N of them.
        penalty: see `PENALTY`.
        iterations: at most.

    Returns:
        (G, 7) and (7,) float32 weights and biases.
    """
    backwards, classes = vectors.T.tocsr(), len(EMOTIONS)
    weights = sentences.weights[:, None].astype(np.float32)
    targets = sentences.targets.astype(np.float32)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        table = values[:-classes].reshape(-1, classes).astype(np.float32)
        shares = softmax(vectors @ table + values[-classes:].astype(np.float32))
        surprise = -float((weights * targets * np.log(np.maximum(shares, 1e-12))).sum())
        wrong = weights * (shares - targets)
        gradient = backwards @ wrong + penalty * table
        value = surprise + penalty / 2 * float(np.square(table, dtype=np.float64).sum())
        return value, np.concatenate([gradient.ravel(), wrong.sum(axis=0)]).astype(np.float64)

    start = np.zeros((vectors.shape[1] + 1) * classes)
    best = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": iterations, "maxcor": 5}).x
    best = best.astype(np.float32)
    return best[:-classes].reshape(-1, classes), best[-classes:]


def macro_biases(scores: np.ndarray, sentences: Sentences) -> np.ndarray:
    """Return (7,) float32 biases that make macro F1 largest on sentences with one emotion, by coordinate search.

    Args:
        scores: (N, 7) of N sentences.
        sentences: those; sentences with several emotions and emotions without sentences are ignored.
    """
    single = sentences.targets.max(axis=1) == 1
    scores, right = scores[single], sentences.targets[single].argmax(axis=1)
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
