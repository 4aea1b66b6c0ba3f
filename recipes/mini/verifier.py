"""Train the shipped verifier of explanations, measure it, and write its folder with its card.

English: GoEmotions with its 28 classes, which are added up to seven, and the emotion words of `taxonomy` in short
sentences. Chinese: Weibo posts and television dialogue of `text_emotion_zh`, and the words likewise. Each language is
fitted separately, and finished ones are kept, so that an interrupted run continues with the other one.

    python -m recipes.mini.verifier --data DATA --output RUNS/verifier

ISEAR and EmoBank are not used: with ISEAR's sentences, macro F1 on GoEmotions' validation part did not rise, and ISEAR
has no licence; EmoBank names no emotions.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from emotion_qwen.console import run_command
from emotion_qwen.evaluation.run.verifier import figures_of, measure_verifier
from emotion_qwen.evaluation.scoring.explanations import FLOOR, GAIN, score_explanations
from emotion_qwen.files import write_whole
from emotion_qwen.taxonomy import CONCEPTS
from emotion_qwen.verify.checking import split_sentences
from emotion_qwen.verify.cues import cue_overlaps
from emotion_qwen.verify.fitting import fit_table, of_language
from emotion_qwen.verify.measures import Explained, Measured, measure_agreement, measure_with_floor
from emotion_qwen.verify.sentences import (
    TRAIN,
    VALIDATION,
    LabelledText,
    Sentences,
    labelled_sentences,
    read_columns,
    read_sentences,
)
from emotion_qwen.verify.verifier import EMOTIONS, SETTINGS, Verifier, emotion_of

FILES = {"en": "text_goemotions.parquet", "zh": "text_emotion_zh.parquet"}
DESCRIPTIONS = "text_mer_descriptions.parquet"
FRAMES = {
    "en": ("{}", "I feel {}.", "The person looks {}.", "A face full of {}."),
    "zh": ("{}", "我觉得{}。", "这个人看起来{}。", "{}的表情"),
}
"""Sentences around each emotion word."""
WORDS_COUNT = 0.5
"""Weight of each of these sentences."""
CARD = """# Verifier of explanations

Reads which of seven emotions ({emotions}) a sentence in English or Chinese expresses: multinomial logistic regression
on words, pairs of words and pieces of words. `emotion-qwen verify` uses it to measure whether explanations are true to
their labels; see the guide. Its result is what a text expresses, not what somebody feels.

## Figures

On validation parts, sentences with one emotion. Intervals: 95 %, bootstrap.

| language | sentences | macro F1 | accuracy |
| --- | --- | --- | --- |
{rows}

F1 by emotion: {classes}.

## Explanations by people

{described}

## Words

`word_table.json` contains, by emotion, the number of GoEmotions' training comments (39,551 with one of the seven
emotions) in which a word occurs. Reports cite it for spoken words. English only; Apache-2.0; made by
`recipes/evidence.py words`.

## Data and terms

`Apache-2.0 AND LicenseRef-research-weights`: see [LICENSE-WEIGHTS](LICENSE-WEIGHTS).

| data | terms | sentences |
| --- | --- | --- |
| GoEmotions, Reddit comments (Demszky et al., ACL 2020), training part | Apache-2.0 | {en} |
| Chinese: SMP2020-EWECT Weibo posts, CLUEmotion2020, CPED television dialogue, training parts | copies under \
Apache-2.0 or without a licence; the posts and scripts themselves are not cleared: research use | {zh} |
| emotion words of this package in short sentences | Apache-2.0 | {words} |

