"""Preparing clips in processes of their own, ahead of the model: decoding, finding faces, cutting out.

Each worker has a pipe of its own and one clip at a time, so that the death of one can neither block nor spoil another:
its clip is reported as failed, and a fresh worker takes its place. At most `ahead` clips are prepared or under way
beyond the one that is handed out next, so memory stays flat. A worker loads neither torch nor a model.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from emotion_qwen.errors import EmotionQwenError, MediaError
from emotion_qwen.faces import FaceDetector
from emotion_qwen.media.clip import Sources
from emotion_qwen.prepare import Budget, PreparedClip, prepare_file

HELD = 1 << 30
"""Bytes of prepared frames that may wait before no more clips are given out."""
SINGLE = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


@dataclass(frozen=True)
class Preparation:
    """How clips are prepared: what every worker is told.

    Attributes:
        detector: of faces; must be able to travel to another process.
        budget: of the model.
        sources: what is read beside pictures.
        start: seconds from which, `end`: until which a clip is read.
    """

    detector: FaceDetector
    budget: Budget
    sources: Sources
    start: float | None = None
    end: float | None = None

    def __call__(self, path: Path) -> PreparedClip:
        """Prepare one file; errors are those of `read_clip`."""
        return prepare_file(path, self.detector, self.budget, start=self.start, end=self.end, sources=self.sources)


Prepared = PreparedClip | EmotionQwenError


def prepare_all(
    files: Sequence[Path], preparation: Preparation, workers: int, ahead: int = 4
) -> Generator[tuple[Path, Prepared], None, None]:
    """Prepare files in order.

    Args:
        files: to prepare.
        preparation: how.
        workers: processes; 0 prepares each file when it is asked for, in this process.
        ahead: how many clips may wait.

    Yields:
        Each file with its clip, or with the error that came in its place.
    """
    if not workers:
        for file in files:
            yield file, _attempt(preparation, file)
        return
    crew = _Crew(files, preparation, min(workers, len(files)), ahead)
    try:
        yield from crew.results()
    finally:
        crew.stop()


def _attempt(preparation: Preparation, file: Path) -> Prepared:
    try:
        return preparation(file)
    except EmotionQwenError as error:  # raised, or told of this clip alone, where it is handed out
        return error


def _size(found: Any) -> int:
    """Return the bytes of a prepared clip's frames."""
    return found.clip.frames.nbytes + found.shown.frames.nbytes if isinstance(found, PreparedClip) else 0


def _work(pipe: Connection, preparation: Preparation) -> None:
    """Prepare what comes through a pipe until it closes. Runs in the worker's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what ends
    import cv2

    cv2.setNumThreads(1)
    while True:
        try:
            file = pipe.recv()
            pipe.send(_attempt(preparation, file))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


@dataclass(eq=False)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    number: int | None = None  # of the file it is at


class _Crew:
    """Workers and the thread that keeps them busy while the model holds the main one."""

    def __init__(self, files: Sequence[Path], preparation: Preparation, workers: int, ahead: int) -> None:
        self.files, self.preparation, self.ahead = files, preparation, max(ahead, 1)
        self.context = multiprocessing.get_context("spawn")
        self.done: dict[int, Prepared | BaseException] = {}
        self.next, self.taken = 0, 0  # number of the file that is given to a worker next, and handed out next
        self.changed = threading.Condition()
        self.stopping = False
        self.wake, self.woken = self.context.Pipe(duplex=False)[::-1]
        self.workers = [self._start() for _ in range(workers)]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def results(self) -> Iterator[tuple[Path, Prepared]]:
        for number, file in enumerate(self.files):
            with self.changed:
                while number not in self.done:
                    self.changed.wait(timeout=1.0)  # a timeout lets Ctrl-C through on every system
                found = self.done.pop(number)
                self.taken = number + 1
            self.wake.send(None)
            if not isinstance(found, PreparedClip | EmotionQwenError):
                raise found
            yield file, found

    def stop(self) -> None:
        self.stopping = True
        self.wake.send(None)
        self.thread.join()
        for worker in self.workers:
            self._end(worker)

    def _start(self) -> _Worker:
        mine, theirs = self.context.Pipe()
        before = {name: os.environ.get(name) for name in SINGLE}
        os.environ.update(SINGLE)  # read when a child loads its libraries
        try:
            process = self.context.Process(target=_work, args=(theirs, self.preparation), daemon=True)
            process.start()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        theirs.close()  # so that the pipe ends when the child does
        return _Worker(process, mine)

    def _end(self, worker: _Worker) -> None:
        worker.pipe.close()
        worker.process.terminate()
        worker.process.join()

    def _run(self) -> None:
        try:
            while not self.stopping and len(self.done) + self.taken < len(self.files):
                self._give()
                busy: list[Any] = [worker.pipe for worker in self.workers if worker.number is not None]
                for ready in wait([*busy, self.woken]):
                    if ready is self.woken:
                        self.woken.recv()
                    else:
                        self._take(next(worker for worker in self.workers if worker.pipe is ready))
        except BaseException as error:  # the main thread raises it; otherwise it would wait for ever
            with self.changed:
                self.done.update({number: error for number in range(len(self.files)) if number not in self.done})
                self.changed.notify()
            raise

    def _give(self) -> None:
        with self.changed:
            if sum(_size(found) for found in self.done.values()) > HELD:
                return
        for place, worker in enumerate(self.workers):
            if worker.number is None and self.next < min(len(self.files), self.taken + self.ahead + len(self.workers)):
                if not worker.process.is_alive():  # killed between two clips: none is lost
                    self._end(worker)
                    self.workers[place] = worker = self._start()
                worker.number, self.next = self.next, self.next + 1
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `_take` finds the end of the pipe
                    worker.pipe.send(self.files[worker.number])

    def _take(self, worker: _Worker) -> None:
        assert worker.number is not None  # only busy workers are waited for
        try:
            found: Prepared | BaseException = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            found = self._lost(worker)
        number, worker.number = worker.number, None
        with self.changed:
            self.done[number] = found
            self.changed.notify()

    def _lost(self, worker: _Worker) -> MediaError:
        worker.process.join()
        code = worker.process.exitcode or 0
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        file = self.files[worker.number or 0]
        self.workers[self.workers.index(worker)] = self._start()
        worker.pipe.close()
        return MediaError(
            f"{str(file)!r} could not be prepared: the process that read it {how}; there may be too little memory for "
            "it, give it alone to see"
        )
