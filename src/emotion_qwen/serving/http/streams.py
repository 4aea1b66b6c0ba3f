"""Work and event streams that are cancelled when the client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from emotion_qwen.errors import EmotionQwenError

Found = TypeVar("Found")


class ClientGone(EmotionQwenError):
    """The client disconnected before the response."""


async def _gone(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_listening(request: Request, work: Awaitable[Found]) -> Found:
    """Await work while the client is connected; the request body must have been read.

    Raises:
        ClientGone: the client disconnected; the work was cancelled.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone("the client disconnected")
    finally:
        await _stop(task, gone)


async def _stop(*tasks: asyncio.Future) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class EventStream(Response):
    """Server-sent events; they are closed as soon as the client disconnects.

    Args:
        events: texts of events.
        close: called at the end in any case, even if no event was sent.
        first: an event taken from `events` before.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[str], close: Callable[[], None], first: str = "") -> None:
        super().__init__()
        del self.headers["content-length"]
        self.headers["x-accel-buffering"] = "no"  # reverse proxies must not buffer events
        self._events, self._close, self._first = events, close, first

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send events until they end or the client disconnects."""
        stream = asyncio.ensure_future(self._send(send))
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({stream, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            try:
                await _stop(stream, gone)
                await self._events.aclose()  # the task may have been cancelled in `send`, outside the generator
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
