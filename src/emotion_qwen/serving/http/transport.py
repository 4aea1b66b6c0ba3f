"""HTTP/1.1 with time limits that uvicorn lacks: for the first request, and for reading responses."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 15.0  # for request line and headers, from the first byte or from the connection on
READ_SECONDS = 20.0  # in which a client must read `READ_BYTES` of buffered data
READ_BYTES = 2**16


class PromptProtocol(H11Protocol):
    """A connection that is closed if the client sends headers or reads responses too slowly."""

    _head: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Process data; the timer runs on until the headers are complete."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._head is None:  # the next request on this connection begins
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Pause the response, and watch whether the client reads."""
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Resume the response: the client has read."""
        self._stop_watching()
        super().resume_writing()

    def _watch(self, left: int) -> None:
        self._reading = self.loop.call_later(READ_SECONDS, self._check_reading, left)

    def _stop_watching(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _check_reading(self, before: int) -> None:
        left = self.transport.get_write_buffer_size()
        if before - left < READ_BYTES:
            self.transport.abort()  # `close` would wait for the client to read the rest
        else:
            self._watch(left)

    def _wait_for_head(self) -> None:
        self._head = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _too_slow(self) -> None:
        self._head = None
        if self.conn.their_state is h11.IDLE:
            self.transport.abort()
