"""What several processes of one run do together beside training: waiting for rank 0, and naming its fault."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import torch.distributed as dist

from emotion_qwen.errors import DataError, EmotionQwenError

LONGEST_WAIT = timedelta(days=14)


def on_rank_zero(rank: int, work: Callable[[], None]) -> None:
    """Let rank 0 do some work while the other ranks wait; all of them learn how it ended.

    The wait has its own group of processes: the time limit of training's collectives is far shorter than, for example,
    encoding a large data set.

    Args:
        rank: of this process.
        work: done once.

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
    """Return the last line of an error that a data-loading worker has wrapped in its traceback."""
    lines = message.strip().splitlines()
    if "DataLoader worker process" not in lines[0]:
        return message
    return lines[-1].partition(": ")[2] or lines[-1]
