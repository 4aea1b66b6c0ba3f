"""One model, several threads: whoever wants the model takes a ticket and is served in that order.

A plain lock is not fair: the thread that decodes in a loop would take it again before anybody else wakes up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from emotion_qwen.errors import EmotionQwenError

YIELD = 3.0
"""While answers are written, a report leaves the model alone for so many times as long as it had it."""
POLL = 0.02  # seconds between looks at whether work is still wanted


class FairLock:
    """A lock that is given in the order in which it was asked for."""

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
    """Nobody waits any more for the work that asked for a turn."""


class Turns(FairLock):
    """The turns at one model.

    Passes that write answers come at once. Passes of reports come beside them: while answers are being written, they
    leave the model alone for `YIELD` times as long as they had it. Work that nobody waits for any more ends where it
    would take its next turn.
    """

    def __init__(self) -> None:
        super().__init__()
        self.busy: Callable[[], bool] = lambda: False
        """Whether answers are being written; set by whoever writes them."""
        self._work = threading.local()
        self._closed = False
        self._beside = FairLock()
        self._again = 0.0  # monotonic time from which a report may use the model beside answers

    @contextmanager
    def until(self, stop: threading.Event) -> Iterator[None]:
        """Let this thread take turns inside only as long as `stop` is not set."""
        self._work.stop = stop
        try:
            yield
        finally:
            self._work.stop = None

    def close(self) -> None:
        """Let nobody take turns any more who works in `until`."""
        self._closed = True

    def __enter__(self) -> None:
        self.check()
        super().__enter__()

    def check(self) -> None:
        """Go on only if somebody waits for this thread's work.

        Raises:
            Stopped: nobody does.
        """
        stop = getattr(self._work, "stop", None)
        if stop is not None and (stop.is_set() or self._closed):
            raise Stopped("nobody waits for this any more")

    @contextmanager
    def beside_answers(self) -> Iterator[None]:
        """Take a turn for a report.

        Raises:
            Stopped: nobody waits for it any more.
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
