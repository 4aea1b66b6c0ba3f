"""Preparing clips in processes of their own, ahead of the model: decoding, finding faces, cutting out.

The death of a worker is the error of its clip. At most `ahead` clips are prepared or under way beyond the one that is
handed out next, so memory stays flat. A worker loads neither torch nor a model.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from emotion_qwen.errors import EmotionQwenError, MediaError
from emotion_qwen.faces import FaceDetector
from emotion_qwen.media.clip import Sources
from emotion_qwen.prepare import Budget, PreparedClip, prepare_file
from emotion_qwen.workers import Isolation, Pool, WorkerError


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


Source = TypeVar("Source")


def prepare_all(
    files: Sequence[Source], preparation: Callable[[Source], PreparedClip], workers: int, ahead: int = 4
) -> Generator[tuple[Source, Prepared], None, None]:
    """Prepare files, or items of a task, in order.

    Args:
        files: to prepare; their text is how errors call them.
        preparation: how; must be able to travel to another process.
        workers: processes; 0 prepares each file when it is asked for, in this process.
        ahead: how many clips may wait.

    Yields:
        Each file with its clip, or with the error that came in its place.
    """
    if not workers:
        for file in files:
            yield file, _attempt(preparation, file)
        return
    pool = Pool(preparation, max(1, min(workers, len(files))), Isolation(setup=_one_thread))
    results = pool.results(files, ahead=ahead, size=_size)
    try:
        for file, prepared in results:
            if isinstance(prepared, WorkerError):
                prepared = MediaError(f"{str(file)!r} could not be prepared: {prepared}; give it alone to see")
            yield file, prepared
    finally:
        results.close()


def _attempt(preparation: Callable[[Source], PreparedClip], file: Source) -> Prepared:
    try:
        return preparation(file)
    except EmotionQwenError as error:  # raised, or told of this clip alone, where it is handed out
        return error


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)


def _size(found: Any) -> int:
    """Return the bytes of a prepared clip's frames."""
    return found.clip.frames.nbytes + found.shown.frames.nbytes if isinstance(found, PreparedClip) else 0
