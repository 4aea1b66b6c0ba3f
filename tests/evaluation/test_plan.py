from pathlib import Path

import pytest

from emotion_qwen.errors import SettingsError
from emotion_qwen.evaluation.run.plan import EvalSettings, folder_names, read_values, split_model
from emotion_qwen.evaluation.tasks import TASKS, load_tasks

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "eval").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_settings_file_is_whole(path, tasks_as_before):
    settings = EvalSettings.of(read_values(path), path.name)
    columns = [task.column for task in settings.chosen()]
    names = {name.rpartition(":")[2] for name in settings.tasks}
    assert {name.partition(".")[0] for name in columns} == names and len(columns) == len(set(columns))
    assert all(set(settings.languages) & set(task.languages) for task in settings.chosen())
    assert settings.split is None or all(settings.split in task.splits for task in settings.chosen())


def test_the_files_cover_both_domains(tasks_as_before):
    domains = {path.stem: {task.domain for task in load_tasks(read_values(path)["tasks"])} for path in CONFIGS}
    assert domains == {"emotion": {"emotion"}, "general": {"general"}, "nano": {"emotion", "general"}}


def test_data_are_one_folder_or_one_a_task(tmp_path):
    told = {"tasks": ["fer", "cifar"], "output": "run"}
    assert EvalSettings.of({**told, "data": "all"}).folder_of(TASKS["fer"]) == Path("all")
    several = EvalSettings.of({**told, "data": {"fer": "faces"}})
    assert several.folder_of(TASKS["fer"]) == Path("faces") and several.folder_of(TASKS["cifar"]) is None


def test_every_model_has_a_folder_of_its_own():
    models = ["nano", "a/model", "b/model", "openai:http://host/v1#org/m:1", "file:x/theirs.jsonl"]
    names = folder_names(models)
    assert names["nano"] == "nano" and names["file:x/theirs.jsonl"] == "theirs"
    assert names["openai:http://host/v1#org/m:1"] == "org-m-1"
    assert len(set(names.values())) == 5 and names["a/model"].startswith("model-")
    names = folder_names(["nano", "openai:http://127.0.0.1:8000/v1#nano", "openai:http://127.0.0.1:8000/v2#nano"])
    assert len(set(names.values())) == 3 and len(names["nano"]) == len("nano-123456")
    pair = folder_names(["nano", "openai:http://127.0.0.1:8000/v1#nano"])
    assert pair["openai:http://127.0.0.1:8000/v1#nano"] == "nano-127.0.0.1-8000", "who reads the page must know which"


def test_a_model_has_the_name_that_it_is_given(tmp_path, monkeypatch):
    url = "openai:http://host/v1?key=a#m"
    models = ["nano", "before=runs/a/model", "after=runs/b/model", "theirs=" + url, "runs/lr=3/model", "基线=nano"]
    assert list(folder_names(models).values()) == ["nano", "before", "after", "theirs", "model", "基线"]
    assert split_model("theirs=" + url) == ("theirs", url) and split_model(url) == ("", url)
    with pytest.raises(SettingsError, match="two models are called 'a', one of them 'a=x'; give each"):
        folder_names(["a=x", "a=y"])
    with pytest.raises(SettingsError, match="two models are called 'nano'"):
        folder_names(["nano", "nano=other"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=3").mkdir()
    assert folder_names(["lr=3"]) == {"lr=3": "lr-3"}  # a path that exists is a model, whatever its name


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"tasks": []}, "tasks"),
        ({"tasks": ["fer"], "options": {"dfew": {"x": "1"}}}, "options for dfew, not a chosen task"),
        ({"tasks": ["fer"], "limits": 3}, "unknown key 'limits'.*Did you mean 'limit'"),
        ({"tasks": ["fer"], "languages": ["de"]}, "languages.0"),
    ],
)
def test_settings_that_cannot_be(changed, told):
    with pytest.raises(SettingsError, match=told):
        EvalSettings.of({"output": "run", **changed}).chosen()
