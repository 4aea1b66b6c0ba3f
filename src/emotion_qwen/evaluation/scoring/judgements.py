"""Marks from 1 to 10 that a judge model gives (EMER's clue and label overlap): parsing, means, agreement of two judges.

The judge is called elsewhere (`run.judge`). Its reply must be a JSON object with a "score" of 1 to 10; taking the first
number of a reply would read the 1 of "1. The reference says ..." as a mark.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring import records
from emotion_qwen.extras import optional

LOWEST, HIGHEST = 1, 10
NO_MARK = "no mark from the judge"


@dataclass(frozen=True)
class Judgement:
    """A judge's verdict on one reply.

    Attributes:
        id: of the item.
        language: of the item.
        question: "clue" or "label".
        judge: name of the judge.
        date: day of the reply, in ISO format.
        reply: unchanged; the last one if no reply contained a mark.
        error: why there is no reply; empty if there is one.
    """

    id: str
    language: str
    question: str
    judge: str
    date: str
    reply: str = ""
    error: str = ""

    @property
    def answer(self) -> records.Response:
        """The reply as `score_judgements` takes it."""
        return records.Response(self.id, self.reply, error=self.error)


def read_judgements(folder: Path) -> dict[str, list[Judgement]]:
    """Return the judgements in a task's folder by judge; empty if no judge was run.

    Raises:
        DataError: a file is broken.
    """
    by_judge: dict[str, list[Judgement]] = {}
    for path in sorted(folder.glob("judged.*.jsonl")):
        try:
            judgements = [Judgement(**json.loads(line)) for line in path.read_bytes().split(b"\n") if line]
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}: cannot be read ({error}); remove it and ask the judge again") from error
        for judgement in judgements:
            by_judge.setdefault(judgement.judge, []).append(judgement)
    return dict(sorted(by_judge.items()))


def read_mark(text: str) -> float | None:
    """Return the mark in a judge's reply, or None unless the reply is one JSON object with one score of 1 to 10.

    The key may have any case; the number may be a string or have decimals.
    """
    text = re.sub(r"^\s*```(?:json)?|```\s*$", "", text.strip())
    try:
        mark = json.loads(text, object_pairs_hook=_once).get("score")
        number = float("nan") if isinstance(mark, bool) else float(mark)
    except (ValueError, TypeError, AttributeError):
        return None
    return number if LOWEST <= number <= HIGHEST else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object with a repeated key, such as two scores."""
    values = {key.strip().lower(): value for key, value in pairs}
    if len(values) < len(pairs):
        raise ValueError("a key occurs twice")
    return values


def score_judgements(
    items: Sequence[records.ScoredItem],
    replies: Iterable[records.Response],
    unanswered: Collection[str] = (),
    *,
    seed: int = 0,
) -> records.Result:
    """Average a judge's marks.

    An item that the model did not answer gets the lowest mark, whatever the judge replies. An item without a mark from
    the judge gives no information about the model: it is left out of "mean mark" and counted in the tally; "mean mark,
    unmarked as lowest" includes it.

    Args:
        items: the items that were judged.
        replies: of the judge, one per item.
        unanswered: ids of items that the model did not answer.
        seed: of the draws.

    Raises:
        DataError: see `records.judge`.
    """

    def read(item: records.ScoredItem, answer: records.Response) -> records.Read:
        mark = read_mark(answer.text)
        return records.Read(None, NO_MARK) if mark is None else records.Read(str(mark))

    given = {answer.id: answer for answer in replies}
    given |= {name: records.Response(name, json.dumps({"score": LOWEST})) for name in unanswered}
    judged, tally = records.judge(items, given.values(), read, lambda item, mark: float(mark) / HIGHEST)
    marked = np.array([answer.read is not None for answer in judged], dtype=float)
    marks = np.array([float(answer.read or LOWEST) for answer in judged], dtype=float)
    rows = np.column_stack([np.ones(len(judged)), marked, marks, marks * marked])

    def statistic(sums: np.ndarray) -> np.ndarray:
        return np.column_stack([records.ratio(sums[:, 3], sums[:, 1]), records.ratio(sums[:, 2], sums[:, 0])])

    names = ("mean mark", "mean mark, unmarked as lowest")
    table = records.ScoreTable(names, (int(marked.sum()), len(judged)), rows, records.clusters_of(judged), statistic)
    return records.Result(records.bootstrap_scores(table, seed=seed), tally, judged, table)


@dataclass(frozen=True)
class Agreement:
    """Agreement of two judges on the items that both marked.

    Attributes:
        items: number marked by both.
        same: share with the same mark.
        near: share at most one mark apart.
        distance: mean absolute difference.
        kappa: Cohen's kappa, weighted by squared distance; 0 is chance level, nan if one judge gave every item the same
            mark.
    """

    items: int
    same: float
    near: float
    distance: float
    kappa: float


def agreement(first: records.Result, second: records.Result) -> Agreement:
    """Compare the marks of two judges of the same items.

    Raises:
        DataError: no item was marked by both.
        MissingPackage: scikit-learn is not installed.
    """
    marks = _marks(first.judged), _marks(second.judged)
    both = [name for name in marks[0] if name in marks[1]]
    if not both:
        raise DataError("no item was marked by both judges; expected some in common, judge the same items")
    first_marks, second_marks = (np.array([side[name] for name in both]) for side in marks)
    apart = np.abs(first_marks - second_marks)
    kappa = np.nan
    if len(set(first_marks)) > 1 and len(set(second_marks)) > 1:
        whole = (np.rint(side).astype(int) for side in (first_marks, second_marks))  # kappa takes whole marks only
        kappa = optional("sklearn.metrics", "eval").cohen_kappa_score(*whole, weights="quadratic")
    return Agreement(len(both), *(float(x) for x in ((apart == 0).mean(), (apart <= 1).mean(), apart.mean(), kappa)))


def _marks(judged: Sequence[records.Judged]) -> dict[str, float]:
    return {answer.item.id: float(answer.read) for answer in judged if answer.read is not None}
