"""Incremental detokenization: whole characters only, and without stop strings."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class Detokenizer:
    """Converts bytes of tokens to text that can be streamed.

    Args:
        stops: texts at which the answer ends; they are not part of it.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = tuple(stops)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self.stopped = False

    def add(self, piece: bytes) -> str:
        """Add bytes and return the text that is final; `stopped` is set at a stop string."""
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
        """Return the pending text at the end of an answer."""
        if self.stopped:
            return ""
        ready, self._pending = self._pending + self._decoder.decode(b"", final=True), ""
        return ready


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of a text that begins the stop string."""
    return next(
        (length for length in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-length:])), 0
    )
