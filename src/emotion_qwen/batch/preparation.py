"""Prepare clips in worker processes, ahead of the model: decode, detect faces, crop.

If a worker dies, only its clip fails. At most `ahead` clips are prepared or in progress beyond the next one,
so memory use is bounded. A worker loads neither torch nor a model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from emotion_qwen.errors import EmotionQwenError, MediaError
from emotion_qwen.faces import FaceDetector
from emotion_qwen.media.acceleration import accelerator
from emotion_qwen.media.clip import Sources
from emotion_qwen.prepare import ClipBudget, PreparedClip, prepare_file
from emotion_qwen.workers import Isolation, Pool, WorkerError

MOST_ON_CPU = 4
"""Maximum number of processes with a model on the CPU, which needs the other cores itself."""
MOST_ELSEWHERE = 32
"""Maximum number of processes with a model on another device; each takes about 0.2 GB."""
MODEL_CORES = 2
"""Number of cores that a model on the CPU keeps: on two cores, 64 clips took 10.9 s without processes, and 16.9 and
14.0 s with one and two."""


@dataclass(frozen=True)
class Preparation:
    """The job of every worker: prepares one clip.

    Attributes:
        detector: of faces; must be picklable.
        budget: of the model.
        sources: what is read besides pictures.
        start: seconds from which a clip is read; `end`: seconds until which.
    """

    detector: FaceDetector
    budget: ClipBudget
    sources: Sources
    start: float | None = None
    end: float | None = None

    def __call__(self, path: Path) -> PreparedClip:
        """Prepare one file; errors are those of `read_clip`."""
        return prepare_file(path, self.detector, self.budget, start=self.start, end=self.end, sources=self.sources)


Source = TypeVar("Source")


def spare_workers(device: str) -> int:
    """Return the useful number of processes for a model on a kind of device, such as "cpu" or "cuda".

    A model on the CPU keeps two cores, and there are at most `MOST_ON_CPU` processes. For a model on another device
    or behind a service, it is the number of cores minus one, but at least one, because the cores are free meanwhile.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if device == "cpu":
        return min(max(cores - MODEL_CORES, 0), MOST_ON_CPU)
    return min(max(cores - 1, 1), MOST_ELSEWHERE)


def prepare_all(
    files: Sequence[Source], preparation: Callable[[Source], PreparedClip], workers: int, ahead: int = 4
) -> Generator[tuple[Source, PreparedClip | MediaError], None, None]:
    """Prepare files, or items of a task, in order.

    Args:
        files: to prepare; their text names them in errors.
        preparation: the job; must be picklable.
        workers: number of processes; 0 prepares each file on demand in this process.
        ahead: maximum number of prepared clips that wait.

    Yields:
        Each file with its prepared clip or an error.

    Raises:
        EmotionQwenError: not the fault of one clip.
    """
    if not workers:
        for file in files:
            try:
                prepared: PreparedClip | MediaError = preparation(file)
            except MediaError as error:
                prepared = error
            yield file, prepared
        return
    accelerator()  # warns here once, rather than in every process
    pool = Pool(preparation, max(1, min(workers, len(files))), Isolation(setup=_one_thread))
    results = pool.results(files, ahead=ahead, size=_size)
    try:
        for file, prepared in results:
            if isinstance(prepared, WorkerError):
                prepared = MediaError(f"{str(file)!r} could not be prepared: {prepared}; give it alone to see")
            elif isinstance(prepared, EmotionQwenError) and not isinstance(prepared, MediaError):
                raise prepared
            yield file, prepared
    finally:
        results.close()


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)


def _size(result: Any) -> int:
    """Return the bytes of a prepared clip's frames."""
    return result.clip.frames.nbytes + result.shown.frames.nbytes if isinstance(result, PreparedClip) else 0
