"""Who does the items of a step: this process, several processes, threads that wait for answers, or Ray.

An engine is given a function and items one after the other, and gives outcomes as they come. At no time does it hold
more items than it works on, so memory does not grow with the set. Whatever it is, the tables are the same.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Protocol

from emotion_qwen.errors import DataError
from emotion_qwen.ver.table import Postponed, Row

Work = Callable[[Row], list[Row]]
Outcome = tuple[Row, list[Row] | Postponed]
"""The item, and its rows or why it stays open."""


class Engine(Protocol):
    """Anything that does items."""

    def run(self, work: Work, items: Iterable[Row]) -> Iterator[Outcome]:
        """Yield the outcome of every item, in any order.

        Args:
            work: may be sent to other processes; raises `Postponed` for an item that stays open.
            items: taken only as fast as they are worked on.
        """
        ...


def attempt(work: Work, item: Row) -> list[Row] | Postponed:
    """Do one item."""
    try:
        return work(item)
    except Postponed as reason:
        return reason


@dataclass(frozen=True)
class Processes:
    """Some processes of this machine; one is this process itself."""

    count: int = 1

    def run(self, work: Work, items: Iterable[Row]) -> Iterator[Outcome]:
        """Do the items; see `Engine`."""
        if self.count == 1:
            for item in items:
                yield item, attempt(work, item)
            return
        context = multiprocessing.get_context("spawn")
        try:
            with ProcessPoolExecutor(self.count, mp_context=context, initializer=_end_with_parent) as pool:
                yield from _pour(pool, work, items, 2 * self.count)
        except BrokenProcessPool as error:
            raise DataError(
                "a worker process died, killed for its memory or by a damaged file; what is finished is kept, run "
                "again with workers=1 to see at which item"
            ) from error


@dataclass(frozen=True)
class Threads:
    """Threads that mostly wait for a network; `stop` tells them that nobody waits for them any more."""

    count: int = 32
    stop: Callable[[], None] = lambda: None

    def run(self, work: Work, items: Iterable[Row]) -> Iterator[Outcome]:
        """Do the items; see `Engine`."""
        with ThreadPoolExecutor(self.count) as pool:
            try:
                yield from _pour(pool, work, items, self.count + 4)
            except BaseException:
                self.stop()
                raise


def _pour(pool: Executor, work: Work, items: Iterable[Row], held: int) -> Iterator[Outcome]:
    """Keep at most `held` items in a pool; what is at work when the reader stops is waited for, not begun anew."""
    waiting: dict[Future[list[Row] | Postponed], Row] = {}
    try:
        for item in items:
            waiting[pool.submit(attempt, work, item)] = item
            if len(waiting) >= held:
                yield from _finished(waiting)
        while waiting:
            yield from _finished(waiting)
    finally:
        for future in waiting:
            future.cancel()


def _finished(waiting: dict[Future[list[Row] | Postponed], Row]) -> Iterator[Outcome]:
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        yield waiting.pop(future), future.result()


def _end_with_parent() -> None:
    """Let a worker end when the process that started it is gone, killed or not."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
