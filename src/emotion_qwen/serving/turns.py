"""One model, several threads: whoever wants the model takes a ticket and is served in that order.

A plain lock is not fair: the thread that decodes in a loop would take it again before anybody else wakes up.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import BatchFeature

from emotion_qwen.errors import EmotionQwenError
from emotion_qwen.inference.encoding import Encoder
from emotion_qwen.inference.engine import Engine
from emotion_qwen.inference.vocabulary import Vocabulary
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.processing import EmotionQwenProcessor


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
    """The turns at one model. Work that nobody waits for any more ends where it would take its next turn."""

    def __init__(self) -> None:
        super().__init__()
        self._work = threading.local()
        self._closed = False

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
        stop = getattr(self._work, "stop", None)
        if stop is not None and (stop.is_set() or self._closed):
            raise Stopped("nobody waits for this any more")
        super().__enter__()


class SharedEncoder(Encoder):
    """An encoder whose model others use, too: every batch of media waits for its turn, but is prepared before.

    Args:
        model: in evaluation mode.
        processor: the model's own.
        turns: shared with all other users of the model.
    """

    def __init__(
        self, model: EmotionQwenForConditionalGeneration, processor: EmotionQwenProcessor, turns: Turns
    ) -> None:
        super().__init__(model, processor)
        self._turns = turns

    def _pass(self, inputs: BatchFeature) -> dict[str, Any]:
        with self._turns:
            return super()._pass(inputs)


class SharedEngine(Engine):
    """An engine whose model others use, too: every batch waits for its turn, and others come between two of them.

    Args:
        engine: whose model, processor and name are used.
        turns: shared with all other users of the model.
    """

    def __init__(self, engine: Engine, turns: Turns) -> None:
        super().__init__(engine.model, engine.processor, engine.name, engine.folder)
        self.turns, self._own = turns, engine

    @property
    def vocabulary(self) -> Vocabulary:  # type: ignore[override]
        """The tokens of the model; one table for all."""
        return self._own.vocabulary

    def encoder(self) -> Encoder:
        """Return an encoder as `Engine.encoder` does."""
        return SharedEncoder(self.model, self.processor, self.turns)

    def _score_batch(self, *args: Any) -> Any:
        with self.turns:
            return super()._score_batch(*args)

    def _generate(self, *args: Any, **options: Any) -> Any:
        with self.turns:
            return super()._generate(*args, **options)

    def provenance(self) -> dict[str, Any]:
        """Name the model as `Engine.provenance` does."""
        with self.turns:
            return super().provenance()
