"""Who does the items of a step: this process, several processes, threads that wait for answers, or Ray.

An engine is given a function and items one after the other, and gives outcomes as they come. At no time does it hold
more items than it works on, so memory does not grow with the set. Whatever it is, the tables are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from emotion_qwen.errors import EmotionQwenError
from emotion_qwen.ver.store.table import Postponed, Row
from emotion_qwen.workers import Isolation, Pool, WorkerError


class Work(Protocol):
    """What is done with one item; picklable where processes do it."""

    def __call__(self, item: Row) -> list[Row]:
        """Return the rows of an item.

        Raises:
            Postponed: the item stays open.
        """
        ...

    def lost(self, item: Row, reason: str) -> list[Row]:
        """Return the rows of an item at which its process died or took too long."""
        ...


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
    """Some processes of this machine.

    Args:
        count: how many; 1 is this process itself, which an item that ends it ends too.
        seconds: that an item may take in a process of its own; None is without limit.
    """

    count: int = 1
    seconds: float | None = None

    def run(self, work: Work, items: Iterable[Row]) -> Iterator[Outcome]:
        """Do the items; an item at which processes die, or take too long, has the rows that `Work.lost` gives it."""
        if self.count == 1:
            for item in items:
                yield item, attempt(work, item)
            return
        # Twice: a process may have died of something else.
        pool = Pool(work, self.count, Isolation(tries=2))
        with closing(pool.results(items, ahead=self.count, ordered=False, seconds=self.seconds)) as results:
            for item, outcome in results:
                if isinstance(outcome, WorkerError):
                    outcome = work.lost(item, str(outcome))
                if isinstance(outcome, EmotionQwenError) and not isinstance(outcome, Postponed):
                    raise outcome
                yield item, outcome


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
