"""The verifier: a small classifier that reads which emotion a text expresses, without the clip and without a model.

It is multinomial logistic regression on n-grams (`ngrams`), one table per language, and answers in microseconds
per sentence on a CPU. `fitting` trains one from labelled sentences.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from scipy.sparse import csr_matrix

from emotion_qwen.errors import CheckpointError
from emotion_qwen.files import write_whole
from emotion_qwen.taxonomy import CONCEPTS, concept_of_word, label_set
from emotion_qwen.verify.ngrams import GramList, count_grams, is_chinese, vectors_of

EMOTIONS = label_set("fer7").labels
"""The concepts that a verifier distinguishes, in the order of its shares."""
NEUTRAL = EMOTIONS.index("neutral")
FORMAT = 1
SETTINGS, WEIGHTS = "verifier.json", "verifier.safetensors"
SHIPPED = Path(__file__).parent / "weights"
KINDS = ("words", "pieces")
_LEVELS = 127


def emotion_of(label: str) -> str | None:
    """Return the one of `EMOTIONS` that a label means, `joy` -> "happiness"; None for any other emotion or word."""
    name = concept_of_word().get(label.strip().lower(), "")
    if name and name not in EMOTIONS:
        name = CONCEPTS[name].broader
    return name if name in EMOTIONS else None


@dataclass(frozen=True, eq=False)
class EmotionTable:
    """The weights for one language.

    Attributes:
        grams: the n-grams that it knows: words and pairs of words, and pieces of words; G in all.
        weights: (G, K) float32 of each n-gram for each of K classes.
        bias: (K,) float32.
        emotions: (K,) which of `EMOTIONS` each class belongs to.
    """

    grams: tuple[GramList, GramList]
    weights: np.ndarray
    bias: np.ndarray
    emotions: np.ndarray

    def vectors(self, texts: Sequence[str]) -> csr_matrix:
        """Return the (N, G) vectors of N texts."""
        return vectors_of(count_grams(texts), self.grams)

    def shares(self, texts: Sequence[str]) -> np.ndarray:
        """Return (N, 7) shares of N texts."""
        fitted = np.concatenate([self.weights, self.bias[None]])
        return emotion_shares(self.vectors(texts), fitted, self.emotions)


@dataclass(frozen=True, eq=False)
class Verifier:
    """Reads which of `EMOTIONS` a text expresses.

    Attributes:
        tables: "en", "zh" -> the weights for texts in that language; a text with a Chinese character is Chinese.
        facts: how it was trained, and its figures on validation data.

    Examples:
        >>> from emotion_qwen.verify.verifier import Verifier
        >>> shares = Verifier.load().shares(["Tears run down her cheeks, her heart is broken."])
        >>> shares.shape
        (1, 7)
    """

    tables: Mapping[str, EmotionTable]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: str | Path | None = None) -> Verifier:
        """Load a verifier from its folder; None loads the shipped one, once per process.

        Raises:
            CheckpointError: the folder contains no verifier of this version, or a damaged one.
        """
        return _shipped() if folder is None else _read(Path(folder))

    def save(self, folder: Path) -> None:
        """Write the verifier into a folder: weights with 8 bits each, and a JSON file.

        Raises:
            StorageError: the folder cannot be written.
        """
        arrays: dict[str, np.ndarray] = {}
        for language, table in self.tables.items():
            levels, largest = _compressed(table.weights)
            arrays |= {
                f"{language}.weights": levels, f"{language}.largest": largest, f"{language}.bias": table.bias,
                f"{language}.emotions": table.emotions.astype(np.int8),
            }  # fmt: skip
            for kind, grams in zip(KINDS, table.grams, strict=True):
                arrays[f"{language}.{kind}"] = grams.checksums
                arrays[f"{language}.{kind}.rarity"] = grams.rarity.astype(np.float16)
        settings = {"format": FORMAT, "emotions": list(EMOTIONS), "languages": list(self.tables), **self.facts}
        write_whole(folder / WEIGHTS, save(arrays))
        write_whole(folder / SETTINGS, json.dumps(settings, indent=2, ensure_ascii=False) + "\n")

    def shares(self, texts: Sequence[str]) -> np.ndarray:
        """Return (N, 7) shares of `EMOTIONS` in N texts; equal shares for a text without a word.

        Raises:
            CheckpointError: a text is in a language that the verifier was not trained for.
        """
        shares = np.full((len(texts), len(EMOTIONS)), 1 / len(EMOTIONS))
        for language in ("en", "zh"):
            rows = [
                row for row, text in enumerate(texts)
                if (language == "zh") == is_chinese(text) and any(map(str.isalnum, text))
            ]  # fmt: skip
            if rows:
                shares[rows] = self.table(language).shares([texts[row] for row in rows])
        return shares

    def table(self, language: str) -> EmotionTable:
        """Return the weights for a language.

        Raises:
            CheckpointError: the verifier was not trained for it.
        """
        if language not in self.tables:
            raise CheckpointError(
                f"the verifier was trained for {', '.join(self.tables)}, the text is in {language!r}; train one with "
                "sentences in that language (emotion-qwen verify train)"
            )
        return self.tables[language]


def softmax(scores: np.ndarray) -> np.ndarray:
    """Return (N, K) shares of (N, K) scores."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def emotion_shares(vectors: csr_matrix, fitted: np.ndarray, emotions: np.ndarray) -> np.ndarray:
    """Return (N, 7) shares of `EMOTIONS`: those of the K classes, added up by emotion.

    Args:
        vectors: (N, G).
        fitted: (G + 1, K) weights, then biases.
        emotions: (K,) index of the emotion of each class.
    """
    return softmax(vectors @ fitted[:-1] + fitted[-1]) @ np.eye(len(EMOTIONS))[emotions]


