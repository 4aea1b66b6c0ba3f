"""Replacement for the scheduler if the model is behind another service, which does its own scheduling."""

from __future__ import annotations

from emotion_qwen.engine.endpoint import EndpointEngine


class RemoteScheduler:
    """Counts the requests to another service.

    Args:
        engine: the model behind that service.
        context: maximum tokens of prompt and answer together, as far as it is known.
    """

    waiting = 0
    alive = True

    def __init__(self, engine: EndpointEngine, context: int) -> None:
        self.engine, self.context = engine, context
        self.running = self.written = 0

    def close(self) -> None:
        """End running requests at their next wait."""
        self.engine.client.stopped.set()
