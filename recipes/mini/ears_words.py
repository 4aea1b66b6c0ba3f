"""The word error rate of a speech recogniser on emotional speech whose words are known: RAVDESS's validation speakers.

Needs faster-whisper (`pip install 'emotion-qwen[asr]'`). Both sides are normalised as OpenAI normalises English for
Whisper's own figures (`EnglishTextNormalizer` of transformers, without its list of British spellings): lower case, no
punctuation, contractions and numbers written out. The rate is the number of inserted, deleted and replaced words per
word spoken, over all clips together.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rapidfuzz.distance import Levenshtein
from rich.progress import track
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from emotion_qwen.data.voices import decode_voice
from emotion_qwen.media.speech import Recognizer

FILE = "speech_ravdess.parquet"
DRAWS = 2000


def word_errors(reference: str, hypothesis: str) -> tuple[int, int]:
    """Return the wrong words and the words of the reference, both texts normalised."""
    normalise = EnglishTextNormalizer({})
    spoken, recognised = normalise(reference).split(), normalise(hypothesis).split()
    return Levenshtein.distance(spoken, recognised), len(spoken)


def recognise(data: Path, folder: Path) -> dict[str, Any]:
    """Recognise the validation clips and return the word error rate, by label as well.

    Args:
        data: folder of the Parquet files.
        folder: Whisper in CTranslate2's format.
    """
    recognizer = Recognizer.load(folder)
    rows = [row for row in pq.read_table(data / FILE).to_pylist() if row["split"] == "validation"]
    errors, by_label, whole = [], defaultdict(list), 0
    for row in track(rows, "words"):
        words = recognizer.words(decode_voice(row["audio"], row["id"]))
        counts = word_errors(row["text"], " ".join(utterance.text for utterance in words.utterances))
        errors.append(counts)
        by_label[row["label"]].append(counts)
        whole += counts[0] == 0
    random, table = np.random.default_rng(0), np.array(errors)
    draws = [table[random.integers(0, len(table), len(table))].sum(0) for _ in range(DRAWS)]
    low, high = np.percentile([wrong / words for wrong, words in draws], [2.5, 97.5])
    return {
        "recogniser": recognizer.name,
        "clips": len(rows),
        "words": int(table[:, 1].sum()),
        "word_error_rate": round(100 * float(table[:, 0].sum() / table[:, 1].sum()), 1),
        "interval": [round(100 * float(low), 1), round(100 * float(high), 1)],
        "clips_without_error": round(100 * whole / len(rows), 1),
        "by_label": {
            label: round(100 * sum(wrong for wrong, _ in counts) / sum(words for _, words in counts), 1)
            for label, counts in sorted(by_label.items())
        },
    }
