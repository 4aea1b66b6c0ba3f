"""A pool of isolated worker processes: a crash, a timeout or a lack of memory fails only the job concerned.

A worker is a fresh Python process that does one job at a time. One that dies or takes too long is replaced, and other
jobs continue. It ignores Ctrl-C, which the parent handles, and ends when its parent has ended. Jobs and results are
sent through pipes. An untrusted worker, which opens untrusted files, returns JSON: if it is compromised it can send
data, but nothing that is executed here.

    python -m emotion_qwen.workers NAME     (started by a pool; NAME shows in lists of processes)
"""

from __future__ import annotations

import json
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.reduction import ForkingPickler  # between a process and its own child, as multiprocessing does
from pathlib import Path
from typing import Any, BinaryIO

from emotion_qwen.errors import EmotionQwenError

HELD = 1 << 30
"""Bytes of waiting results above which no further job is begun."""
LARGEST_TEXT = 1 << 26
"""Maximum bytes of a result of an untrusted worker."""
SINGLE = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
_LENGTH = struct.Struct("!Q")


class WorkerError(EmotionQwenError):
    """A job failed because its worker died, took too long, or ran out of memory."""


class WorkerLate(WorkerError):
    """A job exceeded its time limit."""


@dataclass(frozen=True)
class Isolation:
    """Setup of workers.

    Attributes:
        setup: called once in every worker before its first job, for example to set limits; must be picklable.
        environment: the complete environment; None is that of this process.
        trusted: whether results may be any picklable object; otherwise they are JSON values.
        folder: working folder; None is that of this process.
        quiet: discard the worker's standard error.
        jobs: number of jobs after which a worker is replaced, to free leaked memory; 0 is never.
        tries: number of times a job is tried if its worker dies, which may have other causes.
    """

    setup: Callable[[], None] | None = None
    environment: Mapping[str, str] | None = None
    trusted: bool = True
    folder: Path | None = None
    quiet: bool = False
    jobs: int = 0
    tries: int = 1


@dataclass(eq=False)
class Job:
    """A handle to cancel a job from another thread."""

    cancelled: bool = False
    _worker: _Worker | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def cancel(self) -> None:
        """Kill the worker of the job; a waiting job will not begin."""
        with self._lock:
            self.cancelled = True
            if self._worker is not None:
                self._worker.kill()

    def assign(self, worker: _Worker | None) -> None:
        """Set the worker of the job.

        Raises:
            WorkerError: the job is cancelled.
        """
        with self._lock:
            self._worker = worker
            if worker is not None and self.cancelled:
                raise WorkerError("the job was cancelled")


class _Worker:
    """A worker process and the number of its jobs."""

    def __init__(self, work: Callable[[Any], Any], isolation: Isolation) -> None:
        self.isolation, self.jobs = isolation, 0
        environment = dict(os.environ if isolation.environment is None else isolation.environment) | SINGLE
        environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, sys.path))
        name = getattr(work, "__module__", type(work).__module__)
        try:
            self.process = subprocess.Popen(
                # -P: nothing is imported from the working folder, which may hold untrusted files
                [sys.executable, "-P", "-m", "emotion_qwen.workers", name], env=environment, cwd=isolation.folder,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if isolation.quiet else None,
            )  # fmt: skip
        except OSError as error:
            raise WorkerError(f"no process could be started ({error.strerror}); close other programs") from error
        self._start = [ForkingPickler.dumps((isolation.setup, work, isolation.trusted))]

    def do(self, item: Any, seconds: float | None) -> Any:
        """Do a job.

        Raises:
            WorkerLate: it took longer than `seconds`; the process is killed.
            EOFError: the process died.
            EmotionQwenError: as the work raised it.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        with _Deadline(self, seconds) as deadline:
            try:
                for message in (*self._start, ForkingPickler.dumps(item)):
                    _write(self.process.stdin, message)
                self._start, self.jobs = [], self.jobs + 1
                data = _read(self.process.stdout, None if self.isolation.trusted else LARGEST_TEXT)
            except (EOFError, OSError, ValueError) as error:  # the pipe is closed
                if deadline.passed:
                    raise WorkerLate(f"it took longer than {seconds:g} s") from error
                raise EOFError from error
        if not self.isolation.trusted:
            failed, outcome = json.loads(data)
            outcome = WorkerError(str(outcome)) if failed else outcome
        else:
            outcome = ForkingPickler.loads(data)
        if isinstance(outcome, EmotionQwenError):
            raise outcome
        return outcome

    def kill(self) -> None:
        """Kill the process, which closes its pipes."""
        with suppress(ProcessLookupError):
            self.process.kill()

    def close(self, patience: float = 0.0) -> str:
        """Wait `patience` seconds for the process, then kill it; return a description of how it ended."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
        self.kill()
        code = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError, ValueError):
                pipe.close()  # type: ignore[union-attr]
        return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"


