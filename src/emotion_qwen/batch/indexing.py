"""The command `index`: store labelled clips as examples, with which `analyze --examples` compares a clip."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from emotion_qwen.batch.following import Following
from emotion_qwen.console import quiet
from emotion_qwen.data.labelled import matched
from emotion_qwen.errors import DataError, printable
from emotion_qwen.files import is_hidden
from emotion_qwen.media.clip import find_media
from emotion_qwen.taxonomy import LabelSet, chosen_labels
from emotion_qwen.verify.sentences import read_columns

if TYPE_CHECKING:
    from emotion_qwen.analysis.analyzer import Analysis, Analyzer
    from emotion_qwen.analysis.examples import ExampleIndex
    from emotion_qwen.analysis.request import Request

FITTED_ON = 4
"""One of this many clips is for the fit, where a source names no split."""
SPLITS = ("train", "validation")


@dataclass(frozen=True)
class LabelledClip:
    """A file with its label.

    Attributes:
        path: of the file.
        label: of the label set.
        validation: whether the weight of the examples is fitted on it; it is then no example itself.
    """

    path: Path
    label: str
    validation: bool


def labelled_clips(source: Path, labels: LabelSet) -> list[LabelledClip]:
    """Return the labelled clips of a folder with one subfolder per label, or of a table.

    Args:
        source: a folder; or a table (.csv, .tsv, .jsonl, .parquet) with the columns `file` and `label`, and perhaps
            `split` ("train" or "validation"). Paths in a table start from its folder.
        labels: the label set; `Happy` and `joy` are `happiness` in fer7.

    Raises:
        DataError: the source has no labelled clip, an unknown label or split, or a table lacks a column.
        MediaError: a folder of a label has no clip.
    """
    if not source.exists():
        raise DataError(f"{str(source)!r} does not exist; expected a folder of labels, or a table of files and labels")
    if source.is_dir():
        folders = sorted(path for path in source.iterdir() if path.is_dir() and not is_hidden(path, source))
        rows = [
            (path, matched(folder.name, labels), "") for folder in folders
            for path in find_media([str(folder)], sounds=True)
        ]  # fmt: skip
    else:
        rows = [_row(row, number, source, labels) for number, row in enumerate(read_columns(source), 1)]
    if not rows:
        raise DataError(f"{str(source)!r} has no labelled clip; expected one folder per label, or rows of a table")
    if any(split for _, _, split in rows):
        return [LabelledClip(path, label, split == "validation") for path, label, split in rows]
    numbers = list(range(len(rows)))
    random.Random(0).shuffle(numbers)
    fitted = set(numbers[: len(rows) // FITTED_ON])
    return [LabelledClip(path, label, number in fitted) for number, (path, label, _) in enumerate(rows)]


def _row(row, number: int, source: Path, labels: LabelSet) -> tuple[Path, str, str]:
    file, label, split = (row.get(name) for name in ("file", "label", "split"))
    if not (isinstance(file, str) and file and isinstance(label, str) and label):
        raise DataError(f"{str(source)!r}, row {number}: file {file!r}, label {label!r}; expected text in both columns")
    if split and split not in SPLITS:
        raise DataError(f"{str(source)!r}, row {number}: split {split!r}; expected {' or '.join(SPLITS)}")
    return source.parent / file, matched(label, labels), split or ""


def make_index(clips: Sequence[tuple[LabelledClip, Analysis]], analyzer: Analyzer, request: Request) -> ExampleIndex:
    """Return the index of analyzed clips; those for validation fit the weight.

    Raises:
        DataError: too few clips; see `fit_examples`.
    """
    from emotion_qwen.analysis.examples import ExampleIndex, fit_examples

    labels = request.label_set.labels
    sides = [[pair for pair in clips if pair[0].validation is side] for side in (False, True)]
    known = [[analysis.features for _, analysis in side if analysis.features is not None] for side in sides]
    vectors = [np.stack([each.pooled for each in side]) if side else np.zeros((0, 1), np.float32) for side in known]
    columns = [np.array([labels.index(clip.label) for clip, _ in side], dtype=np.int64) for side in sides]
    shares = np.array([[a.report.distribution[label] for label in labels] for _, a in sides[1]])
    fit = fit_examples(vectors[0], columns[0], vectors[1], shares, columns[1])
    sources = tuple(printable(clip.path) for clip, _ in sides[0])
    return ExampleIndex(vectors[0], columns[0], labels, sources, analyzer.made_by(request), fit)


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), required=True, help="Folder of the index.")
@click.option("--labels", default="dfew7", show_default=True, help="Label set, or labels separated by commas.")
@click.option("--language", type=click.Choice(["en", "zh"]), default="en", show_default=True)
@click.option("--model", default=None, help="nano, mini (if fetched), a model or adapter folder, or a hub name.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps, balanced")
@click.option("--dtype", default="auto", show_default=True, help="auto, float32, bfloat16, float16")
@click.option("--workers", type=click.IntRange(0), default=None, help="Processes that prepare clips.")
def index(source: Path, to: Path, labels: str, language: str, workers: int | None, **options: str) -> None:
    """Store the labelled clips of SOURCE as examples for `analyze --examples`.

    SOURCE is a folder with one subfolder per label, or a table with the columns file, label and perhaps split. Stored
    are labels, paths, and the model's state when it is asked for the emotion: no picture, no sound, and nothing that
    was made to recognise a person. How much the examples count is fitted on the clips of the split validation, or on a
    quarter of all clips.
    """
    chosen = chosen_labels(labels)
    clips = labelled_clips(source, chosen)
    from emotion_qwen.analysis.analyzer import Analysis, Analyzer
    from emotion_qwen.analysis.examples import check_numbers
    from emotion_qwen.analysis.request import Request
    from emotion_qwen.batch.folder import analyze_all

    validation = sum(clip.validation for clip in clips)
    check_numbers(len(clips) - validation, validation)  # before hours of analysis
    quiet()
    analyzer = Analyzer.load(**options)
    analyzer.check_features("index")
    request = Request(chosen, language)
    shown = Following(len(clips))
    results = analyze_all(analyzer, [clip.path for clip in clips], request, workers, shown.stage)
    usable = []
    for clip, (file, result) in zip(clips, shown.over(results), strict=True):
        if isinstance(result, Analysis) and result.report.label is not None:
            usable.append((clip, result))
        else:
            reason = "nobody is seen or heard" if isinstance(result, Analysis) else result
            print(f"left out: {printable(file)!r}: {reason}", file=sys.stderr, flush=True)
    made = make_index(usable, analyzer, request)
    path, fit = made.write(to), made.fit
    click.echo(
        f"{path}: {len(made.columns)} examples; on {fit.clips} validation clips the model alone is right in "
        f"{fit.accuracy:.1%}, with {fit.neighbours} examples of weight {fit.weight:.2f} in {fit.accuracy_with:.1%}"
    )
    if not fit.weight:
        click.echo("the examples do not help: reports will list them, and answers stay those of the model")
