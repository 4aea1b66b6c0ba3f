"""Against the harness's own classes, where lmms-eval can be imported (see docs/guides/lmms_eval.md)."""

import importlib
import json

import pytest

from emotion_qwen.evaluation.run.answerers.local import LocalModel
from emotion_qwen.evaluation.run.runner import answer_task
from emotion_qwen.evaluation.run.score import as_answers
from emotion_qwen.evaluation.tasks import TASKS
from emotion_qwen.integrations.lmms_eval import TASK_FILES, rows, scores
from emotion_qwen.integrations.lmms_eval.manifest import NAME, manifest

try:
    evaluator = importlib.import_module("lmms_eval.evaluator")
except ImportError as error:
    pytest.skip(f"lmms-eval cannot be imported: {error}", allow_module_level=True)


@pytest.fixture
def registry():
    models = importlib.import_module("lmms_eval.models")
    models.MODEL_REGISTRY_V2.register_manifest(manifest(), overwrite=True)
    return models


def test_the_registry_takes_both_classes(registry):
    assert registry.get_model(NAME).is_simple is False and registry.get_model(NAME, force_simple=True).is_simple


@pytest.mark.parametrize("force_simple", [False, True], ids=["chat", "simple"])
@pytest.mark.parametrize("name", ["emoset", "goemotions"])
def test_its_evaluator_gives_the_numbers_of_our_runner(registry, nano, home, name, force_simple, monkeypatch, tmp_path):
    monkeypatch.setenv(rows.DATA, str(home))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    manager = importlib.import_module("lmms_eval.tasks").TaskManager(
        include_path=str(TASK_FILES), include_defaults=False, model_name=NAME
    )
    done = evaluator.simple_evaluate(
        NAME, "device=cpu", tasks=[f"{NAME}_{name}"], batch_size=8, task_manager=manager, force_simple=force_simple,
        bootstrap_iters=0,
    )  # fmt: skip
    found = {key.split(",")[0]: value for key, value in done["results"][f"{NAME}_{name}"].items()}
    ours = answer_task(LocalModel(nano, batch=8), TASKS[name], tmp_path / name, data=home)
    result = TASKS[name].score([item.scored() for item in ours.items], as_answers(ours.items, ours.predictions))
    assert {k: found[k] for k in scores.LABELS} == {k: result[v].value for k, v in scores.LABELS.items()}


CHOICES = """
task: theirs_of_words
dataset_path: json
dataset_kwargs: {data_files: {test: theirs.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: question
doc_to_target: right
doc_to_choice: choices
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""


def test_its_own_choice_among_answers_takes_our_likeliest(registry, nano, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    questions, choices = ["What is red?", "How do they feel?"], ["happiness", "sadness", "anger"]
    likeliest = nano.score([(), ()], questions, choices).log_likelihood.argmax(dim=1).tolist()
    rows_ = [{"question": q, "choices": choices, "right": n} for q, n in zip(questions, likeliest, strict=True)]
    (tmp_path / "theirs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_), encoding="utf-8")
    (tmp_path / "theirs.yaml").write_text(CHOICES, encoding="utf-8")
    manager = importlib.import_module("lmms_eval.tasks").TaskManager(
        include_path=str(tmp_path), include_defaults=False, model_name=NAME
    )
    task = manager.load_task_or_group(["theirs_of_words"])["theirs_of_words"]
    task.build_all_requests()
    ours = registry.get_model(NAME, force_simple=True)(device="cpu")
    ours.task_dict["theirs_of_words"] = task.dataset
    found = ours.loglikelihood(task.instances)
    # Not by its evaluator: 0.7.3 turns these pairs into texts (`unwrap_generation_output`) and then cannot read them.
    given = [task.process_results(row, found[3 * n : 3 * n + 3]) for n, row in enumerate(task.test_docs())]
    assert [one["acc"] for one in given] == [1, 1]


def test_another_model_of_the_harness_answers_our_tasks(registry, home, monkeypatch, tmp_path):
    monkeypatch.setenv(rows.DATA, str(home))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    manager = importlib.import_module("lmms_eval.tasks").TaskManager(
        include_path=str(TASK_FILES), include_defaults=False, model_name="dummy"
    )
    done = evaluator.simple_evaluate(
        "dummy", "response=happy", tasks=[f"{NAME}_dfew"], task_manager=manager, bootstrap_iters=0
    )
    assert done["results"][f"{NAME}_dfew"]["war,none"] == pytest.approx(1 / 7), "one of the clips is happy"
