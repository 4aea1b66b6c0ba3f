"""Turns of several threads at one model, in the order of their requests.

A plain lock is not fair: a thread that decodes in a loop would acquire it again before the others wake up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from emotion_qwen.errors import EmotionQwenError

YIELD = 3.0
"""While answers are generated, a report pauses after each turn for this multiple of the turn's time."""
POLL = 0.02  # seconds between checks for cancellation


class FairLock:
    """A lock that is acquired in the order of requests."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._given, self._serving = 0, 0

    def __enter__(self) -> None:
        with self._changed:
            ticket = self._given
            self._given += 1
            self._changed.wait_for(lambda: self._serving == ticket)

    def __exit__(self, *exception: object) -> None:
        with self._changed:
            self._serving += 1
            self._changed.notify_all()


class Stopped(EmotionQwenError):
    """The work that requested a turn was cancelled."""


class Turns(FairLock):
    """The turns at one model.

    Passes that generate answers come first. While answers are generated, passes of reports pause for `YIELD` times the
    time of their last turn. Cancelled work stops at its next turn.
    """

    def __init__(self) -> None:
        super().__init__()
        self.busy: Callable[[], bool] = lambda: False
        """Whether answers are being generated; set by the scheduler."""
        self._work = threading.local()
        self._closed = False
        self._beside = FairLock()
        self._again = 0.0  # monotonic time of the next turn of reports while answers are generated

    @contextmanager
    def until(self, stop: threading.Event) -> Iterator[None]:
        """Stop the work of this thread inside the block once `stop` is set."""
        self._work.stop = stop
        try:
            yield
        finally:
            self._work.stop = None

    def close(self) -> None:
        """Stop all work in `until` blocks."""
        self._closed = True

    def __enter__(self) -> None:
        self.check()
        super().__enter__()

    def check(self) -> None:
        """Check whether the work of this thread was cancelled.

        Raises:
            Stopped: it was.
        """
        stop = getattr(self._work, "stop", None)
        if stop is not None and (stop.is_set() or self._closed):
            raise Stopped("the work was cancelled")

    @contextmanager
    def beside_answers(self) -> Iterator[None]:
        """Take a turn for a report.

        Raises:
            Stopped: the work was cancelled.
        """
        self.check()
        with self._beside:
            while self.busy() and (left := self._again - time.monotonic()) > 0:
                self.check()
                time.sleep(min(left, POLL))
            with self:
                began = time.monotonic()
                yield
                ended = time.monotonic()
            self._again = ended + YIELD * (ended - began)
