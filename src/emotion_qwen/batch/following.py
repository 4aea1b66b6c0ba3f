"""Show the progress of an analysis on standard error: the stage of a single clip, or the number of finished clips.

The stages are timed, because a model that waits for clips most of the time needs more processes that prepare them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)


def terminal_progress(*columns: ProgressColumn) -> Progress:
    """Return a bar on standard error that is removed at its end; in a log, it would leave empty lines."""
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


class Following:
    """The progress over a number of clips; nothing is shown unless standard error is a terminal.

    Args:
        count: number of clips.
    """

    def __init__(self, count: int) -> None:
        several = (BarColumn(), MofNCompleteColumn()) if count > 1 else (SpinnerColumn(),)
        self._bar = terminal_progress(TextColumn("{task.description}"), *several, TimeElapsedColumn())
        self._task = self._bar.add_task("analyzing", total=count)
        self._seconds: dict[str, float] = {}
        self._since: tuple[str, float] | None = None

    def stage(self, text: str) -> None:
        """Set the stage of the next clips."""
        now = time.perf_counter()
        self._end_stage(now)
        self._since = text, now
        self._bar.update(self._task, description=text)

    def seconds(self) -> dict[str, float]:
        """Return the seconds spent in each stage; empty if no stage was reported, as with other engines."""
        self._end_stage(time.perf_counter())
        return dict(self._seconds)

    def _end_stage(self, now: float) -> None:
        if self._since is not None:
            text, since = self._since
            self._seconds[text] = self._seconds.get(text, 0.0) + now - since
            self._since = None

    def over(self, clips: Iterator[Any]) -> Iterator[Any]:
        """Count the results of clips."""
        for clip in self._shown(clips):
            yield clip
            self._bar.advance(self._task)

    def _shown(self, clips: Iterator[Any]) -> Iterator[Any]:
        """Show the bar only while a result is awaited, since the views of a result have their own."""
        while True:
            with self._bar:
                try:
                    clip = next(clips)
                except StopIteration:
                    return
            yield clip
