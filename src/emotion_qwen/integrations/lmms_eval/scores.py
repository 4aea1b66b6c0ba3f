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
from emotion_qwen.evaluation.scoring.emotion_sets import score_emobench_m, score_generation, score_named_choice
from emotion_qwen.evaluation.scoring.numbers import score_mosi, score_numbers, score_sims
from emotion_qwen.evaluation.scoring.records import Response, Result, ScoredItem
from emotion_qwen.evaluation.scoring.unibench import score_multi, score_polarity, score_preference
from emotion_qwen.evaluation.task import Task
from emotion_qwen.evaluation.tasks import TASKS
from emotion_qwen.evaluation.tasks.scorers import BothLevels, HitRates, WheelScores
from emotion_qwen.integrations.lmms_eval.rows import Row, item_of, offered_task, with_tuples

Record = dict[str, Any]
READ_RATE = "read_rate"
LABELS = {"war": "WAR", "uar": "UAR", "macro_f1": "macro F1", "waf": "WAF"}
FOLDS = {"war_mean_of_folds": "WAR, mean of folds", "uar_mean_of_folds": "UAR, mean of folds"}
OVERLAP = {"f1": "F1", "precision": "precision", "recall": "recall"}
CLUES = "clue overlap"
"""The further result of EMER, see `Task.also`."""
HITS = {"hit_rate": "hit rate", "mscore": "mscore", "mean_length": "mean length"}
WHEEL = {"wheel_f1": "F1", "wheel_precision": "precision", "wheel_recall": "recall"}
TRACK_2 = {"track_2": "track 2", "wheel_f1_level1": "F1, level1", "wheel_f1_level2": "F1, level2"}
MULTI = {"mer2023_score": "MER2023 score", "mse_of_valence": "MSE of valence"}
TWO = {"waf": "WAF", "accuracy": "accuracy"}
MOSI = {
    "acc_2_non_negative": "Acc-2, non-negative", "f1_non_negative": "F1, non-negative",
    "acc_2_positive": "Acc-2, positive", "f1_positive": "F1, positive", "acc_5": "Acc-5", "acc_7": "Acc-7",
}  # fmt: skip
SIMS = {"acc_2": "Acc-2", "f1_of_two": "F1"}
ERRORS = {"mae": "MAE", "pcc": "PCC"}
AFFECT = {
    f"{figure.lower()}_{name}": f"{figure} of {name}"
    for figure in ("CCC", "PCC", "RMSE", "SAGR")
    for name in ("valence", "arousal")
}
DOMINANCE = {f"{figure.lower()}_dominance": f"{figure} of dominance" for figure in ("CCC", "PCC")}
MEAN_CCC = {"ccc_mean": "CCC, mean"}
SETS = {"mean_of_sets": "mean of sets"}
TEXTS = {"bleu_4": "BLEU-4", "rouge_l": "ROUGE-L"}
ACCURACY = {"accuracy": "accuracy"}
_OF_SCORER: dict[Any, dict[str, str]] = {
    HitRates: HITS,
    BothLevels: TRACK_2 | {"mean_length": "mean length"},
    WheelScores: WHEEL | {"hit_rate": "hit rate", "mean_length": "mean length"},
    score_multi: MULTI | TWO,
    score_polarity: TWO,
    score_preference: TWO,
    score_mosi: MOSI | ERRORS,
    score_sims: SIMS | ERRORS,
    score_emobench_m: SETS,
    score_generation: TEXTS,
    score_named_choice: ACCURACY,
}


def metrics_of(task: Task) -> tuple[str, ...]:
    """Return the names of a task's metrics in the harness."""
    if CLUES in task.also:
        return (*(f"{kind}_overlap_{name}" for kind in ("label", "clue") for name in OVERLAP), READ_RATE)
    scorer = getattr(task.score, "func", task.score)
    if scorer is score_numbers:
        dimensions = getattr(task.score, "keywords", {})["scale"].dimensions
        return (*MEAN_CCC, *AFFECT, *(DOMINANCE if "dominance" in dimensions else {}), READ_RATE)
    figures = _OF_SCORER.get(scorer if callable(scorer) and hasattr(scorer, "__name__") else type(scorer))
    if figures is not None:
        return (*figures, READ_RATE)
    folds = FOLDS if getattr(task.score, "folds", False) else {}
    return (*LABELS, *folds, READ_RATE)


def record(row: Row, replies: Sequence[str]) -> dict[str, Record]:
    """Return the data that every metric needs from one answered row (`process_results`).

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
    task = offered_task(records[0]["task"])
    scorer = task.also[which] if which else task.score
    if scorer is None:
        raise SettingsError(unknown_choice("task with a scorer", task.name, [n for n, t in TASKS.items() if t.score]))
    items = [ScoredItem(**with_tuples(record["item"])) for record in records]
    return scorer(items, [Response(record["item"]["id"], record["reply"]) for record in records])


war, uar, macro_f1, waf = map(_figure, LABELS.values())
war_mean_of_folds, uar_mean_of_folds = map(_figure, FOLDS.values())
label_overlap_f1, label_overlap_precision, label_overlap_recall = map(_figure, OVERLAP.values())
hit_rate, mscore, mean_length = map(_figure, HITS.values())
wheel_f1, wheel_precision, wheel_recall = map(_figure, WHEEL.values())
track_2, wheel_f1_level1, wheel_f1_level2 = map(_figure, TRACK_2.values())
mer2023_score, mse_of_valence = map(_figure, MULTI.values())
acc_2_non_negative, f1_non_negative, acc_2_positive, f1_positive, acc_5, acc_7 = map(_figure, MOSI.values())
acc_2, f1_of_two = map(_figure, SIMS.values())
mae, pcc = map(_figure, ERRORS.values())
(accuracy,), (mean_of_sets,), (ccc_mean,) = (map(_figure, group.values()) for group in (ACCURACY, SETS, MEAN_CCC))
bleu_4, rouge_l = map(_figure, TEXTS.values())
ccc_valence, ccc_arousal, pcc_valence, pcc_arousal, rmse_valence, rmse_arousal, sagr_valence, sagr_arousal = map(
    _figure, AFFECT.values()
)
ccc_dominance, pcc_dominance = map(_figure, DOMINANCE.values())
clue_overlap_f1, clue_overlap_precision, clue_overlap_recall = (_figure(name, CLUES) for name in OVERLAP.values())
