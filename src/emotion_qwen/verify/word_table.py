"""The relative frequency of each word in texts of one emotion and in all others, counted from labelled texts.

A table stores, per word, in how many texts of each emotion it occurs. The ratio of a word for an emotion is the share
of that emotion's texts that have the word, divided by the share of all other texts, both with a prior: `PRIOR` texts
in which every word is as frequent as in all texts together. So a word that was seen a few times stays near 1. Its
z-score indicates whether the ratio could be due to chance (Monroe, Colaresi and Quinn, Political Analysis 2008).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.errors import CheckpointError
from emotion_qwen.files import write_whole
from emotion_qwen.verify.ngrams import is_chinese, tokens_of
from emotion_qwen.verify.sentences import Sentences
from emotion_qwen.verify.verifier import EMOTIONS, NEUTRAL, SHIPPED, softmax

FILE, FORMAT = "word_table.json", 1
FEWEST = 10
"""Number of texts that a word must occur in."""
PRIOR = 200.0
"""Weight of the prior, in texts."""
SURE = 3.0
"""z-score from which a word is evidence."""
TELLING = 3.0
"""Ratio from which a word is evidence."""
LARGEST = 20.0
"""Ratio above which a sentence says "more than": larger ones come from very few other texts."""
_SMALLEST = 1e-15


@dataclass(frozen=True)
class WordEvidence:
    """A word of a text that is much more frequent in one emotion than in all others.

    Attributes:
        word: in lower case.
        emotion: one of `EMOTIONS`.
        ratio: how many times as often it occurs in texts of that emotion as in all others.
    """

    word: str
    emotion: str
    ratio: float


@dataclass(frozen=True, eq=False)
class WordTable:
    """Words with the number of texts of each emotion that they occur in.

    Attributes:
        words: W words, in lower case.
        counts: (W, 7) number of texts of each of `EMOTIONS` with the word.
        texts: (7,) number of texts of each emotion.
        facts: the source of the texts.
    """

    words: tuple[str, ...]
    counts: np.ndarray
    texts: np.ndarray
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path | None = None) -> WordTable:
        """Load a table from its folder; None loads the shipped one, once per process.

        Raises:
            CheckpointError: the folder contains no table of this version.
        """
        return _shipped() if folder is None else _read(folder / FILE)

    @classmethod
    def count(cls, sentences: Sentences, facts: Mapping[str, Any] | None = None, fewest: int = FEWEST) -> WordTable:
        """Count the words of labelled texts; texts with several emotions and Chinese texts are left out.

        Args:
            sentences: texts with shares of emotions.
            facts: see the attribute.
            fewest: number of texts that a word must occur in.
        """
        counts: dict[str, np.ndarray] = {}
        texts = np.zeros(len(EMOTIONS), dtype=np.int64)
        for text, shares in zip(sentences.texts, sentences.targets, strict=True):
            if shares.max() < 1 or is_chinese(text):
                continue
            column = int(shares.argmax())
            texts[column] += 1
            for word in _words(text):
                counts.setdefault(word, np.zeros(len(EMOTIONS), dtype=np.int64))[column] += 1
        kept = sorted(word for word, row in counts.items() if row.sum() >= fewest)
        table = np.array([counts[word] for word in kept], dtype=np.int64).reshape(-1, len(EMOTIONS))
        return cls(tuple(kept), table, texts, facts or {})

    def save(self, folder: Path) -> Path:
        """Write the table into a folder as JSON and return its file."""
        values = {
            "format": FORMAT, "emotions": list(EMOTIONS), "texts": self.texts.tolist(), **self.facts,
            "words": dict(zip(self.words, self.counts.tolist(), strict=True)),
        }  # fmt: skip
        write_whole(folder / FILE, json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n")
        return folder / FILE

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {word: row for row, word in enumerate(self.words)}

    @cached_property
    def _in_and_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (W, 7) log odds of a word in texts of an emotion minus in all others, and their z-scores."""
        total, expected = self.counts.sum(axis=1, keepdims=True), self.texts.sum()
        prior = PRIOR * total / expected  # texts with the word among those of the prior
        within, without = self.counts + prior, total - self.counts + prior
        others = expected - self.texts
        ratios = np.log(within / (self.texts + PRIOR)) - np.log(without / (others + PRIOR))
        return ratios, ratios / np.sqrt(1 / within + 1 / without)

    @property
    def ratios(self) -> np.ndarray:
        """(W, 7) how many times as often a word occurs in texts of an emotion as in all others."""
        return np.exp(self._in_and_out[0])

    def evidence(self, text: str) -> list[WordEvidence]:
        """Return the words of a text that are evidence of an emotion other than neutral, the strongest first."""
        strong = []
        logs, sure = self._in_and_out
        for row in self._known(text):
            usable = np.where(sure[row] >= SURE, logs[row], -np.inf)
            usable[NEUTRAL] = -np.inf
            column = int(usable.argmax())
            if usable[column] >= np.log(TELLING):
                strong.append(WordEvidence(self.words[row], EMOTIONS[column], float(np.exp(usable[column]))))
        return sorted(strong, key=lambda each: -each.ratio)

    def shares(self, texts: Sequence[str]) -> np.ndarray:
        """Return (N, 7) shares of `EMOTIONS` in N texts: naive Bayes on the words that a text has.

        A text without a known word has the shares of the counted texts.
        """
        total = self.counts.sum(axis=1, keepdims=True)
        prior = PRIOR * total / self.texts.sum()
        likelihoods = np.log((self.counts + prior) / (self.texts + PRIOR))
        scores = np.tile(np.log(np.maximum(self.texts, _SMALLEST) / self.texts.sum()), (len(texts), 1))
        for place, text in enumerate(texts):
            scores[place] += likelihoods[self._known(text)].sum(axis=0)
        return softmax(scores)

    def _known(self, text: str) -> list[int]:
        return [] if is_chinese(text) else [self._rows[word] for word in _words(text) if word in self._rows]


def _words(text: str) -> list[str]:
    """Return the distinct words of a text, in order; no signs, numbers and single letters."""
    return [word for word in dict.fromkeys(tokens_of(text)) if len(word) > 1 and word[0].isalpha()]


@cache
def _shipped() -> WordTable:
    return _read(SHIPPED / FILE)


def _read(path: Path) -> WordTable:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT or values["emotions"] != list(EMOTIONS):
            raise ValueError(f"format {values['format']} with {values['emotions']}")
        words, texts = values["words"], np.array(values["texts"], dtype=np.int64)
        counts = np.array(list(words.values()), dtype=np.int64).reshape(-1, len(EMOTIONS))
        if (
            texts.shape != (len(EMOTIONS),)
            or counts.shape[0] != len(words)
            or (counts > texts).any()
            or counts.min() < 0
        ):
            raise ValueError("counts that no texts can have")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{str(path)!r} is no word table of this version ({type(error).__name__}: {error}); count one again"
        ) from error
    facts = {key: value for key, value in values.items() if key not in ("format", "emotions", "texts", "words")}
    return WordTable(tuple(words), counts, texts, facts)
