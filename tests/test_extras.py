"""Every command answers in one line where a package of an extra is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from emotion_qwen import extras
from emotion_qwen.errors import MissingPackage, RemoteError
from emotion_qwen.extras import connected_ray

PACKAGES = {
    "train": ["pyarrow", "tokenizers", "peft", "sklearn", "tensorboard"],
    "eval": ["pyarrow", "matplotlib", "sklearn"],
    "asr": ["faster_whisper"],
    "ver": ["pyarrow", "scenedetect", "matplotlib", "starlette", "uvicorn"],
    "tables": ["openpyxl", "pyarrow", "pympi", "praatio"],
    "quantize": ["bitsandbytes"],
    "serve": ["fastapi", "uvicorn", "multipart", "python_multipart", "prometheus_client"],
}
NEEDED_BY_TRANSFORMERS = {"tokenizers"}
HIDING = """
import sys
from importlib.machinery import PathFinder
hidden = set(sys.argv.pop(1).split(","))
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *more: None if name.partition(".")[0] in hidden else find(name, *more)
from emotion_qwen.cli import main
sys.exit(main(sys.argv[1:]))
"""
MISSING = sorted({name for names in PACKAGES.values() for name in names} - NEEDED_BY_TRANSFORMERS)


def run_without(*arguments: str, cwd) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", HIDING, ",".join(MISSING), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


NANO = Path(__file__).parents[1] / "recipes" / "nano"
TASK = f"{NANO / 'tasks.py'}:shapes"
CASES = {
    "train": (["train", "run.yaml", "--dry-run"], "train"),
    "merge": (["merge", "adapter", "nano", "out"], "train"),
    "eval": (["eval", "run", "--tasks", TASK, "--output", "out"], "eval"),
    "forgetting": (["forgetting", "nano", "nano", "--tasks", TASK, "--output", "out"], "eval"),
    "ver": (["ver", "build", "ver.yaml"], "ver"),
    "serve": (["serve"], "serve"),
    "export": (["export", "reports.jsonl", "--to", "study.xlsx"], "tables"),
    "data import": (["data", "import", "parquet", "table.parquet", "out.jsonl"], "train"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("missing")
    (folder / "run.yaml").write_text(
        "{stage: hybrid, start: nano, output: out, optim: {steps: 1},"
        f" data: [{{name: a, kind: '{NANO / 'parts.py'}:texts', domain: emotion}}]}}"
    )
    (folder / "ver.yaml").write_text("{source: clips, output: out}")
    (folder / "clips").mkdir()
    (folder / "clips" / "a.mp4").write_bytes(b"")
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter_config.json").write_text('{"base_model_name_or_path": "nano"}')
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"")
    (folder / "table.parquet").write_bytes(b"PAR1")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_command_without_its_extra_is_one_line(name, folder) -> None:
    arguments, extra = CASES[name]
    done = run_without(*arguments, cwd=folder)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 2 and len(lines) == 1 and "Traceback" not in done.stderr, done.stderr
    assert "is not installed" in lines[0] and f"'emotion-qwen[{extra}]'" in lines[0]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["analyze", "ask", "faces", "convert", "doctor", "data"])
def test_a_command_that_needs_no_extra_runs_without_any(command, folder) -> None:
    done = run_without(command, *([] if command == "doctor" else ["--help"]), cwd=folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_analyze_answers_without_any_extra(folder) -> None:
    done = run_without("analyze", "--demo", "--json", cwd=folder)
    assert done.returncode == 0 and '"label"' in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("module", "wanted", "named"),
    [
        ("pyarrow", None, "'emotion-qwen[train]'"),
        ("pyarrow.parquet", "eval", "'emotion-qwen[eval]'"),
        ("pyarrow", "serve", "'emotion-qwen[train]'"),  # serve does not bring it
        ("prometheus_client", None, "'emotion-qwen[serve]'"),
        ("sklearn.metrics", "eval", "package 'scikit-learn'"),
        ("av", None, "pip install 'av>="),
        ("no_such_thing", None, "pip install no_such_thing"),
    ],
)
def test_the_error_names_the_extra_that_brings_the_package(module, wanted, named) -> None:
    error = extras.missing_package(ModuleNotFoundError(name=module), wanted)
    assert error is not None and named in str(error)


def test_a_missing_module_of_ours_is_a_fault_of_ours() -> None:
    assert extras.missing_package(ModuleNotFoundError(name="emotion_qwen.gone")) is None
    with pytest.raises(ModuleNotFoundError):
        extras.optional("emotion_qwen.gone")
    with pytest.raises(MissingPackage, match="'no_such_thing' is not installed"):
        extras.optional("no_such_thing")


def test_the_list_of_this_test_is_that_of_the_project() -> None:
    brought: dict[str, set[str]] = {}
    for requirement in extras.requirements():
        for extra in extras.extras_of(requirement, extras.known_extras()):
            brought.setdefault(extra, set()).add(requirement.name)
    assert set(PACKAGES) <= set(brought)


@pytest.mark.parametrize(
    ("address", "error", "line"),
    [
        (
            None,
            Exception("The current node timed out\nduring startup."),
            "'this machine' does not answer (The current node timed out during startup.); try again when less else",
        ),
        (
            "10.0.0.1:6379",
            ConnectionError("no route"),
            "Ray at '10.0.0.1:6379' does not answer (no route); check --ray-address, or leave it out",
        ),
    ],
)
def test_a_cluster_that_does_not_answer_is_one_line(monkeypatch, address, error, line):
    asked = []

    def init(**options):
        asked.append(options)
        raise error

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=init))
    with pytest.raises(RemoteError) as caught:
        connected_ray(address, "--ray-address", num_cpus=2)
    assert line in str(caught.value) and "\n" not in str(caught.value)
    assert asked[0]["address"] == address and asked[0].get("num_cpus") == (None if address else 2)


def test_other_faults_of_a_cluster_are_not_hidden(monkeypatch):
    def init(**options):
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=init))
    with pytest.raises(KeyboardInterrupt):
        connected_ray(None, "--ray-address")
    ready = SimpleNamespace(is_initialized=lambda: True)
    monkeypatch.setitem(sys.modules, "ray", ready)
    assert connected_ray(None, "--ray-address") is ready
