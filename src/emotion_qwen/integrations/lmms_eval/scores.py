"""Our scorers behind the harness's two steps: a record for every reply, and one figure from all records.

The harness needs one function per metric; all of them read the result of the task's own scorer, which is made once.
Intervals and the authors' arithmetic are on the pages of `emotion-qwen eval`; the harness has no place for them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from emotion_qwen.errors import SettingsError, unknown_choice
from emotion_qwen.evaluation.scoring.records import Response, Result, ScoredItem
from emotion_qwen.evaluation.task import Task
from emotion_qwen.evaluation.tasks import TASKS
from emotion_qwen.integrations.lmms_eval.rows import Row, item_of, with_tuples

Record = dict[str, Any]
READ_RATE = "read_rate"
LABELS = {"war": "WAR", "uar": "UAR", "macro_f1": "macro F1", "waf": "WAF"}
FOLDS = {"war_mean_of_folds": "WAR, mean of folds", "uar_mean_of_folds": "UAR, mean of folds"}
OVERLAP = {"f1": "F1", "precision": "precision", "recall": "recall"}
CLUES = "clue overlap"
"""The further result of EMER, see `Task.also`."""


def metrics_of(task: Task) -> tuple[str, ...]:
    """Return the names of a task's metrics in the harness."""
    if CLUES in task.also:
        return (*(f"{kind}_overlap_{name}" for kind in ("label", "clue") for name in OVERLAP), READ_RATE)
    folds = FOLDS if getattr(task.score, "folds", False) else {}
    return (*LABELS, *folds, READ_RATE)


def record(row: Row, replies: Sequence[str]) -> dict[str, Record]:
    """Return what every metric needs of one answered row (`process_results`).

    An empty reply is what our model gives where it failed; it cannot be read and stays in every denominator.
    """
    task, item = item_of(row)
    record = {"task": task.name, "item": dataclasses.asdict(item.scored()), "reply": replies[0]}
    return dict.fromkeys(metrics_of(task), record)


def _figure(name: str, which: str = "") -> Callable[[list[Record]], float]:
    def figure(records: list[Record]) -> float:
        return _result(json.dumps(records, sort_keys=True, ensure_ascii=False), which)[name].value

    figure.__name__ = figure.__qualname__ = f"{which} {name}".strip()
    return figure


def read_rate(records: list[Record]) -> float:
    """Return the share of all items whose reply could be read."""
    tally = _result(json.dumps(records, sort_keys=True, ensure_ascii=False), "").tally
    return tally.parsed / tally.items


@lru_cache(maxsize=4)
def _result(written: str, which: str) -> Result:
    """Score records, as text so that they can be remembered."""
    records = json.loads(written)
    task = TASKS[records[0]["task"]]
    scorer = task.also[which] if which else task.score
    if scorer is None:
        raise SettingsError(unknown_choice("task with a scorer", task.name, [n for n, t in TASKS.items() if t.score]))
    items = [ScoredItem(**with_tuples(record["item"])) for record in records]
    return scorer(items, [Response(record["item"]["id"], record["reply"]) for record in records])


war, uar, macro_f1, waf = map(_figure, LABELS.values())
war_mean_of_folds, uar_mean_of_folds = map(_figure, FOLDS.values())
label_overlap_f1, label_overlap_precision, label_overlap_recall = map(_figure, OVERLAP.values())
clue_overlap_f1, clue_overlap_precision, clue_overlap_recall = (_figure(name, CLUES) for name in OVERLAP.values())
