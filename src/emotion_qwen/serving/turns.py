"""One model, several threads: whoever wants the model takes a ticket and is served in that order.

A plain lock is not fair: the thread that decodes in a loop would take it again before anybody else wakes up.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from emotion_qwen.inference.encoding import View
from emotion_qwen.inference.engine import Engine, WordScores


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


class SharedEngine(Engine):
    """An engine whose model others use, too: every pass waits for its turn.

    Args:
        engine: whose model, processor and name are used.
        turns: shared with all other users of the model.
    """

    def __init__(self, engine: Engine, turns: FairLock) -> None:
        super().__init__(engine.model, engine.processor, engine.name)
        self.turns = turns

    def score(self, views: Sequence[View], question: str | Sequence[str], answers: Sequence[str]) -> WordScores:
        """Score as `Engine.score` does, while nobody else uses the model."""
        with self.turns:
            return super().score(views, question, answers)

    def _generate(self, *args: Any, **options: Any) -> Any:
        with self.turns:
            return super()._generate(*args, **options)

    def provenance(self) -> dict[str, Any]:
        """Name the model as `Engine.provenance` does."""
        with self.turns:
            return super().provenance()
