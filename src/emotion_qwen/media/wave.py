"""Room for a wave of any length: in memory while it is short, else in a temporary file that the array maps.

Pages of a mapped file are read when they are looked at, and the system may take them back at any time; so an hour of
sound, 230 MB, does not have to fit into memory. The file has no name and is gone with the array.
"""

from __future__ import annotations

import tempfile

import numpy as np

from emotion_qwen.errors import StorageError

IN_MEMORY = 2**24  # bytes, 4.4 minutes at 16 kHz; of a longer wave all is on the disk


class WaveWriter:
    """Takes the samples of a wave piece by piece; what no piece covers is silence.

    Attributes:
        end: samples up to the end of the piece that reaches farthest.
    """

    def __init__(self) -> None:
        self.end = 0
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - `wave` closes it

    def write(self, place: int, samples: np.ndarray) -> None:
        """Put samples at a place, over what is there.

        Args:
            place: of the first one; samples before 0 are left out.
            samples: (S,) float32.

        Raises:
            StorageError: there is no room in the temporary folder.
        """
        samples, place = samples[max(-place, 0) :], max(place, 0)
        if not len(samples):
            return
        try:
            if 4 * (place + len(samples)) > IN_MEMORY:
                self._file.rollover()  # before the write: silence in front of a far piece would be filled in memory
            self._file.seek(4 * place)
            self._file.write(np.ascontiguousarray(samples, dtype=np.float32).data)
        except OSError as error:
            raise _no_room(error) from error
        self.end = max(self.end, place + len(samples))

    def wave(self, length: int) -> np.ndarray:
        """End the writing: (length,) float32, cut or followed by silence.

        Raises:
            StorageError: there is no room in the temporary folder.
        """
        with self._file as file:
            if 4 * length <= IN_MEMORY:
                file.seek(0)
                written = np.frombuffer(file.read(4 * length), dtype=np.float32)
                return np.pad(written, (0, length - len(written)))  # a copy, which may be written to
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
