"""The page of a run: scores with intervals, how the answers were handled, figures, and the worst answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emotion_qwen import __version__
from emotion_qwen.evaluation.pages.blocks import (
    Block,
    Heading,
    Picture,
    Rows,
    Text,
    as_html,
    explained_terms,
    markdown_of_blocks,
    percent,
)
from emotion_qwen.evaluation.pages.examples import worst
from emotion_qwen.evaluation.pages.figures import draw_column
from emotion_qwen.evaluation.run.predictions import text_digest
from emotion_qwen.evaluation.run.score import Column, Scored, groups_note, score_record
from emotion_qwen.evaluation.scoring.records import Result, Score
from emotion_qwen.evaluation.task import RELEASE, Task
from emotion_qwen.files import write_whole

RECORD, PAGE, WEB, FIGURES = "scores.json", "report.md", "report.html", "figures"
CLASS = "recall of "
SHOWN = 2
"""Number of scores of a column that are printed in the terminal."""
SAID = 200
"""Maximum number of characters of a reply that are shown."""
HEAD = ("model", "language", "score", "value", "95 % interval", "items", "parsed", "coverage", "failed")


def write_report(run: Path, scored: Scored, *, frames: bool = True) -> list[Path]:
    """Write `scores.json`, `report.md`, `report.html` and the figures into a run's folder; return the files to read.

    Args:
        run: the folder.
        scored: its scores.
        frames: show frames of the worst answers.

    Raises:
        MissingPackage: matplotlib is not installed.
    """
    write_whole(run / RECORD, json.dumps(score_record(scored), indent=1, ensure_ascii=False) + "\n")
    blocks = report_blocks(run, scored, frames)
    write_whole(run / PAGE, markdown_of_blocks(blocks, run))
    write_whole(run / WEB, as_html(blocks, f"Scores of {run.name}"))
    return [run / PAGE, run / WEB]


def print_scores(scored: Scored, console: Console) -> None:
    """Print the first scores of every column, and how its answers were handled."""
    table = Table(title="scores, with 95 % intervals", padding=(0, 1, 0, 0))
    table.add_column("task, model, language", overflow="fold")
    table.add_column("score", overflow="fold")
    for title in ("value", "95 %", "parsed", "coverage", "failed"):
        table.add_column(title, justify="right", no_wrap=True)
    for column in scored.columns:
        for place, row in enumerate(_score_rows(column, column.result, _main(column.result)[:SHOWN])):
            name = "" if place else f"{column.task.column}, {column.model}, {column.language}"
            table.add_row(escape(name), *map(escape, row[2:5]), *(("",) * 3 if place else row[6:]))
    console.print(table)
    for name, why in scored.unscored.items():
        console.print(f"not scored: {name}: {why}", style="yellow", markup=False, highlight=False)


def report_blocks(run: Path, scored: Scored, frames: bool = True) -> list[Block]:
    """Compose the page of a run."""
    explained = explained_terms(score.name for column in scored.columns for score in column.result.scores)
    terms = f"{explained} " if explained else ""
    blocks: list[Block] = [
        Heading(f"Scores of {run.name}", 1),
        Text(
            "Every score is over all items: an item without an answer, or with one that cannot be read, "
            "counts as wrong. Parsed: share of the answers that could be read. Coverage: share of the items that were "
            f"answered. Failed: items whose answer is an error. Intervals: 95 %, bootstrap. {terms}"
            f"Emotion-Qwen {__version__}."
        ),
    ]
    if scored.unscored:
        unscored = [[name, why] for name, why in scored.unscored.items()]
        blocks += [Heading("Not scored"), Rows(("predictions", "why"), unscored, (0, 1))]
    if len(scored.columns) > 1:
        rows = [[c.task.column, *_score_rows(c, c.result, _main(c.result)[:1])[0]] for c in scored.columns]
        blocks += [Heading("Overview"), Rows(("task", *HEAD), rows, (0, 1, 2, 3))]
    for name in dict.fromkeys(column.task.column for column in scored.columns):
        blocks += _task_blocks(run, scored, [column for column in scored.columns if column.task.column == name], frames)
    return blocks


def _task_blocks(run: Path, scored: Scored, columns: Sequence[Column], frames: bool) -> list[Block]:
    task = columns[0].task
    blocks: list[Block] = [Heading(f"{task.title} ({task.column})")]
    if task.licence:
        blocks.append(Text(f"Licence: {task.licence}"))
    rows = [row for column in columns for row in _score_rows(column, column.result, _main(column.result))]
    rows += [
        [row[0], row[1], f"{name}: {row[2]}", *row[3:]]
        for column in columns
        for name, result in column.also.items()
        for row in _score_rows(column, result, _main(result))
    ]
    blocks.append(Rows(HEAD, rows, (0, 1, 2)))
    for (model, name), figures in scored.between.items():
        if name == task.column:
            listed = ", ".join(f"{key} {_figure(value)}" for key, value in figures.items())
            blocks.append(Text(f"{model}, English and Chinese compared: {listed}."))
    released = [[c.model, c.language, name, _figure(v)] for c in columns for name, v in c.as_released.items()]
    if released:
        blocks += [
            Heading("As released", 3),
            Text(_as_released(task)),
            Rows(("model", "language", "figure", "value"), released, (0, 1, 2)),
        ]
    for column in columns:
        blocks += _column_blocks(run, column, frames)
    return blocks


def _as_released(task: Task) -> str:
    text = "The authors' arithmetic on the same replies, for comparison with published numbers only."
    if task.prompt == RELEASE or RELEASE not in task.prompts:
        return text
    return f"{text} The published numbers use the release's wording, which is the column {task.name}.{RELEASE}."


def _column_blocks(run: Path, column: Column, frames: bool) -> list[Block]:
    tally, header = column.result.tally, column.header
    place = f"{column.model}, {column.task.column}, {column.language}"
    provenance = [
        f"weights {header.get('weights')}, {header.get('dtype') or 'number type unknown'}",
        str(header.get("scoring")),
        f"split {header.get('split')}",
        f"answering took {column.seconds:.1f} s" if column.seconds else "",
    ]
    blocks: list[Block] = [Heading(place, 3), Text("; ".join(filter(None, provenance)) + ".")]
    for note in (*column.result.notes, *groups_note(column.result), *column.notes):
        blocks.append(Text(f"Note: {note.rstrip('.')}."))
    gaps = [[why, f"{count:,}"] for why, count in sorted(tally.unread.items(), key=lambda pair: -pair[1])]
    gaps += [["answered more than once", f"{len(tally.duplicates):,}"]] if tally.duplicates else []
    gaps += [["answers to unknown items", f"{len(tally.strays):,}"]] if tally.strays else []
    gaps += [[f"not usable: {name} {why}", "1"] for name, why in list(column.rejected.items())[:10]]
    if gaps:
        blocks.append(Rows(("without a readable answer", "items"), gaps))
    faults = _faults(column)
    if faults:
        blocks.append(Rows(("failed item", "why"), faults, (0, 1)))
    drawn = draw_column(column, run / FIGURES / f"{text_digest(place)}.png")
    if drawn:
        blocks.append(Picture(drawn, f"{place}: recall of every class, and correct against given answers"))
    classes = [score for score in column.result.scores if score.name.startswith(CLASS)]
    if classes:
        rows = [[s.name.removeprefix(CLASS), *_value(s), f"{s.items:,}"] for s in classes]
        blocks.append(Rows(("class", "recall", "95 % interval", "items"), rows))
    return blocks + _worst_blocks(column, frames)


def _worst_blocks(column: Column, frames: bool) -> list[Block]:
    """Show the worst answers; a value that all or none of them have gets no column."""
    examples = worst(column, frames=frames)
    if not examples:
        return []
    shown, several = any(e.picture for e in examples), len({e.item.question for e in examples}) > 1
    heading = "Worst answers"
    if shown:
        heading += "; the frames are part of the data set and subject to its terms"
    heading += "." if several else f'. All were asked: "{_short(examples[0].item.question)}"'
    head = [*["frames"] * shown, "item", *["question"] * several, "correct", "answer"]
    rows: list[list[str | Path]] = []
    for e in examples:
        right, reply = ", ".join(e.judged.item.references), f"{_short(e.reply)}{_sureness(column, e.item.id)}"
        rows.append([*[e.picture or ""] * shown, e.item.id, *[_short(e.item.question)] * several, right, reply])
    return [Text(heading), Rows(tuple(head), rows, tuple(range(len(head))))]


def _sureness(column: Column, name: str) -> str:
    line = column.lines.get(name)
    share = line.scores.get(line.predicted) if line and line.scores and line.predicted else None
    return "" if share is None else f" ({share:.0%})"


def _faults(column: Column, count: int = 5) -> list[list[str]]:
    return [[name, _short(line.error)] for name, line in column.lines.items() if line.error][:count]


def _main(result: Result) -> list[Score]:
    return [score for score in result.scores if not score.name.startswith(CLASS)]


def _score_rows(column: Column, result: Result, scores: Sequence[Score]) -> list[list[str]]:
    tally = result.tally
    beside = [percent(tally.parse_rate), percent(tally.coverage), f"{tally.failures:,}"]
    return [[column.model, column.language, s.name, *_value(s), f"{s.items:,}", *beside] for s in scores]


def _value(score: Score) -> list[str]:
    """Write a score and its interval, as percentages if the score is a share."""
    if not np.isfinite(score.value):
        return ["none", ""]
    if score.share:
        return [percent(score.value), f"{100 * score.low:.1f} to {100 * score.high:.1f}"]
    return [f"{score.value:.2f}", f"{score.low:.2f} to {score.high:.2f}"]


def _figure(value: float) -> str:
    return percent(value) if 0 <= value <= 1 else f"{value:.2f}"


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= SAID else flat[: SAID - 1] + "…"
