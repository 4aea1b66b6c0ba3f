"""Streams end, and what they hold is given back, whenever the client goes away."""

from __future__ import annotations

import asyncio

import pytest

from emotion_qwen.serving.http.streams import ClientGone, EventStream, while_listening


async def told(closed: list[str], more: asyncio.Event | None = None):
    try:
        yield "one"
        if more is not None:
            await more.wait()
        yield "two"
    finally:
        closed.append("events")


def listen(after: float | None):
    """Return what a server gives to hear by: the client is gone after some seconds; None is never."""

    async def receive():
        await asyncio.sleep(3600 if after is None else after)
        return {"type": "http.disconnect"}

    return receive


def serve(events, closed, after=None, slow=0.0, first="") -> list[str]:
    sent = []

    async def send(message):
        await asyncio.sleep(slow)
        sent.append(message.get("body", b"").decode())

    stream = EventStream(events, lambda: closed.append("stream"), first)
    asyncio.run(asyncio.wait_for(stream({}, listen(after), send), 10))
    return [text for text in sent if text]


def test_a_stream_that_is_heard_to_the_end():
    closed: list[str] = []
    assert serve(told(closed), closed, first="zero") == ["zero", "one", "two"] and closed == ["events", "stream"]


@pytest.mark.parametrize("slow", [0.0, 0.5], ids=["while it waits for the next event", "while it sends one"])
def test_a_client_that_leaves(slow):
    async def run():
        closed: list[str] = []

        async def send(message):
            if message["type"] == "http.response.body":
                await asyncio.sleep(slow)

        stream = EventStream(told(closed, asyncio.Event()), lambda: closed.append("stream"))
        await asyncio.wait_for(stream({}, listen(0.1), send), 5)
        return closed

    assert asyncio.run(run()) == ["events", "stream"]


def test_a_client_that_left_before_the_first_event():
    """The generator never began, so its own `finally` does not run: closing must not depend on it."""
    closed: list[str] = []

    async def at_once():
        return {"type": "http.disconnect"}

    async def send(message):
        await asyncio.sleep(1)

    stream = EventStream(told(closed), lambda: closed.append("stream"))
    asyncio.run(asyncio.wait_for(stream({}, at_once, send), 5))
    assert closed == ["stream"]


def test_events_that_have_begun_are_closed_although_nobody_hears_the_rest():
    async def run():
        closed: list[str] = []
        events = told(closed, asyncio.Event())
        first = await anext(events)

        async def send(message):
            await asyncio.sleep(60)

        stream = EventStream(events, lambda: closed.append("stream"), first)
        await asyncio.wait_for(stream({}, listen(0.05), send), 5)
        return closed

    assert asyncio.run(run()) == ["events", "stream"]


def test_work_is_cancelled_with_its_client():
    async def run():
        ended = []

        async def work():
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(True)

        class Request:
            receive = staticmethod(listen(0.05))

        with pytest.raises(ClientGone):
            await asyncio.wait_for(while_listening(Request(), work()), 5)
        return ended

    assert asyncio.run(run()) == [True]
