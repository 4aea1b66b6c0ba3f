"""A fresh clone in an awkward place: its tests can be set up there, and every documented command does what it says.

`make fresh` runs this; it installs packages, so it needs a network and minutes.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.conftest import SHARED
from tests.documents import ROOT, documented_calls

from emotion_qwen.cache import CACHE_VARIABLE

pytestmark = [pytest.mark.slow, pytest.mark.network]
PORT = 8000
REFUSED = {
    "whisper-small-ct2": "a speech model that is not at hand",
    "--transcribe whisper": "the extra asr",
    "fetch whisper --from downloads": "a file that was downloaded elsewhere",
    "SmolLM2-135M-Instruct.Q4_1.gguf": "a file that was downloaded elsewhere",
    "--device cuda": "a GPU",
    "openai:": "a model behind a service",
    "--model Qwen/": "a model on the hub",
    "configs/train/7b_stage1.yaml folder=data": "a 7B model and its data",
    "configs/train/7b_stage2.yaml folder=data": "a 7B model and its data",
    "merge runs/7b": "a 7B run",
    "publish runs/7b": "a 7B run",
    "--engine ray": "a Ray cluster",
    "s3://": "a bucket",
    "probe compare before.json": "two finished probes",
    "--generator runs/express": "a trained generator",
    "--motion runs/express": "a trained motion model",
    "--say": "the extra lips",
    "--sound voice.wav": "the extra lips",
    "express import beat": "recordings of BEAT",
    "verify reasoned.jsonl": "explanations of several clips",
    "verify train sentences.csv": "labelled sentences",
    "eval leaderboard results": "finished runs",
    "eval extract results": "a finished run",
    "ver build configs/ver/build.yaml": "a teacher behind an endpoint",
    "ver stats my-set": "the set that the teacher would have described",
    "ver review my-set": "likewise",
    "ver estimate my-set": "likewise",
    "--data benchmarks": "benchmark files under their owners' terms",
    "eval score results/first": "the run on these files",
    "eval score results/own": "the run on these files",
    "eval compare results/a": "finished runs",
    "eval compare results/first": "likewise",
    "eval compare results/mine": "likewise",
    "data import release": "the release's annotations",
    "data import parquet": "a dataset in Parquet",
}
"""Part of a command -> what it needs that is not here. It must say so in one line and exit with code 2."""
NEEDS_DATA = ("data=data", "--data data", "--data my/data")
SERVERS = ("serve", "ver review")


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """Clone the repository below a folder called `new`, with a space and Chinese in the path, and install it there."""
    place = tmp_path_factory.mktemp("fresh") / "new" / "a b" / "工" / "emotion-qwen"
    place.parent.mkdir(parents=True)
    if SHARED.is_dir():
        (place.parent / "shared").symlink_to(SHARED.parent, target_is_directory=True)
    run(["git", "clone", "--quiet", str(ROOT), str(place)], place.parent, 120)
    done = run(["make", "setup-dev"], place, 1800)
    assert done.returncode == 0, done.stdout + done.stderr
    script = "import sys; from pathlib import Path; from tests.fresh.workplace import lay_out; lay_out(Path('.'), *map(Path, sys.argv[1:]))"  # noqa: E501
    data = [str(SHARED)] if SHARED.is_dir() else ["missing"]
    done = run([".venv/bin/python", "-c", script, *data], place, 300)
    assert done.returncode == 0, done.stderr
    return place


def environment() -> dict[str, str]:
    """Return the environment of a service: no home folder, and nothing of the make or Python that runs this test.

    What is fetched goes beside the clone.
    """
    dropped = ("HOME", "PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "ARGS")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, CACHE_VARIABLE: "../fetched"}


def run(command: list[str], place: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a command with `environment`."""
    return subprocess.run(
        command, cwd=place, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=seconds, check=False,
    )  # fmt: skip


def expected(call: tuple[str, ...]) -> int:
    text = shlex.join(call)
    if "--dry-run" in call:
        return 0
    if any(part in text for part in REFUSED) or (not SHARED.is_dir() and any(part in text for part in NEEDS_DATA)):
        return 2
    return 0


@pytest.mark.parametrize(
    "call",
    # What is fetched is there for the others.
    sorted(
        (call for call in documented_calls() if not shlex.join(call).startswith(SERVERS)),
        key=lambda call: call[0] != "fetch",
    ),
    ids=shlex.join,
)
def test_a_documented_command_does_what_it_says(clone: Path, call: tuple[str, ...]) -> None:
    if call[:2] == ("eval", "configs/eval/nano.yaml"):
        call = (*call, "limit=8")
    elif call[0] in ("forgetting", "calibrate") or (call[0] == "eval" and "skills" in shlex.join(call)):
        call = (*call, "--limit", "8")
    if call[0] == "convert" and not expected(call):  # the alternatives name one target; `convert` overwrites nothing
        shutil.rmtree(clone / call[2], ignore_errors=True)
    done = run([".venv/bin/emotion-qwen", *call], clone, 1800)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == expected(call), done.stderr[-2000:]
    if done.returncode:
        errors = re.findall(r"^[Ee]rror: ", done.stderr, re.MULTILINE)  # click writes "Error: "
        assert len(errors) == 1, done.stderr