class _Deadline:
    """Kills a worker at the end of its time limit, unless its job has ended."""

    def __init__(self, worker: _Worker, seconds: float | None) -> None:
        self.worker, self.passed, self._over = worker, False, False
        self._lock = threading.Lock()
        self._timer = None if seconds is None else threading.Timer(seconds, self._end)

    def __enter__(self) -> _Deadline:
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._over = True
        if self._timer is not None:
            self._timer.cancel()

    def _end(self) -> None:
        with self._lock:
            if not self._over:
                self.passed = True
                self.worker.kill()


class Pool:
    """A pool of workers for one function. Thread-safe.

    Args:
        work: function called in a worker with one item; picklable, defined in a module. An `EmotionQwenError` that it
            raises is raised here.
        count: maximum number of workers; they are started on demand.
        isolation: setup of the workers.
    """

    def __init__(self, work: Callable[[Any], Any], count: int, isolation: Isolation | None = None) -> None:
        self.work, self.count, self.isolation = work, count, isolation or Isolation()
        self.died = 0
        """Number of workers that died during a job."""
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        self._started: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = False
        for _ in range(count):
            self._idle.put(None)

    def do(self, item: Any, seconds: float | None = None, job: Job | None = None) -> Any:
        """Do one job in a worker, as soon as one is idle.

        Args:
            item: passed to the function.
            seconds: time limit.
            job: handle to cancel it.

        Raises:
            WorkerLate: the job exceeded its time limit.
            WorkerError: the worker died, the job was cancelled, or the pool was closed.
            EmotionQwenError: as the work raised it.
        """
        job = job or Job()
        for turn in range(1, self.isolation.tries + 1):
            how = ""
            worker, fit = self._idle.get(), False
            try:
                worker = self._alive(worker)
                job.assign(worker)
                try:
                    outcome = worker.do(item, seconds)
                    fit = True
                    return outcome
                except EOFError:
                    how = worker.close(patience=2.0)
                except WorkerLate:
                    raise
                except EmotionQwenError:
                    fit = True
                    raise
            finally:
                job.assign(None)
                self._give_back(worker, fit)
            if self._closed or job.cancelled:
                raise WorkerError("the job was cancelled")
            with self._lock:
                self.died += 1
            if turn == self.isolation.tries:
                raise WorkerError(f"the process that read it {how}; there may be too little memory for it")
        raise AssertionError("tries is at least 1")

    def _alive(self, worker: _Worker | None) -> _Worker:
        if worker is not None and worker.process.poll() is None:
            return worker
        if worker is not None:  # it died between two jobs
            self._end(worker)
        with self._lock:
            if self._closed:
                raise WorkerError("the job was cancelled")
            worker = _Worker(self.work, self.isolation)
            self._started.add(worker)
            return worker

    def _give_back(self, worker: _Worker | None, fit: bool) -> None:
        if worker is not None and not (fit and not (self.isolation.jobs and worker.jobs >= self.isolation.jobs)):
            self._end(worker)
            worker = None
        self._idle.put(worker)

    def _end(self, worker: _Worker) -> None:
        worker.close()
        with self._lock:
            self._started.discard(worker)

    def results(
        self,
        items: Iterable[Any],
        *,
        ahead: int = 0,
        ordered: bool = True,
        seconds: float | None = None,
        size: Callable[[Any], int] = lambda result: 0,
    ) -> Generator[tuple[Any, Any], None, None]:
        """Do many jobs and close the pool at the end.

        At most `ahead` jobs beyond one per worker are running or have waiting results. While waiting results take more
        than `HELD`, only the next one to be yielded is begun. So memory does not grow with the number of items.

        Args:
            items: consumed as workers need them.
            ahead: number of jobs, see above.
            ordered: yield results in the order of the items; otherwise as they are ready.
            seconds: time limit per job.
            size: returns the bytes of a result.

        Yields:
            Every item with its result or `EmotionQwenError`.
        """
        state = threading.Condition()
        sizes: dict[int, int] = {}
        waiting: deque[tuple[int, Any, Future[Any]]] = deque()

        def attempt(number: int, item: Any) -> Any:
            with state:
                state.wait_for(lambda: self._closed or sum(sizes.values()) <= HELD or number == waiting[0][0])
            try:
                outcome = self.do(item, seconds)
            except EmotionQwenError as error:
                outcome = error
            with state:
                sizes[number] = size(outcome)
            return outcome

        threads = ThreadPoolExecutor(self.count)
        try:
            for number, item in enumerate(items):
                with state:
                    waiting.append((number, item, threads.submit(attempt, number, item)))
                if len(waiting) > self.count + ahead:
                    yield _next_result(waiting, ordered, state, sizes)
            while waiting:
                yield _next_result(waiting, ordered, state, sizes)
        finally:
            for _, _, future in waiting:
                future.cancel()
            self.close()
            with state:
                state.notify_all()
            threads.shutdown()

    def close(self) -> None:
        """End all workers; running jobs are cancelled."""
        with self._lock:
            self._closed = True
            started = list(self._started)
        for worker in started:
            worker.kill()
        for worker in started:
            worker.process.wait()
        for _ in range(self.count):  # waiting jobs find the pool closed
            with suppress(queue.Empty):
                if (idle := self._idle.get_nowait()) is not None:
                    self._end(idle)
                self._idle.put(None)


