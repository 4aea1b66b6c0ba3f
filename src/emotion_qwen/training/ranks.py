"""Coordinate the processes of a run outside of training: wait for rank 0 and pass on its error."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import torch.distributed as dist

from emotion_qwen.errors import DataError, EmotionQwenError

LONGEST_WAIT = timedelta(days=14)


def on_rank_zero(rank: int, work: Callable[[], None]) -> None:
    """Run some work on rank 0 while the other ranks wait; all ranks get its result or error.

    The wait uses its own process group, because the timeout of the training collectives is much shorter than, for
    example, the encoding of a large data set.

    Args:
        rank: of this process.
        work: called once, on rank 0.

    Raises:
        EmotionQwenError: the work failed; on the other ranks a `DataError` with the same message.
    """
    together = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    group = dist.new_group(backend="gloo", timeout=LONGEST_WAIT) if together else None
    fault: EmotionQwenError | None = None
    if rank == 0:
        try:
            work()
        except EmotionQwenError as error:
            fault = error
    if together:
        message = [None if fault is None else str(fault)]
        dist.broadcast_object_list(message, src=0, group=group)
        dist.destroy_process_group(group)
        if rank and message[0] is not None:
            raise DataError(message[0])
    if fault is not None:
        raise fault


def without_worker(message: str) -> str:
    """Return the last line of an error that a data-loading worker wrapped in its traceback."""
    lines = message.strip().splitlines()
    if "DataLoader worker process" not in lines[0]:
        return message
    return lines[-1].partition(": ")[2] or lines[-1]
