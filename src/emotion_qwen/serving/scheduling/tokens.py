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
        self._held = ""
        self.stopped = False

    def add(self, piece: bytes) -> str:
        """Take more bytes; return the text that is sure by now. `stopped` tells that a stop string came."""
        self._held += self._decoder.decode(piece)
        found = [place for place in (self._held.find(stop) for stop in self._stops) if place >= 0]
        if found:
            self.stopped = True
            told, self._held = self._held[: min(found)], ""
            return told
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        told, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return told

    def close(self) -> str:
        """Return what was held back, at the end of an answer."""
        if self.stopped:
            return ""
        told, self._held = self._held + self._decoder.decode(b"", final=True), ""
        return told


def _overlap(text: str, stop: str) -> int:
    """Return how many letters at the end of a text begin the stop string."""
    return next(
        (length for length in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-length:])), 0
    )
