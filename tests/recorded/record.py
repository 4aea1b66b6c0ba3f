"""Records what every command and route answers, so that a change without new behaviour can be checked byte for byte.

    python -m tests.recorded.record --to before
    python -m tests.recorded.record --to after --compare before

Only public surfaces are used: the command line, and servers that it starts. `FOLDER.sha256` lists the recordings.
"""

from __future__ import annotations

import argparse
import base64
import difflib
import fcntl
import fnmatch
import hashlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
SETTINGS = {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1",
    "COLUMNS": "100", "LINES": "40", "TERM": "dumb", "NO_COLOR": "1", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error",
    "CUDA_VISIBLE_DEVICES": "", "EMOTION_QWEN_CACHE": "no-cache",
}  # fmt: skip
"""Of this process and its children. Bars with their rates, and what transformers logs once per process, stay out."""
MASKS: tuple[tuple[str, str, str], ...] = (
    (r"127\.0\.0\.1:\d{4,5}", "127.0.0.1:<PORT>", "free port of a server"),
    (r"emotion-qwen-(serve-|calibrate-)?[a-z0-9_]{8}\b", r"emotion-qwen-\1<RANDOM>", "temporary folder"),
    (r'("took\\*": )[\d.e-]+', r"\1<TIME>", "duration of an analysis in a report"),
    (r"(frames(?: |&#160;)\d+,(?: |&#160;))[\d.]+((?: |&#160;)(?:s|秒)) *", r"\1<TIME>\2", "the same for a reader"),
    (r"(<dt>took</dt><dd>)[\d.e-]+", r"\1<TIME>", "the same on a page"),
    (r'("frames": \d+, "seconds": )[\d.e-]+', r"\1<TIME>", "duration of an answer of a benchmark"),
    (r'("items": \d+, "seconds": )[\d.e-]+', r"\1<TIME>", "duration of a step of `ver build`"),
    (r"[\d.]+(?= hours of decoding)", "<TIME>", "what `ver estimate` makes of these"),
    (r"(?<=answering took )[\d.]+(?= s)", "<TIME>", "the sum of these on a page"),
    (r"""(train_(?:runtime|samples_per_second|steps_per_second)['"]: '?)[\d.e-]+""", r"\1<TIME>", "pace of training"),
    (r"(tfevents)\.\S+", r"\1.<RANDOM>", "time, machine and process in the name of a log"),
    (r'("created": ?)\d+', r"\1<TIME>", "time of an answer or a model card"),
    (r"chatcmpl-\w+", "chatcmpl-<RANDOM>", "id of an answer"),
    (r"terminal-\d+", "terminal-<HASH>", "id that rich computes from a picture with a duration in it"),
    (r"(│ [\w-]+ +│ )\d+\.\d+\.[\w.+]*", r"\1<VERSION>", "an installed version, in the table of `doctor`"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(\+\d\d:\d\d|Z)?", "<DATE>", "date and time"),
)
"""Pattern, replacement, what it hides. Paths of the run and of the repository are masked before these."""
VARIABLE_HEADERS = ("date", "content-length", "last-modified", "etag")
CRASHES = (ArithmeticError, AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError)
Steps = list[str]


class Workplace:
    """The folders of a run: inputs laid out once, and a fresh copy of them for every case, always at the same path."""

    def __init__(self) -> None:
        self.root = Path(tempfile.gettempdir()).resolve() / f"recorded-{os.getuid()}"
        self.inputs, self.place, self.scratch = self.root / "inputs", self.root / "here", self.root / "tmp"
        self.nano = Path(_package_folder()) / "nano"

    def __enter__(self) -> Workplace:
        from tests.recorded.inputs import lay_out

        self.root.mkdir(exist_ok=True)
        self._lock = open(self.root / ".lock", "w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        for folder in (self.inputs, self.place, self.scratch):
            shutil.rmtree(folder, ignore_errors=True)
        self.scratch.mkdir()
        os.environ["TMPDIR"] = tempfile.tempdir = str(self.scratch)
        lay_out(self.inputs, self.nano)
        self.digests = _digests(self.inputs)
        return self

    def __exit__(self, *_: object) -> None:
        changed = [name for name, digest in _digests(self.inputs).items() if self.digests.get(name) != digest]
        os.chdir(self.root.parent)
        shutil.rmtree(self.root)
        if changed:
            raise SystemExit(f"a case wrote into shared inputs, so that later ones saw others: {', '.join(changed)}")

    def fresh(self, folder: Path) -> Path:
        """Make a folder with all inputs, linked."""
        from tests.recorded.inputs import link

        shutil.rmtree(folder, ignore_errors=True)
        link(self.inputs, folder)
        return folder

    def masked(self, text: str) -> str:
        """Replace what differs between two runs of one program."""
        for path, name in (
            (self.place, "<HERE>"), (self.inputs, "<INPUTS>"), (self.root, "<ROOT>"), (_package_folder(), "<PACKAGE>"),
            (REPOSITORY, "<REPOSITORY>"), (sys.prefix, "<PYTHON>"),
        ):  # fmt: skip
            text = text.replace(str(path), name)
        for pattern, replacement, _ in MASKS:
            text = re.sub(pattern, replacement, text)
        return text


def _package_folder() -> Path:
    import emotion_qwen

    return Path(emotion_qwen.__file__).resolve().parent


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@contextmanager
def captured(folder: Path) -> Iterator[None]:
    """Send what this process and its children write to two files, `stdout` and `stderr` in a folder."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept, streams = [os.dup(1), os.dup(2)], (sys.stdout, sys.stderr)
    try:
        for number, name in ((1, "stdout"), (2, "stderr")):
            with open(folder / name, "wb") as file:
                os.dup2(file.fileno(), number)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = streams
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)


def run_command(line: str, scratch: Path) -> tuple[int | str, str, str]:
    """Run one command line in this process; return its exit code and what it wrote."""
    from emotion_qwen.cli import main

    arguments = [part.replace("{repo}", str(REPOSITORY)) for part in shlex.split(line)]
    with captured(scratch), warnings.catch_warnings():
        try:
            code: int | str = main(arguments)
        except SystemExit as end:
            code = str(end.code)
        except CRASHES as error:  # a recording, too
            code = f"raised {type(error).__name__}: {error}"
    return code, *((scratch / name).read_bytes().decode(errors="replace") for name in ("stdout", "stderr"))


def record_steps(steps: Steps, workplace: Workplace) -> str:
    """Run the commands of a case one after the other in one folder, and tell all that came out."""
    place = workplace.fresh(workplace.place)
    os.chdir(place)
    before, parts = dict(workplace.digests), []
    for line in steps:
        code, out, err = run_command(line, workplace.scratch)
        parts += [f"$ emotion-qwen {line}", f"exit code {code}", "--- stdout", out, "--- stderr", err]
        after = _digests(place)
        for name in sorted(after.keys() | before.keys()):
            if after.get(name) != before.get(name):
                parts += [f"--- file {name}", _content(place / name, after.get(name))]
        before = after
    os.chdir(workplace.root)
    return workplace.masked("\n".join(parts))


def _content(path: Path, digest: str | None) -> str:
    """Return a file's text, or the digest of what is not text."""
    if digest is None:
        return "deleted"
    if "tfevents" in path.name or path.name == "training_args.bin":
        return "left out: holds times, and the name of the machine"
    data = path.read_bytes()
    if path.suffix == ".safetensors":  # the library writes the metadata in another order each time
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.dumps(json.loads(data[8:start]), sort_keys=True, indent=0)
        return f"{header}\nsha256 of the tensors {hashlib.sha256(data[start:]).hexdigest()}"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"sha256 {digest}, {len(data)} bytes"
    return f"sha256 {digest}, {len(data)} bytes" if "\0" in text else text


class Server:
    """A server that the command line starts, in a folder with all inputs."""

    def __init__(self, lines: Steps, folder: Path, workplace: Workplace) -> None:
        import httpx

        os.chdir(workplace.fresh(folder))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        *before, last = (line.replace("{repo}", str(REPOSITORY)) for line in lines)
        for line in before:
            run_command(line, workplace.scratch)
        self.folder, self.log = folder, folder.with_suffix(".log")
        command = [sys.executable, "-m", "emotion_qwen.cli", *shlex.split(last), "--port", str(self.port)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=120)
        deadline = time.monotonic() + 300
        ready = "/ready" if last.startswith("serve") else "/"
        while True:
            try:
                if self.client.get(ready).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{last!r} did not become ready:\n{self.log.read_text()}")
            time.sleep(0.2)
        os.chdir(workplace.root)
        self.clip = "" if ready != "/" else self.client.get("/api/clips").json()["clips"][0]["clip"]

    def record(self, request: Mapping[str, Any]) -> str:
        """Send one request and tell the answer."""
        options = {key: self._filled(value) for key, value in request.items()}
        method, path = options.pop("call").split(" ", 1)
        if method == "WS":
            return self._talk(path, options["send"])
        if "upload" in options:
            name = options.pop("upload")
            options["files"] = {"file": (name, (self.folder / name).read_bytes())}
        answer = self.client.request(method, path, **options)
        headers = [f"{name}: {value}" for name, value in sorted(answer.headers.items()) if name not in VARIABLE_HEADERS]
        body = f"sha256 {hashlib.sha256(answer.content).hexdigest()}, {len(answer.content)} bytes"
        if re.match(r"text/|application/(json|javascript)|image/svg", answer.headers.get("content-type", "text/")):
            body = answer.text
        return "\n".join([f"{method} {path}", f"status {answer.status_code}", *headers, "", body])

    def _talk(self, path: str, messages: list[Any]) -> str:
        from websockets.exceptions import ConnectionClosed, InvalidStatus
        from websockets.sync.client import connect

        parts = [f"WS {path}"]
        try:
            with connect(f"ws://127.0.0.1:{self.port}{path}") as session:
                for message in messages:
                    session.send(message if isinstance(message, str) else json.dumps(message))
                    parts.append(str(session.recv(timeout=60)))
        except (ConnectionClosed, InvalidStatus) as end:
            parts.append(f"closed: {end}")
        return "\n".join(parts)

    def _filled(self, value: Any) -> Any:
        """Put media in: `image:NAME`, `video:NAME` and `sound:NAME` become parts."""
        if isinstance(value, dict):
            return {key: self._filled(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [self._filled(entry) for entry in value]
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"(image|video|sound):(\S+\.\w+)", value)
        if match is None:
            return value.replace("{clip}", self.clip)
        kind, data = match[1], base64.b64encode((self.folder / match[2]).read_bytes()).decode()
        if kind == "sound":
            return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
        mime = {"image": "image/jpeg", "video": "video/mp4"}[kind]
        return {"type": f"{kind}_url", f"{kind}_url": {"url": f"data:{mime};base64,{data}"}}

    def close(self) -> None:
        """End the process."""
        self.client.close()
        self.process.terminate()
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()


def record(folder: Path, pattern: str) -> None:
    """Run all cases whose names match and write one text file each."""
    from tests.recorded.cases import COMMANDS
    from tests.recorded.requests import REQUESTS, SERVERS

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    def write(name: str, text: str, began: float) -> None:
        path = folder / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
        print(f"{time.monotonic() - began:6.1f} s  {name}", flush=True)

    with Workplace() as workplace:
        for name, steps in COMMANDS.items():
            if fnmatch.fnmatch(name, pattern):
                began = time.monotonic()
                write(name, record_steps([steps] if isinstance(steps, str) else steps, workplace), began)
        for server_name, lines in SERVERS.items():
            requests = {
                n: r for n, r in REQUESTS[server_name].items() if fnmatch.fnmatch(f"{server_name}/{n}", pattern)
            }
            if not requests:
                continue
            server = Server([lines] if isinstance(lines, str) else lines, workplace.root / server_name, workplace)
            try:
                for name, request in requests.items():
                    began = time.monotonic()
                    write(f"{server_name}/{name}", workplace.masked(server.record(request)), began)
            finally:
                server.close()
    digests = "".join(f"{digest}  {name}\n" for name, digest in _digests(folder).items())
    folder.with_name(f"{folder.name}.sha256").write_text(digests, encoding="utf-8")


def compare(before: Path, after: Path, pattern: str) -> int:
    """Print a unified diff of every case that differs or is on one side only; return how many there are."""
    sides = [
        {name for name in _digests(folder) if fnmatch.fnmatch(name.removesuffix(".txt"), pattern)}
        for folder in (before, after)
    ]
    count = 0
    for name in sorted(set().union(*sides)):
        sided = [folder / name for folder in (before, after)]
        texts = [path.read_text(encoding="utf-8") if path.exists() else "" for path in sided]
        if texts[0] != texts[1]:
            count += 1
            lines = [text.splitlines() for text in texts]
            print("\n".join(difflib.unified_diff(*lines, f"{before}/{name}", f"{after}/{name}", lineterm="", n=1)))
    return count


def main() -> int:
    """Record, and compare if asked to; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True, help="folder of the recordings; replaced")
    parser.add_argument("--cases", default="*", help="only cases whose name matches, such as 'analyze/*'")
    parser.add_argument("--compare", type=Path, help="folder of earlier recordings; exit code 1 if any case differs")
    options = parser.parse_args()
    folder, before = options.to.resolve(), options.compare and options.compare.resolve()
    record(folder, options.cases)
    if before is None:
        return 0
    count = compare(before, folder, options.cases)
    print(f"{count} case(s) differ")
    return 1 if count else 0


if __name__ == "__main__":
    os.environ.update(SETTINGS)
    os.environ.pop("EMOTION_QWEN_API_KEY", None)
    os.environ.pop("OPENAI_API_KEY", None)
    sys.exit(main())
