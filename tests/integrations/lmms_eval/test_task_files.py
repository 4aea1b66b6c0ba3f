"""The task files without the harness: what they name exists, and they agree with our tasks."""

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from tests.processes import start

from emotion_qwen.evaluation.tasks import TASKS
from emotion_qwen.integrations.lmms_eval import TASK_FILES
from emotion_qwen.integrations.lmms_eval.manifest import NAME, manifest
from emotion_qwen.integrations.lmms_eval.rows import OFFERED
from emotion_qwen.integrations.lmms_eval.scores import metrics_of

FILES = sorted(TASK_FILES.glob("*.yaml"))


class Loader(yaml.SafeLoader):
    """Reads `!function` as the harness does: a dotted name is imported."""


def function(loader, node):
    module, _, name = node.value.rpartition(".")
    return getattr(importlib.import_module(module), name)


Loader.add_constructor("!function", function)


def read(path: Path) -> dict:
    own = yaml.load(path.read_text(encoding="utf-8"), Loader)
    return {**read(path.parent / own.pop("include")), **own} if "include" in own else own


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_task_file_names_what_exists_and_agrees_with_the_task(path):
    config = read(path)
    ((split, rows),) = config["dataset_kwargs"]["data_files"].items()
    name, _, language = split.rpartition("_")
    task = TASKS[name]
    assert config["task"] == path.stem == f"{NAME}_{name}" + ("_zh" if language == "zh" else "")
    assert config["test_split"] == split and (TASK_FILES / rows).is_file() and language in task.languages
    assert config["generation_kwargs"] == {"max_new_tokens": task.max_new_tokens, "do_sample": False, "until": []}
    assert tuple(one["metric"] for one in config["metric_list"]) == metrics_of(task)
    for key in ("process_docs", "doc_to_visual", "doc_to_text", "doc_to_messages", "process_results"):
        assert callable(config[key])
    assert all(callable(one["aggregation"]) for one in config["metric_list"])


def test_every_task_has_a_file_in_its_languages():
    found = {path.stem for path in FILES}
    ends = {"en": "", "zh": "_zh"}
    assert found == {f"{NAME}_{name}{ends[language]}" for name in OFFERED for language in TASKS[name].languages}


def test_the_folder_is_printed():
    call = [sys.executable, "-m", "emotion_qwen.integrations.lmms_eval"]
    assert Path(subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()) == TASK_FILES


def test_the_entry_point_is_the_manifest_and_the_files_are_shipped():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    target = project["project"]["entry-points"]["lmms_eval.models"][NAME]
    assert target == f"{manifest.__module__}:{manifest.__name__}"
    patterns = project["tool"]["setuptools"]["package-data"]["emotion_qwen.integrations.lmms_eval.tasks"]
    shipped = {path for pattern in patterns for path in TASK_FILES.glob(pattern)}
    assert {path for path in TASK_FILES.iterdir() if path.is_file() and path.suffix != ".py"} == shipped


def test_our_package_never_imports_the_harness_by_itself(tmp_path):
    code = (
        "import sys, emotion_qwen, emotion_qwen.cli\n"
        "import emotion_qwen.integrations.lmms_eval.rows, emotion_qwen.integrations.lmms_eval.scores\n"
        "import emotion_qwen.integrations.lmms_eval.asking, emotion_qwen.integrations.lmms_eval.manifest\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'lmms_eval']"
    )
    process = start(tmp_path / "log", exec, code, {})  # with all that commands import there already
    assert process.wait(120) == 0, process.output()
