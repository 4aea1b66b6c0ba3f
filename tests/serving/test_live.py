"""Live sessions with a real server process: what they answer, what they refuse, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import signal
import struct
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from tests.serving.conftest import picture_bytes, serving
from tests.serving.test_rolling import RATE, voice

from emotion_qwen.serving.http import live
from emotion_qwen.serving.http.live import MAX_FAULTS, MAX_GREETINGS, MAX_MESSAGE_BYTES, serve_live

websockets = pytest.importorskip("websockets", reason="needs the extra serve")
Closed, InvalidStatus = websockets.ConnectionClosed, websockets.InvalidStatus


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A server with room for one short session."""
    with serving(tmp_path_factory.mktemp("live"), "slots=1", "decoders=1", "live=1", "live_seconds=2") as running:
        yield running


def connect(server, **options):
    return websockets.connect(f"ws://127.0.0.1:{server.port}/v1/emotion/live", max_size=None, **options)


@contextlib.asynccontextmanager
async def session(server, **greeting):
    async with connect(server) as socket:
        await socket.send(json.dumps({"type": "start", **greeting}))
        ready = await told(socket)
        assert ready["type"] == "ready", ready
        yield socket


async def told(socket) -> dict:
    return json.loads(await asyncio.wait_for(socket.recv(), 60))


async def closed(socket) -> tuple[int, str]:
    """Read until the end; return the close code and the reason."""
    with contextlib.suppress(Closed):
        while True:
            await asyncio.wait_for(socket.recv(), 60)
    return socket.close_code, socket.close_reason


def message(kind: int, time: float, data: bytes) -> bytes:
    return struct.pack(">Bd", kind, time) + data


def samples(wave: np.ndarray) -> bytes:
    return (wave * 32767).astype("<i2").tobytes()


def test_pictures_give_a_rolling_report(server, astronaut):
    async def run() -> dict:
        async with session(server, labels="dfew7") as socket:
            for number in range(4):
                await socket.send(message(0, 1.0 + number, picture_bytes(astronaut)))
            last = await told(socket)
            while len(last["report"]["people"][0]["seen"]) < 4:  # a picture may come while another is decoded
                number += 1
                await socket.send(message(0, 1.0 + number, picture_bytes(astronaut)))
                last = await told(socket)
            return last

    last = asyncio.run(run())
    assert last["type"] == "report" and last["voiced"] is None and last["now"] >= 4
    assert {one["channel"]: bool(one["label"]) for one in last["report"]["channels"]}["sound"] is False


