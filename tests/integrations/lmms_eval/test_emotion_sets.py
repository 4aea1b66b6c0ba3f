"""The emotion sets in the harness: their metrics are figures of our scorers, wheels come from the environment."""

import math

import pytest

from emotion_qwen.evaluation.scoring.records import Response
from emotion_qwen.evaluation.tasks import TASKS
from emotion_qwen.integrations.lmms_eval import scores
from emotion_qwen.integrations.lmms_eval.rows import OFFERED, WHEELS, item_of, offered_task, rows_of
from evaluation import affect_files
from evaluation.benchmark_files import write_unibench, write_wheels

WRITERS = {**affect_files.WRITERS, "mer_unibench": write_unibench}
NAMES = [name for name in OFFERED if name in WRITERS]


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_is_a_figure_of_the_scorer(name, tmp_path, monkeypatch):
    if name == "emobench_m_smile":
        pytest.importorskip("nltk", reason="of the extra eval, not installed")
    monkeypatch.setenv(WHEELS, str(write_wheels(tmp_path / "wheels")))
    rows = rows_of(f"{name}_{TASKS[name].languages[-1]}", WRITERS[name](tmp_path / name))
    task, items = offered_task(name), [item_of(row)[1] for row in rows]
    replies = [item.answer if place % 2 == 0 else "who knows" for place, item in enumerate(items)]
    records = [scores.record(row, [reply]) for row, reply in zip(rows, replies, strict=True)]
    figures = task.score([i.scored() for i in items], [Response(i.id, r) for i, r in zip(items, replies, strict=True)])
    values = {score.name: score.value for score in figures.scores}
    for metric in scores.metrics_of(task)[:-1]:
        value = getattr(scores, metric)([record[metric] for record in records])
        wanted = values[getattr(scores, metric).__name__]
        assert value == wanted or (math.isnan(value) and math.isnan(wanted)), metric
    assert 0 < scores.read_rate([record["read_rate"] for record in records]) <= 1


def test_all_file_based_emotion_sets_are_offered_but_for_sound_and_parts_of_videos():
    left_out = {"iemocap", "unibench_iemocap", "cremad_voices", "emodb_files", "emobench", "eqbench", "emotionhallucer"}
    assert set(affect_files.WRITERS) - set(OFFERED) == left_out


def test_without_the_wheels_the_variable_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv(WHEELS, raising=False)
    task = offered_task("unibench_mer2023")
    assert "no emotion wheels" in task.score.missing()
