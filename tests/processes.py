"""Processes that start in a fraction of a second: forked from one that has imported torch and the package already.

A fresh interpreter needs seconds for these imports, and many tests start processes only to kill or stop them. Where the
start itself is tested, a test starts `sys.executable`.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest import mock

from emotion_qwen.cli import main

PRELOADED = (
    "emotion_qwen.batch.folder",
    "emotion_qwen.training.run",
    "emotion_qwen.evaluation.run.answerers.local",
    "emotion_qwen.serving.http.app",
    "torch.utils.tensorboard",
)
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(list(PRELOADED))


class Process:
    """A running process with the part of `subprocess.Popen` that tests use."""

    def __init__(self, log: Path, *call: Any) -> None:
        self.log = log
        self._process = _CONTEXT.Process(target=_run, args=(str(log), *call))
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code; minus the number of the signal that ended the process; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs after `timeout` seconds.
        """
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(str(self.log), timeout or 0.0)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def output(self) -> str:
        """Return what it wrote to standard output and standard error so far."""
        return self.log.read_text(encoding="utf-8")


def start(log: Path, target: Callable[..., Any], *arguments: Any, env: Mapping[str, str] | None = None) -> Process:
    """Call a function in a new process with one thread for torch.

    Args:
        log: file for standard output and standard error.
        target: a function of a module, found by its name in the new process; what it returns is the exit code.
        arguments: of the function; must be picklable.
        env: environment variables, all of them; None passes on those of this process.
    """
    with mock.patch.dict(os.environ, OMP_NUM_THREADS="1"):  # torch reads it once, in the process that is forked
        forkserver.ensure_running()
    log.touch()
    environment = {**(os.environ if env is None else env), "OMP_NUM_THREADS": "1"}
    return Process(log, environment, target, arguments)


def start_command(log: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Process:
    """Start the command line with these arguments, as `start` does."""
    return start(log, main, list(arguments), env=env)


def _run(log: str, env: Mapping[str, str], target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Call the function as a program of its own would be run."""
    written = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(written, 1)
    os.dup2(written, 2)
    os.close(written)
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None  # TMPDIR may be another
    multiprocessing.set_start_method(None, force=True)  # Python's own, as in a program; here it would be "forkserver"
    try:
        sys.exit(target(*arguments))
    finally:
        atexit._run_exitfuncs()  # which multiprocessing leaves out
