"""Compute scores from a run's folder, without a model, torch or the data.

A run is `RUN/<model>/<task>/`; every task's folder holds the items, the model with its settings, and the answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.evaluation.run.predictions import (
    FINDINGS,
    HEADER,
    REJECTED,
    SURPLUS,
    Prediction,
    read_all,
    read_run_header,
    that_count,
)
from emotion_qwen.evaluation.run.runner import read_items
from emotion_qwen.evaluation.scoring.extracted import read_extracted, with_extracted
from emotion_qwen.evaluation.scoring.judgements import Judgement, agreement, read_judgements, score_judgements
from emotion_qwen.evaluation.scoring.records import Continuation, Judged, Response, Result, ScoredItem
from emotion_qwen.evaluation.scoring.replies import LETTERS
from emotion_qwen.evaluation.task import Item, Task
from emotion_qwen.evaluation.tasks import TASKS, load_installed_tasks

FEW = 30
"""With fewer independent groups than this, intervals are rough."""
CLASSES = 30
"""Maximum number of classes of a readable confusion matrix."""


@dataclass(frozen=True, eq=False)
class Column:
    """One task, answered by one model in one language, with all data of its page.

    Attributes:
        model: name of the model in tables.
        task: the task, in the wording used.
        language: "en" or "zh".
        folder: of the predictions.
        header: the model and its settings.
        items: all items.
        lines: id -> the prediction that counts.
        result: result of the task's scorer.
        also: further results by name, including those of judges.
        as_released: figures by the authors' arithmetic; never mixed with ours.
        rejected: id -> why an item is not usable.
        notes: what a reader must know besides the scorer's notes.
    """

    model: str
    task: Task
    language: str
    folder: Path
    header: Mapping[str, Any]
    items: Sequence[Item]
    lines: Mapping[str, Prediction]
    result: Result
    also: Mapping[str, Result] = field(default_factory=dict)
    as_released: Mapping[str, float] = field(default_factory=dict)
    rejected: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether every item was usable, and was answered or has a reason for having no answer."""
        tally = self.result.tally
        return not self.rejected and tally.answered + tally.unanswered == tally.items

    @property
    def seconds(self) -> float:
        """Time for the answers in seconds, summed over items."""
        return sum(line.seconds for line in self.lines.values())


@dataclass(frozen=True, eq=False)
class Scored:
    """A scored run: its columns, figures across two languages by (model, task), and why folders were not scored."""

    columns: tuple[Column, ...]
    between: Mapping[tuple[str, str], Mapping[str, float]]
    unscored: Mapping[str, str]


def task_of(header: Mapping[str, Any]) -> Task:
    """Return the task that a header names, in its wording and with its options.

    Raises:
        DataError: the task does not exist (any more).
    """
    name, _, prompt = str(header.get("task", "")).partition(".")
    if name not in TASKS:
        load_installed_tasks()
    if name not in TASKS:
        raise DataError(
            f"task {name!r} of the predictions is unknown; expected one of: {', '.join(TASKS)}; if it is your own, "
            "name its file with --tasks"
        )
    task = TASKS[name].with_options(**header.get("options", {}))
    return task.with_prompt(prompt) if prompt else task


def folders_of(run: Path) -> list[Path]:
    """Return the folders of a run, or of one model in it, that hold predictions of a task.

    Raises:
        DataError: there are no such folders.
    """
    headers = sorted({*run.glob(f"*/{HEADER}"), *run.glob(f"*/*/{HEADER}")})
    if not headers:
        raise DataError(f"{str(run)!r} holds no predictions; expected the folder that `emotion-qwen eval` wrote")
    order = {name: number for number, name in enumerate(TASKS)}
    folders = [path.parent for path in headers]
    return sorted(
        folders, key=lambda folder: (order.get(folder.name.partition(".")[0], len(order)), folder.name, folder.parent)
    )


def score_run(run: Path) -> Scored:
    """Score all predictions of a run; a task that cannot be scored is reported, and the others continue.

    Raises:
        DataError: there are no predictions.
    """
    columns: list[Column] = []
    between, unscored = {}, {}
    for folder in folders_of(run):
        try:
            scored = score_folder(folder)
        except (DataError, SettingsError) as error:
            unscored[f"{folder.parent.name}/{folder.name}"] = str(error)
            continue
        columns += scored
        both = {column.language: column.result for column in scored}
        task = scored[0].task
        if task.between_languages and len(both) == 2:
            between[scored[0].model, task.column] = task.between_languages(both["en"], both["zh"])
    return Scored(tuple(columns), between, unscored)