Reddit and Weibo are colloquial and sometimes offensive; sentences about a clip are neither. The figures
above do not apply to such sentences, so every measure is reported with its floor. Fear and disgust are rare in
GoEmotions and the least reliable. Made by `recipes/mini/verifier.py`.
"""


def word_sentences(language: str) -> Sentences:
    """Return every word for one of the seven emotions in the sentences of `FRAMES`."""
    rows = [
        LabelledText(frame.format(word), (concept.name,))
        for concept in CONCEPTS.values()
        if concept.name in EMOTIONS
        for word in (concept.english if language == "en" else concept.chinese)
        for frame in FRAMES[language]
    ]
    return labelled_sentences(rows, WORDS_COUNT)[0]


def together(parts: Sequence[Sentences]) -> Sentences:
    """Return the sentences of several parts as one."""
    return Sentences(
        [text for part in parts for text in part.texts],
        np.concatenate([part.targets for part in parts]),
        np.concatenate([part.weights for part in parts]),
        parts[0].emotions,
    )


def finer(path: Path, words: Sentences) -> tuple[Sentences, Sentences]:
    """Return GoEmotions' training part and the emotion words with its 28 classes, each in its Ekman group.

    A word for anger becomes a sentence of the class anger, and so on; happiness is called joy there.
    """
    fine = [row for row in read_sentences(path, label="labels") if row.split == TRAIN]
    votes: dict[str, Counter[str]] = {}
    ekman = [row.labels for row in read_sentences(path) if row.split == TRAIN]
    for row, groups in zip(fine, ekman, strict=True):
        if len(row.labels) == len(groups) == 1:
            votes.setdefault(row.labels[0], Counter())[emotion_of(groups[0]) or ""] += 1
    classes = sorted(votes)
    emotions = tuple(EMOTIONS.index(votes[name].most_common(1)[0][0]) for name in classes)
    targets = np.array([[(name in row.labels) / len(row.labels) for name in classes] for row in fine], dtype=np.float32)
    train = Sentences([row.text for row in fine], targets, np.ones(len(fine), dtype=np.float32), emotions)
    names = ["joy" if emotion == "happiness" else emotion for emotion in EMOTIONS]
    columns = np.eye(len(classes), dtype=np.float32)[[classes.index(name) for name in names]]
    return train, Sentences(words.texts, words.targets @ columns, words.weights, emotions)


def part_of(rows: Sequence[LabelledText], split: str) -> Sentences:
    """Return the sentences of one split."""
    return labelled_sentences([row for row in rows if row.split == split])[0]


def train_language(language: str, data: Path, output: Path) -> dict[str, Any]:
    """Train one language, unless that has been done; return its figures."""
    folder = output / language
    facts = folder / "figures.json"
    if facts.is_file():
        return json.loads(facts.read_text(encoding="utf-8"))
    rows = read_sentences(data / FILES[language])
    train, words = part_of(rows, TRAIN), word_sentences(language)
    if language == "en":
        train, words = finer(data / FILES[language], words)
    train = of_language(train, language)
    if not (folder / SETTINGS).is_file():
        Verifier({language: fit_table(together([train, words]), language)}).save(folder)
    result = measure_verifier(Verifier.load(folder), of_language(part_of(rows, VALIDATION), language))
    assert result is not None  # both files have a validation part
    counts = Counter((answer.item.references[0], answer.read) for answer in result.judged)
    support, given = Counter[str](), Counter[str | None]()
    for (right, read), number in counts.items():
        support[right] += number
        given[read] += number
    classes = {name: 2 * counts[name, name] / max(support[name] + given[name], 1) for name in EMOTIONS}
    figures = {
        "sentences": len(train), "words": len(words), **figures_of(result),
        "f1": {name: round(f1, 4) for name, f1 in classes.items()},
    }  # fmt: skip
    write_whole(facts, json.dumps(figures, indent=2) + "\n")
    return figures


def described(path: Path, verifier: Verifier) -> dict[str, dict[str, Any]]:
    """Measure the verifier on people's explanations of television clips (EMER v1), which no part of it was fitted to.

    EEA is measured with all sentences, and without the last one, which names the emotion. Cue F compares them with the
    paragraphs about the same clips (EMER v2).
    """
    rows = [row for row in read_columns(path) if row["split"] in (TRAIN, VALIDATION)]
    figures: dict[str, dict[str, Any]] = {}
    for language in FILES:
        first = [row for row in rows if row["source"] == "EMER v1" and row["lang"] == language]
        texts = {
            row["clip"]: row["description"] for row in rows if row["source"] != "EMER v1" and row["lang"] == language
        }
        for name, kept in (("EEA", None), ("EEA without the last sentence", -1)):
            items = [
                Explained(row["clip"], " ".join(split_sentences(row["description"])[:kept]), None, row["emotion"])
                for row in first
            ]
            figures[f"{name}, {language}"] = _scores(measure_agreement(items, verifier)[0][0])
        pairs = [(row["clip"], row["description"], texts[row["clip"]]) for row in first if row["clip"] in texts]
        clips, given, wanted = (list(column) for column in zip(*pairs, strict=True))

        def compare(order: Sequence[int], given: list[str] = given, wanted: list[str] = wanted) -> list[float]:
            return [overlap.f1 for overlap in cue_overlaps([given[row] for row in order], wanted, verifier)]

        figures[f"cue F, {language}"] = _scores(measure_with_floor("cue F", clips, compare))
    return figures


def _scores(measured: Measured) -> dict[str, Any]:
    scores = score_explanations(measured)
    values = {
        name: {"value": round(score.value, 4), "low": round(score.low, 4), "high": round(score.high, 4)}
        for name, score in (("value", scores[measured.name]), (FLOOR, scores[FLOOR]), (GAIN, scores[GAIN]))
    }
    return {"items": len(measured.values), "constant": measured.constant, **values}


def described_table(figures: dict[str, dict[str, Any]]) -> str:
    """Return the table of the card about explanations by people."""
    lines = ["| measure | clips | value | floor | gain | constant |", "| --- | --- | --- | --- | --- | --- |"]
    for name, figure in figures.items():
        gain, constant = figure[GAIN], figure["constant"]
        lines.append(
            f"| {name} | {figure['items']} | {figure['value']['value']:.3f} | {figure[FLOOR]['value']:.3f} | "
            f"{gain['value']:+.3f} ({gain['low']:.3f} to {gain['high']:.3f}) | "
            f"{'' if constant is None else f'{constant:.3f}'} |"
        )
    return "\n".join(lines)


def card(figures: dict[str, dict[str, Any]], people: dict[str, dict[str, Any]]) -> str:
    """Return the card of the verifier."""

    def with_interval(score: dict[str, float]) -> str:
        return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"

    names = {"en": "English (GoEmotions)", "zh": "Chinese"}
    rows = [
        f"| {names[language]} | {f['items']:,} | {with_interval(f['macro_f1'])} | {with_interval(f['accuracy'])} |"
        for language, f in figures.items()
    ]
    classes = "; ".join(
        f"{names[language]}: " + ", ".join(f"{name} {f1:.2f}" for name, f1 in f["f1"].items())
        for language, f in figures.items()
    )
    return CARD.format(
        emotions=", ".join(EMOTIONS), rows="\n".join(rows), classes=classes,
        described=described_table(people), words=f"{sum(f['words'] for f in figures.values()):,}",
        **{language: f"{f['sentences']:,}" for language, f in figures.items()},
    )  # fmt: skip


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the Parquet files.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder of the verifier.")
@click.option("--language", type=click.Choice(list(FILES)), default=None, help="Train only this language, and stop.")
def command(data: Path, output: Path, language: str | None) -> None:
    """Train the verifier, or continue; write weights, figures and card to OUTPUT/verifier."""
    if language is not None:
        train_language(language, data, output)
        return
    figures = {}
    for language in FILES:
        figures[language] = train_language(language, data, output)
        click.echo(f"{language}: {json.dumps(figures[language])}")
    tables = {language: Verifier.load(output / language).table(language) for language in FILES}
    people = described(data / DESCRIPTIONS, Verifier(tables))
    Verifier(tables, {"validation": figures, "explanations by people": people}).save(output / "verifier")
    write_whole(output / "verifier" / "README.md", card(figures, people))


if __name__ == "__main__":
    sys.exit(run_command(command))