def _next_result(
    waiting: deque[tuple[int, Any, Future[Any]]], ordered: bool, state: threading.Condition, sizes: dict[int, int]
) -> tuple[Any, Any]:
    """Remove and return the next (item, result)."""
    done: set[Future[Any]] = set()
    while not done:  # with a timeout, Ctrl-C works on every system
        futures = [waiting[0][2]] if ordered else [future for _, _, future in waiting]
        done = wait(futures, timeout=1.0, return_when=FIRST_COMPLETED).done
    place = next(place for place, (_, _, future) in enumerate(waiting) if future in done)
    number, item, future = waiting[place]
    outcome = future.result()
    with state:
        del waiting[place]
        sizes.pop(number, None)
        state.notify_all()
    return item, outcome


def _write(pipe: BinaryIO | Any, data: Any) -> None:
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _read(pipe: BinaryIO | Any, largest: int | None = None) -> bytes:
    """Read one message.

    Raises:
        EOFError: the pipe is closed, or the message is larger than `largest` bytes.
    """
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    if largest is not None and length > largest:
        raise EOFError
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return data


def attempt(work: Callable[[Any], Any], item: Any) -> Any:
    """Do one job in this process; return its result or `EmotionQwenError`."""
    try:
        return work(item)
    except EmotionQwenError as error:
        return error
    except MemoryError:
        return WorkerError("it needs more memory than its process may take; reduce it")


def _end_with(parent: int) -> None:
    """Exit this process when its parent has ended, for whatever reason."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main() -> None:
    """Do the jobs received through standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # so that output of libraries does not mix with results
    with suppress(EOFError, BrokenPipeError):
        setup, work, trusted = ForkingPickler.loads(_read(source))
        if setup is not None:
            setup()
        while True:
            outcome = attempt(work, ForkingPickler.loads(_read(source)))
            _write(sink, ForkingPickler.dumps(outcome) if trusted else _as_json(outcome))


def _as_json(outcome: Any) -> bytes:
    failed = isinstance(outcome, EmotionQwenError)
    return json.dumps([failed, str(outcome) if failed else outcome], allow_nan=False).encode()


if __name__ == "__main__":
    from emotion_qwen.workers import main  # the parent's classes are in this module, not in __main__

    main()