def score_folder(folder: Path) -> list[Column]:
    """Score one task's predictions, each language separately.

    Raises:
        DataError: the files are damaged, or the scorer refuses the items.
    """
    header = read_run_header(folder)
    task = task_of(header)
    if task.score is None:
        raise DataError(f"task {task.name} has no scorer; add one to the task, its answers are kept")
    items, lines, judged = read_items(folder), read_all(folder), read_judgements(folder)
    extracted = read_extracted(folder)
    rejected, findings = _rejected(folder), _findings(folder)
    columns = []
    for language in dict.fromkeys(item.language for item in items):
        of_language = [item for item in items if item.language == language]
        predictions = [line for line in lines if line.language == language]
        scored, answers = [item.scored() for item in of_language], as_answers(of_language, predictions)
        result = _with_surplus(task.score(scored, answers), folder)
        also = {name: scorer(scored, answers) for name, scorer in task.also.items()}
        for title, rows in extracted.items():
            of_rows = [row for row in rows if row.language == language]
            if of_rows:
                also[title] = task.score(scored, with_extracted(answers, of_rows))
        marks = {
            judge: [judgement for judgement in judgements if judgement.language == language]
            for judge, judgements in judged.items()
        }
        also |= _marks(scored, answers, marks)
        written = [answer for answer in answers if not (answer.error or answer.unanswered) and answer.scores is None]
        # The release asked in English; its labels do not occur in replies in another language.
        released = task.as_released(scored, written) if task.as_released and written and language == "en" else {}
        counting = {name: prediction for (name, _), prediction in that_count(predictions).items()}
        notes = (*findings, *_agreements(scored, marks), *_judged_when(marks))
        columns.append(
            Column(
                folder.parent.name, task, language, folder, header, of_language, counting, result, also, released,
                rejected, notes,
            )
        )  # fmt: skip
    return columns


def as_answers(items: Sequence[Item], lines: Iterable[Prediction]) -> list[Response]:
    """Convert lines for the scorers. Lines of other items, such as those beyond a limit, are left out."""
    by_id = {item.id: item for item in items}
    answers = []
    for line in lines:
        if line.id in by_id:
            scores = None if line.scores is None else by_id[line.id].scores(line.scores)
            continuation = None if line.continuation is None else Continuation(*line.continuation)
            answers.append(Response(line.id, line.text or "", scores, line.error, line.unanswered, continuation))
    return answers


def _with_surplus(result: Result, folder: Path) -> Result:
    """Add to a tally what the answerer left out when it wrote the predictions: repeated and unknown ids."""
    path = folder / SURPLUS
    if not path.is_file():
        return result
    surplus, tally = json.loads(path.read_text(encoding="utf-8")), result.tally
    duplicates = tuple(dict.fromkeys((*tally.duplicates, *surplus["duplicates"])))
    strays = tuple(dict.fromkeys((*tally.strays, *surplus["strays"])))
    return replace(result, tally=replace(tally, duplicates=duplicates, strays=strays))


def _rejected(folder: Path) -> dict[str, str]:
    path = folder / REJECTED
    if not path.is_file():
        return {}
    records = (json.loads(line) for line in path.read_bytes().split(b"\n") if line)
    return {record["id"]: record["reason"] for record in records}


def _findings(folder: Path) -> list[str]:
    """Return the findings of the check of the task's files."""
    path = folder / FINDINGS
    if not path.is_file():
        return []
    findings = json.loads(path.read_text(encoding="utf-8"))
    return [text if kind == "note" else f"{kind}: {text}" for kind, text in findings]


def _marks(
    items: Sequence[ScoredItem], answers: Sequence[Response], judged: Mapping[str, Sequence[Judgement]]
) -> dict[str, Result]:
    """Return the marks of every judge by "question, judge"; an item without an answer gets the lowest mark."""
    answered = {answer.id for answer in answers if not answer.error and answer.text}
    silent = [item.id for item in items if item.id not in answered]
    results = {}
    for judge, judgements in judged.items():
        for question in dict.fromkeys(judgement.question for judgement in judgements):
            replies = [judgement.answer for judgement in judgements if judgement.question == question]
            results[f"{question} overlap, judge {judge}"] = score_judgements(items, replies, silent)
    return results


