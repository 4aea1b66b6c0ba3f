"""Comparison of two runs: paired differences with intervals, and McNemar's test, task by task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.pages.blocks import Block, Heading, Rows, Text, as_html, markdown_of_blocks
from emotion_qwen.evaluation.run.score import Column, score_run
from emotion_qwen.evaluation.scoring.paired import Comparison, Difference, compare
from emotion_qwen.files import write_whole

PAGE, WEB, RECORD = "comparison.md", "comparison.html", "comparison.json"
HEAD = ("task", "language", "score", "first", "second", "difference", "95 % interval", "items", "coverage", "parsed")


@dataclass(frozen=True, eq=False)
class Pair:
    """One task in one language, answered by both models."""

    first: Column
    second: Column
    comparison: Comparison


@dataclass(frozen=True, eq=False)
class Runs:
    """Two compared runs: names of the models, the pairs, and what could not be compared, with the reason."""

    names: tuple[str, str]
    pairs: tuple[Pair, ...]
    left_out: dict[str, str]


def compare_runs(first: Path, second: Path) -> Runs:
    """Compare what two folders of predictions have in common.

    Args:
        first: a run with one model, or the folder of a model in a run.
        second: the same for the second model.

    Raises:
        DataError: a folder holds no predictions or several models, or nothing can be compared.
    """
    sides = [_columns(first), _columns(second)]
    pairs, left_out = [], {}
    for key in dict.fromkeys([*sides[0], *sides[1]]):
        place = f"{key[0]}, {key[1]}"
        if key not in sides[0] or key not in sides[1]:
            left_out[place] = f"answered in the {'first' if key in sides[0] else 'second'} only"
            continue
        first_column, second_column = sides[0][key], sides[1][key]
        if first_column.header.get("split") != second_column.header.get("split"):
            left_out[place] = f"split {first_column.header.get('split')} against {second_column.header.get('split')}"
            continue
        try:
            pairs.append(Pair(first_column, second_column, compare(first_column.result, second_column.result)))
        except DataError as error:
            left_out[place] = str(error)
    if not pairs:
        reasons = "; ".join(f"{place}: {why}" for place, why in left_out.items())
        raise DataError(f"{first} and {second} have nothing to compare ({reasons}); answer the same tasks")
    return Runs((pairs[0].first.model, pairs[0].second.model), tuple(pairs), left_out)


def _columns(run: Path) -> dict[tuple[str, str], Column]:
    columns = score_run(run).columns
    models = sorted({column.folder.parent for column in columns})
    if len(models) > 1:
        folders = ", ".join(str(model) for model in models)
        raise DataError(f"{run} holds {len(models)} models; give the folder of one of them: {folders}")
    return {(column.task.column, column.language): column for column in columns}


def write_comparison(runs: Runs, folder: Path) -> list[Path]:
    """Write `comparison.json`, `comparison.md` and `comparison.html`; return the files to read."""
    blocks = _blocks(runs)
    write_whole(folder / RECORD, json.dumps(_record(runs), indent=1, ensure_ascii=False) + "\n")
    write_whole(folder / PAGE, markdown_of_blocks(blocks, folder))
    write_whole(folder / WEB, as_html(blocks, " against ".join(runs.names)))
    return [folder / PAGE, folder / WEB]


def print_comparison(runs: Runs, console: Console) -> None:
    """Print the table, and what could not be compared, with the reason."""
    table = Table(title=escape(f"{runs.names[0]} (first) and {runs.names[1]} (second), paired"))
    for number, title in enumerate(HEAD[:7]):
        table.add_column(title, justify="left" if number < 3 else "right")
    for pair in runs.pairs:
        for row in _rows(pair)[:2]:
            table.add_row(*map(escape, row[:7]))
    console.print(table)
    for place, why in runs.left_out.items():
        console.print(f"left out: {place}: {why}", style="yellow", markup=False, highlight=False)


def _blocks(runs: Runs) -> list[Block]:
    blocks: list[Block] = [
        Heading(f"{runs.names[0]} and {runs.names[1]}", 1),
        Text(
            "Both answered the same items. Differences are second minus first, with 95 % paired bootstrap intervals. "
            "Coverage and parsed: first / second."
        ),
        Rows(HEAD, [row for pair in runs.pairs for row in _rows(pair)], (0, 1, 2)),
    ]
    tests = [
        [pair.first.task.column, pair.first.language, f"{test.only_first:,}", f"{test.only_second:,}", f"{test.p:.4f}"]
        for pair in runs.pairs
        if (test := pair.comparison.mcnemar)
    ]
    if tests:
        head = ("task", "language", "correct in the first only", "correct in the second only", "p")
        blocks += [
            Heading("McNemar's exact test"),
            Text(
                "For tasks whose items are independent and either correct or wrong. The test assumes independence; "
                "where items share a picture, a person or a question, see the interval instead."
            ),
            Rows(head, tests, (0, 1)),
        ]
    if runs.left_out:
        rows = [[place, why] for place, why in runs.left_out.items()]
        blocks += [Heading("Left out"), Rows(("task", "why"), rows, (0, 1))]
    return blocks


def _rows(pair: Pair) -> list[list[str]]:
    tallies = pair.first.result.tally, pair.second.result.tally
    beside = [" / ".join(f"{t.coverage:.1%}" for t in tallies), " / ".join(f"{t.parse_rate:.1%}" for t in tallies)]
    start = [pair.first.task.column, pair.first.language]
    items = {score.name: f"{score.items:,}" for score in pair.first.result.scores}
    return [
        [*start, difference.name, *_difference_cells(difference), items[difference.name], *beside]
        for difference in pair.comparison.differences
    ]


def _difference_cells(difference: Difference) -> Sequence[str]:
    scale, digits = (100, 1) if difference.share else (1, 2)
    first, second, moved, low, high = (
        scale * value
        for value in (
            difference.first,
            difference.second,
            difference.difference.value,
            difference.difference.low,
            difference.difference.high,
        )
    )
    return (
        f"{first:.{digits}f}",
        f"{second:.{digits}f}",
        f"{moved:+.{digits}f}",
        f"{low:+.{digits}f} to {high:+.{digits}f}",
    )


def _record(runs: Runs) -> dict[str, Any]:
    return {
        "first": runs.names[0],
        "second": runs.names[1],
        "left_out": runs.left_out,
        "pairs": [_pair_record(pair) for pair in runs.pairs],
    }


def _pair_record(pair: Pair) -> dict[str, Any]:
    test = pair.comparison.mcnemar
    return {
        "task": pair.first.task.column,
        "language": pair.first.language,
        "differences": {
            difference.name: {
                "first": difference.first,
                "second": difference.second,
                "difference": difference.difference.value,
                "low": difference.difference.low,
                "high": difference.difference.high,
            }
            for difference in pair.comparison.differences
        },
        "mcnemar": test and {"only_first": test.only_first, "only_second": test.only_second, "p": test.p},
    }