@pytest.mark.parametrize("notebook", sorted((ROOT / "examples").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(clone: Path, notebook: Path) -> None:
    done = run([".venv/bin/jupyter-execute", f"examples/{notebook.name}"], clone, 1800)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize("target", ["analyze", "analyze CLIP=interview.mp4"])
def test_make_analyze_reports(clone: Path, target: str) -> None:
    done = run(["make", *shlex.split(target)], clone, 300)
    assert done.returncode == 0 and "happy" in done.stdout, done.stderr[-2000:]


@pytest.mark.parametrize("call", [call for call in documented_calls() if call[0] == "serve"], ids=shlex.join)
def test_a_documented_server_becomes_ready_or_says_what_it_lacks(clone: Path, call: tuple[str, ...]) -> None:
    with subprocess.Popen(
        [".venv/bin/emotion-qwen", *call], cwd=clone, env=environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as server:  # fmt: skip
        words = shlex.join(call).replace("--port ", "port=").split()
        port = next((word.removeprefix("port=") for word in words if word.startswith("port=")), str(PORT))
        try:
            if any("one_gpu" in word for word in call):
                output = server.communicate(timeout=60)[0]
                assert server.returncode == 2 and "Traceback" not in output, output
                return
            # A server whose model cannot be loaded stays, and says so.
            path, wanted = ("/health", 503) if expected(call) else ("/ready", 200)
            deadline = time.monotonic() + 120
            while server.poll() is None and time.monotonic() < deadline and status(port, path) != wanted:
                time.sleep(0.5)
            assert server.poll() is None and status(port, path) == wanted
        finally:
            server.terminate()


def status(port: str, path: str) -> int:
    """Return the status of an address of the server; 0 without an answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=4) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_the_tests_pass_there_with_read_only_sources(clone: Path) -> None:
    """The whole suite as somebody who may read the clone and write nothing in it."""
    options = ["-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider"]
    command = [str(clone / ".venv/bin/python"), *options]
    if os.geteuid() == 0:  # root may write anywhere, but not without its capabilities
        powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
        if not shutil.which("setpriv") or run([*powerless, "true"], clone, 10).returncode:
            pytest.skip("root writes into read-only files, and setpriv cannot take that right away here")
        command = [*powerless, *command]
    for folder, names, files in os.walk(clone):
        names[:] = [name for name in names if name != ".git"]
        os.chmod(folder, 0o555)
        for file in files:
            path = Path(folder, file)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & 0o555)
    done = run(["env", "OMP_NUM_THREADS=1", "PYTHONDONTWRITEBYTECODE=1", *command], clone, 3600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_the_documentation_is_built(clone: Path) -> None:
    done = run(["make", "docs"], clone, 1800)
    assert done.returncode == 0, done.stderr[-2000:]
    for page in ("index.html", "zh/index.html", "reference/cli.html", "reference/python.html"):
        assert (clone / "build" / "site" / page).is_file()


def test_the_wheel_with_all_extras_works_in_an_empty_environment(clone: Path, tmp_path: Path) -> None:
    """What a user installs: the wheel and the extra `all`, outside the repository, with the weights in the wheel."""
    done = run([".venv/bin/pip", "wheel", "--no-deps", "--wheel-dir", str(tmp_path), "."], clone, 600)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = tmp_path.glob("*.whl")
    run([sys.executable, "-m", "venv", "there"], tmp_path, 120)
    done = run(["there/bin/pip", "install", "--quiet", f"{wheel.name}[all]"], tmp_path, 1800)
    assert done.returncode == 0, done.stderr[-2000:]
    analyze = "analyze --demo --html page.html --output table.xlsx"
    for command in (analyze, "export table.jsonl --to x.parquet", "doctor"):
        done = run(["there/bin/emotion-qwen", *shlex.split(command)], tmp_path, 600)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr[-2000:]
    assert {path.name for path in tmp_path.iterdir()} >= {"page.html", "table.xlsx", "x.parquet"}


def test_it_runs_with_the_python_of_the_clone(clone: Path) -> None:
    done = run([".venv/bin/python", "-c", "import emotion_qwen; print(emotion_qwen.__file__)"], clone, 60)
    assert Path(done.stdout.strip()).is_relative_to(clone) and sys.version_info >= (3, 11)
