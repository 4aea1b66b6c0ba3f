"""Answers while a client listens: streams that stop, and work that ends, when nobody listens any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from emotion_qwen.errors import EmotionQwenError

Found = TypeVar("Found")


class ClientGone(EmotionQwenError):
    """Nobody waits for the answer any more."""


async def _gone(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_listening(request: Request, work: Awaitable[Found]) -> Found:
    """Do work whose request body has been read, as long as the client is there.

    Raises:
        ClientGone: the client went away; the work was cancelled.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone("the client went away")
    finally:
        await _stop(task, gone)


async def _stop(*tasks: asyncio.Future) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class EventStream(Response):
    """Server-sent events; they end, and are closed, as soon as the client goes away.

    Args:
        events: texts of events.
        close: called at the end, whatever happened; also if nobody was there to hear the first event.
        first: an event that was taken from `events` before.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[str], close: Callable[[], None], first: str = "") -> None:
        super().__init__()
        del self.headers["content-length"]
        self.headers["x-accel-buffering"] = "no"  # reverse proxies must not collect events
        self._events, self._close, self._first = events, close, first

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send events until they end or the client is gone."""
        stream = asyncio.ensure_future(self._send(send))
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({stream, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            try:
                await _stop(stream, gone)
                await self._events.aclose()  # it may have been cancelled while it sent, outside of the events
            finally:
                self._close()

    async def _send(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if self._first:
            await self._body(send, self._first)
        async for text in self._events:
            await self._body(send, text)
        await self._body(send, "", more=False)

    @staticmethod
    async def _body(send: Any, text: str, more: bool = True) -> None:
        await send({"type": "http.response.body", "body": text.encode("utf-8", "replace"), "more_body": more})
