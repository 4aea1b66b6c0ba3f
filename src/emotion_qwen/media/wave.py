"""Store a wave of any length: in memory if it is short, otherwise in a memory-mapped temporary file.

The system loads the pages of a mapped file on access and can drop them at any time, so an hour of sound (230 MB) need
not fit into memory. The file has no name and disappears with the array.
"""

from __future__ import annotations

import tempfile

import numpy as np

from emotion_qwen.errors import StorageError

IN_MEMORY = 2**24  # bytes, 4.4 minutes at 16 kHz; a longer wave is entirely on disk


class WaveWriter:
    """Collects the samples of a wave piece by piece; gaps between pieces are silence.

    Attributes:
        end: end of the last piece, in samples.
    """

    def __init__(self) -> None:
        self.end = 0
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - `wave` closes it

    def write(self, place: int, samples: np.ndarray) -> None:
        """Write samples at a position, replacing earlier ones.

        Args:
            place: index of the first sample; samples at negative indices are dropped.
            samples: (S,) float32.

        Raises:
            StorageError: the temporary folder is full.
        """
        samples, place = samples[max(-place, 0) :], max(place, 0)
        if not len(samples):
            return
        try:
            if 4 * (place + len(samples)) > IN_MEMORY:
                self._file.rollover()  # before the write, which would otherwise fill the gap with zeros in memory
            self._file.seek(4 * place)
            self._file.write(np.ascontiguousarray(samples, dtype=np.float32).data)
        except OSError as error:
            raise _no_room(error) from error
        self.end = max(self.end, place + len(samples))

    def wave(self, length: int) -> np.ndarray:
        """Finish writing and return the wave, (length,) float32, truncated or padded with silence.

        Raises:
            StorageError: the temporary folder is full.
        """
        with self._file as file:
            if 4 * length <= IN_MEMORY:
                file.seek(0)
                written = np.frombuffer(file.read(4 * length), dtype=np.float32)
                return np.pad(written, (0, length - len(written)))  # a writable copy
            try:
                file.truncate(4 * length)
                return np.asarray(np.memmap(file, np.float32, "r+", shape=(length,)))
            except OSError as error:
                raise _no_room(error) from error


def _no_room(error: OSError) -> StorageError:
    return StorageError(
        f"a long sound cannot be kept in the temporary folder {tempfile.gettempdir()!r} ({error.strerror or error}); "
        "free space there, or name another folder in TMPDIR"
    )