def test_a_voice_beside_the_pictures_is_heard_and_noise_is_not(server, astronaut, speech):
    noise = np.random.default_rng(0).normal(0, 0.02, 2 * RATE)

    async def run(wave: np.ndarray) -> dict:
        async with session(server) as socket:
            for number in range(4):
                await socket.send(message(1, 0.5 * number, samples(wave[number * RATE // 2 :][: RATE // 2])))
            await socket.send(message(0, 2.0, picture_bytes(astronaut)))
            return await told(socket)

    heard, not_heard = asyncio.run(run(speech)), asyncio.run(run(noise))
    sound = {one["channel"]: one for one in heard["report"]["channels"]}["sound"]
    assert sound["label"] and sound["moved"] and heard["voiced"] > 0.5
    assert not {one["channel"]: one for one in not_heard["report"]["channels"]}["sound"]["label"]
    assert not_heard["voiced"] == 0 and not_heard["report"]["people"]


def test_a_camera_that_shows_nobody_gives_no_answer_but_a_reason(server):
    async def run() -> dict:
        async with session(server) as socket:
            await socket.send(message(0, 1.0, picture_bytes(np.full((64, 64, 3), 120, np.uint8))))
            return await told(socket)

    report = asyncio.run(run())["report"]
    assert report["label"] is None and report["distribution"] == {} and report["valence_arousal"] is None
    assert report["uncertainty"]["reason"] == "no face was found"


def test_a_voice_alone_gives_a_report_without_people(server, speech):
    async def run() -> dict:
        async with session(server) as socket:
            await socket.send(message(1, 0.0, samples(np.zeros(RATE))))  # silence alone gives none
            await socket.send(message(1, 1.0, samples(speech)))
            return await told(socket)

    report = asyncio.run(run())["report"]
    assert report["people"] == [] and report["label"] and len(report["distribution"]) == 7


NONSENSE = {
    "text": "a word",
    "nothing": b"",
    "a head alone": struct.pack(">Bd", 0, 1.0),
    "an unknown kind": message(2, 1.0, b"a"),
    "no time": message(0, float("nan"), b"a"),
    "before the beginning": message(0, -1.0, b"a"),
    "after the end": message(0, 1e300, b"a"),
    "no picture": message(0, 1.0, b"no picture"),
    "a script": message(0, 1.0, b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    "half a sample": message(1, 1.0, b"abc"),
    "ten seconds of sound at once": message(1, 1.0, b"\0\0" * 10 * RATE),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_told_and_the_session_goes_on(server, astronaut, name):
    async def run() -> tuple[dict, dict]:
        async with session(server) as socket:
            await socket.send(NONSENSE[name])
            error = await told(socket)
            await socket.send(message(0, 5.0, picture_bytes(astronaut)))
            return error, await told(socket)

    error, after = asyncio.run(run())
    assert error["type"] == "error" and error["code"] in ("invalid_message", "invalid_media") and error["message"]
    assert "/tmp" not in error["message"] and "Traceback" not in error["message"]
    assert after["type"] == "report"


def test_a_session_of_nonsense_ends(server):
    async def run() -> tuple[int, str]:
        async with session(server) as socket:
            with contextlib.suppress(Closed):
                for _ in range(MAX_FAULTS):
                    await socket.send("a word")
            return await closed(socket)

    assert asyncio.run(run()) == (1008, f"{MAX_FAULTS} invalid messages")


def test_a_message_that_is_too_large_ends_it(server):
    async def run() -> tuple[int, str]:
        async with session(server) as socket:
            with contextlib.suppress(Closed):  # the server need not read it to its end
                await socket.send(b"\0" * (MAX_MESSAGE_BYTES + 1))
            return await closed(socket)

    assert asyncio.run(run())[0] == 1009


GREETINGS = {
    "bytes": b"start",
    "a list": "[]",
    "no JSON": "{",
    "deep": "[" * 10_000,
    "long": json.dumps({"type": "start", "context": "a" * 20_000}),
    "another type": '{"type": "stop"}',
    "an unknown field": '{"type": "start", "no": 1}',
    "unknown labels": '{"type": "start", "labels": "x"}',
    "labels of a wrong type": '{"type": "start", "labels": 7}',
    "a key that is a list": '{"type": "start", "key": [1], "language": "fr"}',
    "a span": '{"type": "start", "start": 1}',
}


@pytest.mark.parametrize("name", GREETINGS)
def test_a_greeting_that_does_not_fit_is_told_and_the_connection_closed(server, name):
    async def run() -> tuple[dict, tuple[int, str]]:
        async with connect(server) as socket:
            await socket.send(GREETINGS[name])
            return await told(socket), await closed(socket)

    error, end = asyncio.run(run())
    assert error["type"] == "error" and error["message"]
    assert end == (1008, error["code"]) and error["code"] in ("invalid_message", "invalid_request")


def test_a_page_elsewhere_cannot_open_a_session(server):
    async def run(**options) -> None:
        async with connect(server, **options) as socket:
            await socket.recv()

    for options in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"additional_headers": {"Host": "evil.example"}},
    ):
        with pytest.raises((InvalidStatus, Closed)):
            asyncio.run(run(**options))


def test_connections_that_say_nothing_are_bounded(server, astronaut):
    async def run() -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(MAX_GREETINGS):
                await stack.enter_async_context(connect(server))
            with pytest.raises(InvalidStatus) as refused:
                await stack.enter_async_context(connect(server))
            assert refused.value.response.status_code == 403
        async with session(server):
            pass

    asyncio.run(run())


def test_one_session_too_many_is_told_and_a_session_has_an_end(small):
    async def run() -> tuple[dict, tuple[int, str], tuple[int, str]]:
        async with session(small) as first:
            async with connect(small) as second:
                await second.send('{"type": "start"}')
                refused, end = await told(second), await closed(second)
            return refused, end, await closed(first)

    refused, second, first = asyncio.run(run())
    assert refused["code"] == "queue_full" and second == (1013, "queue_full")
    assert first == (1000, "a session lasts 2 s")

    async def again() -> None:
        async with session(small):
            pass

    asyncio.run(again())
    assert small.process.poll() is None and "Traceback" not in small.log.read_text()


def test_the_end_of_the_server_ends_sessions_and_is_no_fault(tmp_path, astronaut):
    async def run(server) -> tuple[int, str]:
        async with session(server) as socket:
            await socket.send(message(0, 1.0, picture_bytes(astronaut)))
            await told(socket)
            await socket.send(message(0, 2.0, picture_bytes(astronaut)))
            server.process.send_signal(signal.SIGTERM)
            return await closed(socket)

    with serving(tmp_path, "slots=1", "decoders=1", "drain_seconds=5") as server:
        assert asyncio.run(run(server))[0] == 1012
        assert server.process.wait(15) == 0
        assert "Traceback" not in server.log.read_text() and "ERROR" not in server.log.read_text()


class Deaf:
    """A client that is there, and neither speaks nor reads."""

    def __init__(self, *messages: str) -> None:
        self.messages, self.closed = list(messages), None

    async def accept(self) -> None:
        pass

    async def receive(self) -> dict:
        if not self.messages:
            await asyncio.sleep(60)
        return {"type": "websocket.receive", "text": self.messages.pop(0)}

    async def send_text(self, text: str) -> None:
        await asyncio.sleep(60)

    async def close(self, code: int, reason: str) -> None:
        self.closed = code, reason


class Open:
    """As much of a service as a greeting needs."""

    key, live, greeting = None, 0, 0

    class settings:  # noqa: N801
        live, live_seconds = 1, 60.0

    def check_open(self) -> None:
        pass


@pytest.mark.parametrize(
    ("messages", "end"), [((), (1008, "no first message")), (("nonsense",), (1008, "the client does not read"))]
)
def test_who_does_not_speak_or_does_not_read_is_left(monkeypatch, messages, end):
    monkeypatch.setattr(live, "TIMEOUT", 0.05)
    deaf, service = Deaf(*messages), Open()
    asyncio.run(asyncio.wait_for(serve_live(deaf, service), 5))
    assert deaf.closed == end and service.greeting == service.live == 0


def test_while_a_picture_is_decoded_sound_is_heard_and_the_newest_picture_waits(tmp_path):
    """A decoder that is busy with others must not make live late."""

    class Decoders:
        decoded: ClassVar[list] = []

        def new_folder(self):
            return tmp_path

        async def decode(self, path, name, settings):
            self.decoded.append(path.read_bytes())
            await asyncio.sleep(0.2)
            return SimpleNamespace(frames=np.zeros((1, 8, 8, 3), np.uint8))

    settings = SimpleNamespace(max_frames=8, fps=2.0, working_side=64)
    analyzer = SimpleNamespace(hears=True, engine=SimpleNamespace(processor=SimpleNamespace(settings=settings)))
    service = SimpleNamespace(
        analyzer=analyzer, decoders=Decoders(), settings=SimpleNamespace(media_frames=8), deadline=lambda: math.inf,
        before_deadline=lambda work, until: work,
    )  # fmt: skip

    async def run() -> live.LiveSession:
        one = live.LiveSession(service, options=None)
        decoding = asyncio.create_task(forever(one.decode))
        for number in range(4):
            one.take(message(0, float(number), b"%d" % number))
            one.take(message(1, float(number), samples(voice(0.5))))
            await asyncio.sleep(0.02)
        assert one.rolling.now == 3.5 and not one.rolling.pictures  # all was heard while the first was decoded
        await asyncio.sleep(0.5)
        decoding.cancel()
        return one

    async def forever(work) -> None:
        while True:
            await work()

    one = asyncio.run(run())
    assert service.decoders.decoded == [b"0", b"3"] and [time for time, _ in one.rolling.pictures] == [0.0, 3.0]


def test_live_can_be_switched_off():
    deaf, service = Deaf(), Open()
    service.settings = type("settings", (), {"live": 0})
    asyncio.run(serve_live(deaf, service))
    assert deaf.closed == (1013, "no live sessions here")