@cache
def _shipped() -> Verifier:
    return _read(SHIPPED)


def _read(folder: Path) -> Verifier:
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        if settings["format"] != FORMAT or settings["emotions"] != list(EMOTIONS):
            raise ValueError(f"format {settings['format']} with {settings['emotions']}")
        arrays = load_file(folder / WEIGHTS)
        tables = {language: _table(arrays, language) for language in settings["languages"]}
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(
            f"{str(folder)!r} holds no verifier of this version ({type(error).__name__}: {error}); give a folder that "
            "`emotion-qwen verify train` wrote"
        ) from error
    return Verifier(tables, {k: v for k, v in settings.items() if k not in ("format", "emotions", "languages")})


def _table(arrays: Mapping[str, np.ndarray], language: str) -> EmotionTable:
    weights, bias = _expanded(arrays[f"{language}.weights"], arrays[f"{language}.largest"]), arrays[f"{language}.bias"]
    words, pieces = (
        GramList(arrays[f"{language}.{kind}"], arrays[f"{language}.{kind}.rarity"].astype(np.float32)) for kind in KINDS
    )
    count, emotions = len(words.checksums) + len(pieces.checksums), arrays[f"{language}.emotions"]
    if weights.shape != (count, len(emotions)) or bias.shape != emotions.shape:
        raise ValueError(f"weights of shape {weights.shape} and {bias.shape} for {count} n-grams")
    if emotions.min() < 0 or emotions.max() >= len(EMOTIONS):
        raise ValueError(f"classes of emotions {emotions.tolist()}")
    if any(grams.checksums.shape != grams.rarity.shape for grams in (words, pieces)):
        raise ValueError(f"other numbers of n-grams than of their weights for {language!r}")
    if not all(np.isfinite(array).all() for array in (weights, bias, words.rarity, pieces.rarity)):
        raise ValueError(f"weights for {language!r} that are not finite")
    return EmotionTable((words, pieces), weights, bias, emotions.astype(np.int64))


def _compressed(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (G, K) int8 levels and the (K,) float32 largest magnitudes of weights.

    A level is the root of a weight: most weights are small, and equal steps would round them to 0.
    """
    largest = np.maximum(np.abs(weights).max(axis=0), 1e-9).astype(np.float32)
    roots = np.sign(weights) * np.sqrt(np.abs(weights) / largest)
    return np.round(roots * _LEVELS).astype(np.int8), largest


def _expanded(levels: np.ndarray, largest: np.ndarray) -> np.ndarray:
    roots = levels.astype(np.float32) / _LEVELS
    return np.sign(roots) * np.square(roots) * largest
