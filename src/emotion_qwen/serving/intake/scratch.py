"""The folder in which a server keeps what requests send, for as long as it needs it.

A server that is killed cannot remove its folder. It holds a lock on it, which ends with the process; the next server
removes the folders that nobody holds.
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
    """A new folder of this server; those that killed servers of the same user left are removed."""

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
        if not lock.is_file():  # another server is just making it, or it is no server's
            continue
        with suppress(Timeout, OSError), FileLock(lock, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
