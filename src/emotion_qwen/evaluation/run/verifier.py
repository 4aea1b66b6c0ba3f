"""Train a verifier from files of labelled sentences, and measure it on sentences that were not used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring.labels import score_labels
from emotion_qwen.evaluation.scoring.records import Response, Result, ScoredItem
from emotion_qwen.taxonomy import label_set
from emotion_qwen.verify.fitting import FEWEST, fit_table, of_language
from emotion_qwen.verify.sentences import TEST, VALIDATION, LabelledText, Sentences, labelled_sentences, read_sentences
from emotion_qwen.verify.verifier import EMOTIONS, Verifier

TENTH = 10
"""Without a split named validation, one text of this many is left out to measure the verifier."""
LANGUAGES = ("en", "zh")


@dataclass(frozen=True, eq=False)
class TrainedVerifier:
    """A verifier with its figures.

    Attributes:
        verifier: to be saved.
        results: language -> scores on sentences with one emotion that were not used in training.
        notes: what was left out.
    """

    verifier: Verifier
    results: Mapping[str, Result]
    notes: tuple[str, ...]


def train_verifier(paths: Sequence[Path], text: str = "text", label: str | None = None) -> TrainedVerifier:
    """Train a verifier from labelled sentences in English, Chinese or both.

    Rows whose `split` is "validation" measure it, rows of "test" are left out, all others train it. Without validation
    rows, one text of `TENTH` is left out for that.

    Args:
        paths: files; see `read_sentences`.
        text: name of the column of texts.
        label: name of the column of labels; None takes the usual ones.

    Raises:
        DataError: see `read_sentences` and `fit_table`.
    """
    rows: dict[str, list[LabelledText]] = {path.name: read_sentences(path, text, label) for path in paths}
    every = [row for part in rows.values() for row in part]
    named = any(row.split == VALIDATION for row in every)
    kept = [row for row in every if _measures(row, named)]
    train, _ = labelled_sentences([row for row in every if row.split != TEST and not _measures(row, named)])
    _, unknown = labelled_sentences([row for row in every if row.split != TEST])
    held_out, _ = labelled_sentences(kept)
    notes = _notes(every, unknown)
    tables, results = {}, {}
    for language in LANGUAGES:
        part = of_language(train, language)
        if len(part) < FEWEST:
            notes += [f"{len(part)} sentences in {language!r} are too few to train on; left out"] * bool(len(part))
            continue
        tables[language] = fit_table(part, language)
        measured = measure_verifier(Verifier(tables), of_language(held_out, language))
        if measured is not None:
            results[language] = measured
    if not tables:
        raise DataError(
            f"{len(train)} labelled sentence(s) for one of {', '.join(EMOTIONS)}; expected at least {FEWEST} in one "
            f"language{f' (other labels: {_counted(unknown)})' if unknown else ''}; give more data, or --label"
        )
    facts = {
        "sentences": {name: len(part) for name, part in rows.items()},
        "validation": {language: figures_of(result) for language, result in results.items()},
    }
    return TrainedVerifier(Verifier(tables, facts), results, tuple(notes))


def measure_verifier(verifier: Verifier, sentences: Sentences, *, seed: int = 0) -> Result | None:
    """Score a verifier on the sentences with one emotion, with 95 % intervals; None if there are none.

    Args:
        verifier: to measure.
        sentences: that it was not trained on.
        seed: of the bootstrap.
    """
    single = sentences[sentences.by_emotion().max(axis=1) == 1] if len(sentences) else sentences
    if not len(single):
        return None
    chosen = verifier.shares(single.texts).argmax(axis=1)
    right = single.by_emotion().argmax(axis=1)
    items = [ScoredItem(str(row), (EMOTIONS[emotion],), EMOTIONS) for row, emotion in enumerate(right)]
    answers = [Response(str(row), scores={EMOTIONS[emotion]: 1.0}) for row, emotion in enumerate(chosen)]
    return score_labels(items, answers, label_set("fer7"), seed=seed)


def figures_of(result: Result) -> dict[str, Any]:
    """Return accuracy and macro F1 with their intervals, for JSON."""
    return {
        "items": result.tally.items,
        **{
            name: {"value": round(score.value, 4), "low": round(score.low, 4), "high": round(score.high, 4)}
            for name, score in (("accuracy", result["WAR"]), ("macro_f1", result["macro F1"]))
        },
    }


def _measures(row: LabelledText, named: bool) -> bool:
    """Whether a row measures the verifier and does not train it."""
    if row.split or named:
        return row.split == VALIDATION
    return crc32(row.text.encode("utf-8", "replace")) % TENTH == 1


def _notes(rows: Sequence[LabelledText], unknown: Counter[str]) -> list[str]:
    test = sum(row.split == TEST for row in rows)
    notes = [f"{test} rows of the split test were left out"] * bool(test)
    if unknown:
        notes.append(f"{unknown.total()} rows have none of the emotions and were left out: {_counted(unknown)}")
    return notes


def _counted(unknown: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in unknown.most_common(8))
