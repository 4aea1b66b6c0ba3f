"""The harness's metrics are those of our scorers, on invented replies."""

import pytest

from emotion_qwen.evaluation.scoring.records import Response as Answer
from emotion_qwen.evaluation.tasks import TASKS
from emotion_qwen.integrations.lmms_eval import scores
from emotion_qwen.integrations.lmms_eval.rows import item_of, rows_of

from .invented import SPLITS

REPLIES = ["She is happy.", "", "He looks sad, his head is low.", "生气", "fear or joy", "neutral", "surprise"]


def replies(count: int) -> list[str]:
    return (REPLIES * count)[:count]


@pytest.mark.parametrize("split", SPLITS)
def test_every_metric_is_the_figure_of_our_scorer(home, split):
    rows = rows_of(split, home)
    task, items = TASKS[split.rpartition("_")[0]], [item_of(row)[1] for row in rows]
    said = replies(len(rows))
    records = [scores.record(row, [reply]) for row, reply in zip(rows, said, strict=True)]
    answers = [Answer(item.id, reply) for item, reply in zip(items, said, strict=True)]
    result = task.score([item.scored() for item in items], answers)
    got = {name: getattr(scores, name)([one[name] for one in records]) for name in scores.metrics_of(task)}
    if task.also:
        also = task.also[scores.CLUES]([item.scored() for item in items], answers)
        wanted = {f"label_overlap_{k}": result[v].value for k, v in scores.OVERLAP.items()}
        wanted |= {f"clue_overlap_{k}": also[v].value for k, v in scores.OVERLAP.items()}
    else:
        folds = scores.FOLDS if task.name in ("dfew", "mafw") else {}
        wanted = {k: result[v].value for k, v in {**scores.LABELS, **folds}.items()}
    assert got == {**wanted, "read_rate": result.tally.parsed / result.tally.items}


def test_the_figures_tell_replies_apart(home):
    rows = rows_of("dfew_en", home)
    right = [scores.record(row, [row["answer"]])["war"] for row in rows]
    wrong = [scores.record(row, [""])["war"] for row in rows]
    assert scores.war(right) == scores.uar_mean_of_folds(right) == scores.read_rate(right) == 1
    assert scores.war(wrong) == scores.read_rate(wrong) == 0
