"""The temporary folder of a server, for the media of requests.

A killed server cannot remove its folder. The server has a lock on the folder, which ends with the process; the next
server removes unlocked folders.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "emotion-qwen-serve-"
_LOCK = ".lock"


class Scratch:
    """A new temporary folder; folders left by killed servers of the same user are removed."""

    def __init__(self) -> None:
        _sweep(Path(tempfile.gettempdir()))
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = FileLock(self.folder / _LOCK)
        self._lock.acquire(timeout=0)

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()


def _sweep(place: Path) -> None:
    for folder in place.glob(f"{PREFIX}*"):
        lock = folder / _LOCK
        if not lock.is_file():  # just being created by another server, or not a server's
            continue
        with suppress(Timeout, OSError), FileLock(lock, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