def _agreements(items: Sequence[ScoredItem], judged: Mapping[str, Sequence[Judgement]]) -> list[str]:
    """Describe the agreement of every pair of judges for each question, on the items that both have marked."""
    sentences = []
    for pair in combinations(judged, 2):
        for question in dict.fromkeys(judgement.question for judgement in judged[pair[0]]):
            # Unanswered items are left out: both judges would agree on the lowest mark, which neither gave.
            marks = [
                score_judgements(
                    items, [judgement.answer for judgement in judged[judge] if judgement.question == question]
                )
                for judge in pair
            ]
            try:
                measured = agreement(*marks)
            except DataError as error:
                sentences.append(f"{question}, {' and '.join(pair)}: {error}")
                continue
            sentences.append(
                f"{question}: {' and '.join(pair)} agree on {measured.items} items to {measured.same:.0%} exactly, "
                f"{measured.near:.0%} within one mark, mean distance {measured.distance:.2f}, "
                f"weighted kappa {measured.kappa:.2f}"
            )
    return sentences


def _judged_when(judged: Mapping[str, Sequence[Judgement]]) -> list[str]:
    days = {
        judge: sorted({judgement.date for judgement in judgements})
        for judge, judgements in judged.items()
        if judgements
    }
    return [f"judge {judge}, asked {dates[0]}" + f" to {dates[-1]}" * (len(dates) > 1) for judge, dates in days.items()]


def confusion_of(judged: Sequence[Judged]) -> tuple[list[str], np.ndarray] | None:
    """Return the classes and the (K, K + 1) counts, reference by given answer, the last column for unread answers.

    Returns:
        None if items have several correct answers or differ in their choices, or if there are too many classes.
    """
    if any(len(answer.item.references) != 1 for answer in judged):
        return None
    right = [answer.item.references[0] for answer in judged]
    offered = judged[0].item.allowed
    names = list(offered)
    if not (set(right) <= set(offered) and all(answer.item.allowed == offered for answer in judged)):
        names = sorted({*right, *(answer.read for answer in judged if answer.read)})
        if not set(names) <= {*LETTERS, "yes", "no"}:  # choices that differ between items are not classes
            return None
    if not 1 < len(names) <= CLASSES:
        return None
    place = {name: number for number, name in enumerate(names)}
    counts = np.zeros((len(names), len(names) + 1), dtype=int)
    for answer in judged:
        counts[place[answer.item.references[0]], place.get(answer.read or "", len(names))] += 1
    return names, counts


def groups_note(result: Result) -> list[str]:
    """Return a note on the number of independent groups, if any items share a group."""
    items, groups = result.tally.items, len(set(result.table.clusters))
    if groups == items:
        return []
    rough = "; with so few, intervals are rough and may be too narrow" if groups < FEW else ""
    return [f"{items:,} items in {groups:,} groups with one picture, person or question, drawn together{rough}"]


def score_record(scored: Scored) -> dict[str, Any]:
    """Return all scores as plain values, for `scores.json`."""
    return {
        "columns": [_column_record(column) for column in scored.columns],
        "between_languages": [
            {"model": model, "task": task, **figures} for (model, task), figures in scored.between.items()
        ],
        "unscored": dict(scored.unscored),
        "unit": "shares of 1 unless stated otherwise; intervals cover 95 %",
    }


def _column_record(column: Column) -> dict[str, Any]:
    return {
        "model": column.model,
        "task": column.task.column,
        "language": column.language,
        "made_by": dict(column.header),
        **_result_record(column.result),
        "also": {name: _result_record(result) for name, result in column.also.items()},
        "as_released": dict(column.as_released),
        "rejected": dict(column.rejected),
        "notes": [*column.result.notes, *groups_note(column.result), *column.notes],
    }


def _result_record(result: Result) -> dict[str, Any]:
    tally = result.tally
    return {
        "items": tally.items,
        "groups": len(set(result.table.clusters)),
        "coverage": tally.coverage,
        "parse_rate": tally.parse_rate,
        "failures": tally.failures,
        "unanswered": tally.unanswered,
        "unread": dict(tally.unread),
        "duplicates": list(tally.duplicates),
        "strays": list(tally.strays),
        "scores": {
            score.name: {"value": _number(score.value), "low": _number(score.low), "high": _number(score.high),
                         "items": score.items}
            for score in result.scores
        },
    }  # fmt: skip


def _number(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None  # JSON has no nan
