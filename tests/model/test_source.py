"""One resolver of model names: what is not there is one line at once, in every command."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import httpx
import pytest
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from tests.conftest import copy_model

from emotion_qwen.cli import main
from emotion_qwen.errors import CheckpointError
from emotion_qwen.model import source as source_module
from emotion_qwen.model.source import NANO, adapter_base, find_model, locate


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub, and a hub that is counted and never answers."""
    tried = []

    def refuse(self, name, **options):
        tried.append(name)
        raise ConnectionError("no route to host")

    monkeypatch.setattr(source_module, "HfApi", lambda: type("Hub", (), {"model_info": refuse})())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *more, **options: pytest.fail("the network was asked"))
    return tried


def test_nano_is_the_shipped_folder_by_each_of_its_names():
    assert locate(None) == locate("nano") == NANO
    for name in (None, "nano", NANO, str(NANO)):
        assert (find_model(name).name, find_model(name).base, find_model(name).folder) == ("nano", NANO, NANO)


@pytest.mark.parametrize(
    "name", ["merged", "runs/model", "./runs/model", "/no/such/model", "a/b/c", "~/no-such-model", "模型"]
)
def test_a_folder_that_is_not_there_is_said_without_asking_the_hub(name, cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    began = time.perf_counter()
    with pytest.raises(
        CheckpointError, match="does not exist; give `nano`, a model folder, an adapter folder"
    ) as caught:
        locate(name)
    assert repr(name) in str(caught.value) and "\n" not in str(caught.value)
    assert not cache and time.perf_counter() - began < 2


@pytest.mark.parametrize("name", ["x" * 5000, "~nobody-of-this-name/model", "a\0b"])
def test_a_name_that_no_file_can_have_is_one_line(name, cache):
    with pytest.raises(CheckpointError, match="give `nano`, a model folder") as caught:
        locate(name)
    assert len(str(caught.value)) < 400 or name[:80] in str(caught.value)
    assert not cache


BROKEN = {
    "config.json": ["{", "[]", "\ufffe"],
    "model.safetensors.index.json": ["{", "{}", "[]", '{"weight_map": []}'],
    "tokenizer.json": ["{", "{}", "[]", ""],
    "processor_config.json": ["{", "[]"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BROKEN.items() for text in texts])
def test_a_damaged_file_of_a_model_is_one_line(name, text, tmp_path, capsys):
    folder = tmp_path / "model"
    folder.mkdir()
    for file in NANO.glob("*.*"):
        if file.is_file() and file.name != name:
            (folder / file.name).symlink_to(file)
    (folder / name).write_bytes(text.encode("utf-16")) if "\ufffe" in text else (folder / name).write_text(text)
    assert main(["ask", "picture.png", "What?", "--model", str(folder)]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert name in error


@pytest.mark.parametrize("kept", [0, 1000, 3_000_000, -1])
def test_half_a_download_of_weights_is_one_line(kept, tmp_path, capsys):
    folder = copy_model(tmp_path / "model")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    assert main(["ask", "picture.png", "What?", "--model", str(folder)]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert "model.safetensors is damaged or incomplete" in error and error.endswith("copy it again")


def test_a_hub_name_is_tried_once(cache, monkeypatch):
    with pytest.raises(
        CheckpointError, match=r"'org/name' is neither a folder nor in the cache, .*\(no route to host\)"
    ):
        locate("org/name")
    assert cache == ["org/name"]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        CheckpointError, match="'org/name' is neither a folder nor in the cache, and HF_HUB_OFFLINE is set"
    ):
        locate("org/name")
    assert cache == ["org/name"]


@pytest.mark.parametrize(
    ("kind", "status", "line"),
    [
        (
            GatedRepoError,
            403,
            "model 'org/name' is gated; accept its terms on its page, then log in with `hf auth login`",
        ),
        (
            RepositoryNotFoundError,
            401,
            "the hub has no model of that name that it shows to you; check the spelling, or log",
        ),
        (HfHubHTTPError, 503, r"cannot be downloaded \(503 Server Error\); give `nano`"),
    ],
)
def test_what_the_hub_refuses_is_one_line(kind, status, line, cache, monkeypatch, tmp_path, capsys):
    def refuse(self, name, **options):
        response = httpx.Response(status, request=httpx.Request("GET", "http://hub/api/models/org/name"))
        raise kind(f"{status} Server Error\nRequest ID: Root=1-6\nCannot access the model.", response=response)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(source_module, "HfApi", lambda: type("Hub", (), {"model_info": refuse})())
    with pytest.raises(CheckpointError, match=line) as caught:
        locate("org/name")
    assert "\n" not in str(caught.value)
    assert main(["analyze", "--demo", "--model", "org/name"]) == 2
    (error,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error:")]
    assert "org/name" in error


def test_a_gguf_file_says_what_to_make_of_it(tmp_path):
    (tmp_path / "model-q8_0.GGUF").write_bytes(b"GGUF")
    with pytest.raises(
        CheckpointError, match=r"a language model without vision; make a model of it with `emotion-qwen convert"
    ):
        locate(tmp_path / "model-q8_0.GGUF")


def test_a_hub_model_in_the_cache_is_taken_from_there(cache, tmp_path):
    folder = tmp_path / "cache" / "models--org--name"
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0" * 40)
    for file in NANO.iterdir():
        if file.is_file():
            (snapshot / file.name).symlink_to(file)
    found = find_model("org/name")
    assert found.name == "org/name" and found.base == snapshot and not cache
    from emotion_qwen.engine.engine import Engine

    engine = Engine.load("org/name", device="cpu")
    assert engine.name == "org/name" and engine.calibration.channels  # what stands beside the weights is found, too


def test_a_cache_without_all_weights_serves_a_plan_and_no_model(cache, tmp_path):
    snapshot = tmp_path / "cache" / "models--org--name" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    (snapshot / "config.json").symlink_to(NANO / "config.json")
    assert find_model("org/name", weights=False).base == snapshot and not cache
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    (snapshot / "model-00001-of-00002.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="cannot be downloaded"):
        find_model("org/name")
    assert cache == ["org/name"]


def test_weights_that_are_no_numbers_are_not_loaded(tmp_path):
    from safetensors.torch import load_file, save_file

    from emotion_qwen.engine.engine import Engine

    path = copy_model(tmp_path / "model") / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if ".visual." in name and tensors[name].ndim > 1)
    tensors[name][0, 0] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 tensor\(s\) hold NaN or infinite values \(model.visual"):
        Engine.load(tmp_path / "model", device="cpu")


def test_a_file_and_a_folder_around_a_model_are_named(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="is a file; give `nano`"):
        locate(tmp_path / "model.safetensors")
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"no config.json; there is a model in .*run/model, give that folder"):
        find_model(tmp_path / "run")


def test_an_adapter_names_its_base(tmp_path):
    path = tmp_path / "adapter_config.json"
    path.write_text("{}")
    with pytest.raises(CheckpointError, match="has no base_model_name_or_path"):
        adapter_base(tmp_path)
    path.write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        adapter_base(tmp_path)
    path.write_text(json.dumps({"base_model_name_or_path": "nano", "peft_type": "PROMPT_TUNING"}))
    with pytest.raises(CheckpointError, match="an adapter of type 'PROMPT_TUNING'; only LORA adapters"):
        find_model(tmp_path)
    path.write_text(json.dumps({"base_model_name_or_path": "/another/machine/emotion_qwen/nano"}))
    (tmp_path / "adapter_model.bin").write_bytes(b"a pickle")
    with pytest.raises(CheckpointError, match="no adapter_model.safetensors"):
        find_model(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    assert adapter_base(tmp_path) == "nano" and find_model(tmp_path).base == NANO
    path.write_text(json.dumps({"base_model_name_or_path": "/another/machine/base"}))
    with pytest.raises(CheckpointError, match="the adapter's base '/another/machine/base' cannot be used"):
        find_model(tmp_path)


RECIPE = Path(__file__).parents[2] / "recipes" / "nano"
TASK = f"{RECIPE / 'tasks.py'}:shapes"
COMMANDS = {
    "analyze": ["analyze", "--demo", "--model", "gone"],
    "ask": ["ask", "picture.png", "What?", "--model", "gone"],
    "eval": ["eval", "run", "--tasks", TASK, "--model", "gone", "--output", "out"],
    "forgetting": ["forgetting", "gone", "nano", "--tasks", TASK, "--output", "out"],
    "forgetting after": ["forgetting", "nano", "gone", "--tasks", TASK, "--output", "out"],
    "merge": ["merge", "gone", "nano", "out"],
    "merge base": ["merge", "adapter", "gone", "out"],
    "train": ["train", "run.yaml"],
    "dry run": ["train", "run.yaml", "--dry-run"],
    "convert": ["convert", "gone", "out"],
    "convert whisper": ["convert", "nano", "out", "--whisper", "gone"],
    "ver": ["ver", "build", "ver.yaml"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_that_a_model_is_not_there(name, tmp_path, monkeypatch, capsys, tasks_as_before):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *more, **options: pytest.fail("the network was asked"))
    (tmp_path / "picture.png").write_bytes(b"")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text('{"base_model_name_or_path": "nano"}')
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(b"")
    (tmp_path / "run.yaml").write_text(
        "{stage: scratch, start: gone, output: out, optim: {steps: 1},"
        f" data: [{{name: a, kind: '{RECIPE / 'parts.py'}:shapes', domain: general, options: {{size: 4}}}}]}}"
    )
    (tmp_path / "ver.yaml").write_text("{source: ., output: out, describe: {teacher: {model: gone}}}")
    assert main(COMMANDS[name]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and "'gone'" in lines[0] and "does not exist" in lines[0]


def test_serving_refuses_a_model_that_is_not_there(monkeypatch):
    from emotion_qwen.serving.limits import ServeSettings
    from emotion_qwen.serving.service import Service

    with pytest.raises(CheckpointError, match="'gone' does not exist"):
        Service(ServeSettings.of({"model": "gone"})).load()


def test_a_vllm_server_is_not_handed_an_adapter(tmp_path, monkeypatch):
    from emotion_qwen.errors import SettingsError
    from emotion_qwen.serving.limits import ServeSettings
    from emotion_qwen.serving.vllm import plugin as vllm_plugin

    monkeypatch.setattr(vllm_plugin.importlib.util, "find_spec", lambda name: object())
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "nano"}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(SettingsError, match="merge it first"):
        vllm_plugin.exec_vllm(ServeSettings.of({"model": str(tmp_path)}), None)
    with pytest.raises(CheckpointError, match="does not exist"):
        vllm_plugin.exec_vllm(ServeSettings.of({"model": "gone"}), None)
