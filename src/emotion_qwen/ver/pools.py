"""The pools that process the items of a step: this process, several processes, threads for network calls, or Ray.

All are pools of `emotion_qwen.workers`. Memory does not grow with the set, and the tables are the same for all pools.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from typing import Any, Protocol

from emotion_qwen.errors import EmotionQwenError
from emotion_qwen.extras import connected_ray
from emotion_qwen.ver.store.columns import Row
from emotion_qwen.ver.store.table import Postponed
from emotion_qwen.workers import Isolation, Job, Pool, WorkerError, attempt


class Work(Protocol):
    """The work on one item; picklable if processes do it."""

    def __call__(self, item: Row) -> list[Row]:
        """Return the rows of an item.

        Raises:
            Postponed: the item stays open.
        """
        ...

    def lost(self, item: Row, reason: str) -> list[Row]:
        """Return the rows of an item on which its process died or took too long."""
        ...


MakePool = Callable[[Work], Pool]
"""Makes the pool of one step."""


def local_pool(count: int) -> MakePool:
    """Return a maker of pools of `count` processes of this machine; 1 is this process, which an item may crash."""
    if count == 1:
        return InlinePool
    return lambda work: Pool(work, count, Isolation(tries=2))  # a process may have died of something else


def outcomes(
    pool: Pool, work: Work, items: Iterable[Row], seconds: float | None = None
) -> Generator[tuple[Row, list[Row] | Postponed], None, None]:
    """Process items, and yield each with its rows or the reason why it stays open, in any order.

    Args:
        pool: does `work`; closed at the end.
        work: an item on which its process died, or took too long, gets the rows of its method `lost`.
        items: taken only as fast as they are worked on.
        seconds: that an item may take in a process of its own.

    Raises:
        EmotionQwenError: as the work raised it.
    """
    with closing(pool.results(items, ahead=pool.count, ordered=False, seconds=seconds)) as results:
        for item, outcome in results:
            if isinstance(outcome, WorkerError):
                outcome = work.lost(item, str(outcome))
            if isinstance(outcome, EmotionQwenError) and not isinstance(outcome, Postponed):
                raise outcome
            yield item, outcome


class InlinePool(Pool):
    """This process itself."""

    def __init__(self, work: Work) -> None:
        super().__init__(work, 1)

    def results(self, items: Iterable[Row], **_: Any) -> Generator[tuple[Row, Any], None, None]:
        """Do the items one after the other."""
        for item in items:
            yield item, attempt(self.work, item)


class ThreadPool(Pool):
    """Threads for network calls; `stop` interrupts them."""

    def __init__(self, work: Callable[[Row], list[Row]], count: int, stop: Callable[[], None] = lambda: None) -> None:
        super().__init__(work, count)
        self._stop = stop

    def do(self, item: Row, seconds: float | None = None, job: Job | None = None) -> Any:
        """Do an item in the calling thread."""
        return self.work(item)

    def close(self) -> None:
        """Stop the items in progress."""
        self._stop()
        super().close()


class RayPool(Pool):
    """Ray, `count` items at a time on one CPU core each. Workers must see sources and output under the same paths.

    Args:
        work: as of every pool.
        count: items at a time.
        address: of a running cluster; "" starts Ray on this machine.

    Raises:
        MissingPackage: Ray is not installed.
        RemoteError: the cluster does not answer.
    """

    def __init__(self, work: Work, count: int = 2, address: str = "") -> None:
        super().__init__(work, count)
        self._ray: Any = connected_ray(address, "--address", num_cpus=count)
        self._task = self._ray.remote(num_cpus=1, max_retries=1)(attempt)

    def do(self, item: Row, seconds: float | None = None, job: Job | None = None) -> Any:
        """Do an item in a worker of Ray."""
        try:
            outcome = self._ray.get(self._task.remote(self.work, item))
        except self._ray.exceptions.RayError as error:
            raise WorkerError(f"its worker in Ray failed ({' '.join(str(error).split())[:200]})") from error
        if isinstance(outcome, EmotionQwenError):
            raise outcome
        return outcome
