"""Text as it comes: whole characters only, and nothing that may become a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class Writer:
    """Turn bytes into text for a reader who sees it grow.

    Args:
        stops: texts at which the answer ends; they are not part of it.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = tuple(stops)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self.stopped = False

    def add(self, piece: bytes) -> str:
        """Take more bytes; return the text that is sure by now. `stopped` tells that a stop string came."""
        self._pending += self._decoder.decode(piece)
        places = [place for place in (self._pending.find(stop) for stop in self._stops) if place >= 0]
        if places:
            self.stopped = True
            ready, self._pending = self._pending[: min(places)], ""
            return ready
        keep = max((_overlap(self._pending, stop) for stop in self._stops), default=0)
        ready, self._pending = self._pending[: len(self._pending) - keep], self._pending[len(self._pending) - keep :]
        return ready

    def close(self) -> str:
        """Return what was held back, at the end of an answer."""
        if self.stopped:
            return ""
        ready, self._pending = self._pending + self._decoder.decode(b"", final=True), ""
        return ready


def _overlap(text: str, stop: str) -> int:
    """Return how many letters at the end of a text begin the stop string."""
    return next(
        (length for length in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-length:])), 0
    )
