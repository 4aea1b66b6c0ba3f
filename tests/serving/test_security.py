"""The guard before all routes, and the connection before the guard, without a model: host, origin, size, pace."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn

from emotion_qwen.serving.http import transport
from emotion_qwen.serving.http.app import create_app
from emotion_qwen.serving.http.security import Guard
from emotion_qwen.serving.http.transport import PromptProtocol
from emotion_qwen.serving.limits import ServeSettings


async def echo(scope, receive, send) -> None:
    """Read the whole body and tell its size."""
    total, more = 0, True
    while more:
        message = await receive()
        total, more = total + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(total).encode()})


def guard(key: str | None = None, app=echo, **settings) -> Guard:
    return Guard(app, ServeSettings.of(settings), key)


def ask(one: Guard, path: str = "/v1/models", method: str = "POST", body=(b"",), **headers: str) -> tuple[int, dict]:
    return asyncio.run(_ask(one, path, method, body, headers))


async def _ask(one: Guard, path: str, method: str, body, headers: dict) -> tuple[int, dict]:
    sent: list[dict] = []
    pieces = list(body)

    async def receive() -> dict:
        piece = pieces.pop(0)
        if isinstance(piece, float):
            await asyncio.sleep(piece)
            piece = b""
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: dict) -> None:
        sent.append(message)

    told = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await one({"type": "http", "method": method, "path": path, "headers": told}, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


LOCAL = "127.0.0.1:8000"


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
def test_a_local_server_answers_to_its_own_names(host):
    assert ask(guard(), host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "[::1", "", "192.168.1.2",
     "localhost:80@evil.example", "127.0.0.1:8000:evil.example"],
)  # fmt: skip
def test_a_local_server_answers_to_no_other_name(host):
    status, told = ask(guard(), host=host)
    assert status == 403 and told["error"]["code"] == "host_refused"
    assert ask(guard(hosts=("emotion.example",)), host="emotion.example")[0] == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:9000", "", "http://", "file://"])
def test_a_page_of_another_origin_may_not_send(origin):
    for path, method in (("/v1/chat/completions", "POST"), ("/metrics", "GET"), ("/", "POST")):
        status, told = ask(guard(), path, method, host=LOCAL, origin=origin)
        assert status == 403 and told["error"]["code"] == "origin_refused"
    assert ask(guard(), "/", "GET", host=LOCAL, origin=origin)[0] == 200  # a browser may ask for the page


def test_pages_of_the_server_and_of_listed_origins_may_send():
    assert ask(guard(), host=LOCAL, origin=f"http://{LOCAL}")[0] == 200
    assert ask(guard(origins=("https://app.example",)), host=LOCAL, origin="https://app.example")[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example:8000", 403), ("emotion.example:8000", 200), ("192.168.1.5:8000", 200), ("gpu-box:8000", 200),
        ("[2001:db8::1]:8000", 200), ("app.localhost", 200), ("localhost.evil.example", 403), ("localhost.", 403),
    ],
)  # fmt: skip
def test_a_page_cannot_reach_an_open_server_under_a_name_of_its_own(host, status):
    """DNS rebinding: the page's own name resolves to our address, so its origin is that of the request."""
    one = guard(host="0.0.0.0", allow_anyone=True, hosts=("emotion.example",))
    assert ask(one, host=host, origin=f"http://{host}")[0] == status
    assert ask(one, host=host)[0] == 200  # clients that are no browsers send no origin
    keyed = guard("key", host="0.0.0.0")
    assert ask(keyed, host=host, origin=f"http://{host}")[0] == 401
    assert ask(keyed, host=host, origin=f"http://{host}", authorization="Bearer key")[0] == 200


def test_a_listed_origin_is_asked_about_without_a_key_and_may_read_refusals():
    app = create_app(ServeSettings.of({"origins": ("https://app.example",)}), "key")
    try:
        asked = {
            "host": LOCAL,
            "access_control_request_method": "POST",
            "access_control_request_headers": "authorization",
        }
        allowed = headers_of(app, "OPTIONS", origin="https://app.example", **asked)
        assert allowed["access-control-allow-origin"] == "https://app.example" and allowed["status"] == 200
        assert "authorization" in allowed["access-control-allow-headers"].lower()
        refused = headers_of(app, "POST", origin="https://app.example", host=LOCAL)
        assert refused["status"] == 401 and refused["access-control-allow-origin"] == "https://app.example"
        for method in ("OPTIONS", "POST"):
            told = headers_of(app, method, origin="https://evil.example", **asked)
            assert told["status"] in (400, 403) and "access-control-allow-origin" not in told
    finally:
        shutil.rmtree(app.state.service.decoders.folder)


def headers_of(app, method: str, **headers: str) -> dict:
    async def run() -> dict:
        sent: list[dict] = []

        async def receive() -> dict:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict) -> None:
            sent.append(message)

        told = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": "/v1/chat/completions", "headers": told, "query_string": b""}
        await app({**scope, "http_version": "1.1", "scheme": "http", "root_path": ""}, receive, send)
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return {**found, "status": sent[0]["status"]}

    return asyncio.run(run())


def test_a_body_is_counted_whatever_its_header_says():
    one = guard(body_bytes=2000)
    assert ask(one, body=[b"a" * 1000, b"b" * 1000], host=LOCAL) == (200, 2000)
    for headers in ({"content_length": "2001"}, {"content_length": "9" * 400}, {"content_length": "10"}, {}):
        body = [b"a" * 1000, b"b" * 1000, b"c"]
        if headers.get("content_length", "10") != "10":  # refused before anything is read
            assert ask(one, body=[], host=LOCAL, **headers)[0] == 413
        else:
            with pytest.raises(Exception, match="more than 2,000 bytes"):
                ask(one, body=body, host=LOCAL, **headers)
    assert one.held_bytes == 0


def test_all_bodies_together_are_bounded_and_given_back():
    one = guard(body_bytes=2000, bodies_bytes=3000)

    async def two() -> list:
        slow = _ask(one, "/", "POST", [b"a" * 2000, 0.2, b""], {"host": LOCAL})
        return await asyncio.gather(slow, _late(_ask(one, "/", "POST", [], {"host": LOCAL, "content-length": "1500"})))

    async def _late(asked):
        await asyncio.sleep(0.1)
        return await asked

    (first, _), (second, told) = asyncio.run(two())
    assert first == 200 and second == 429 and told["error"]["code"] == "queue_full" and one.held_bytes == 0
    assert ask(one, body=[b"a" * 1500], host=LOCAL) == (200, 1500)


def test_a_body_that_drips_is_left():
    one = guard(upload_seconds=0.3)
    began = time.monotonic()
    with pytest.raises(Exception, match=r"did not come within 0\.3 s") as caught:
        ask(one, body=[b"a", *[0.1] * 50], host=LOCAL)
    assert caught.value.status == 408 and time.monotonic() - began < 2 and one.held_bytes == 0


def test_a_long_answer_is_no_slow_body():
    async def slow_answer(scope, receive, send) -> None:
        await receive()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.5)  # waiting for the client to go away, as streams do
        await echo(scope, lambda: asyncio.sleep(0, {"body": b"done"}), send)

    async def run() -> list:
        sent: list = []
        told = [{"type": "http.request", "body": b"a", "more_body": False}]

        async def receive() -> dict:
            if not told:
                await asyncio.sleep(60)
            return told.pop()

        async def send(message) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", b"localhost")]}
        await guard(app=slow_answer, upload_seconds=0.1)(scope, receive, send)
        return sent

    assert asyncio.run(run())[0]["status"] == 200


@contextmanager
def listening(monkeypatch, seconds: float, app=None):
    """A server of one plain application, whose connections have so long for their headers and to read an answer."""
    monkeypatch.setattr(transport, "HEAD_SECONDS", seconds)
    monkeypatch.setattr(transport, "READ_SECONDS", seconds)
    config = uvicorn.Config(
        app or echo, port=0, http=PromptProtocol, log_level="critical", timeout_keep_alive=30, lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()
    finally:
        server.should_exit = True
        thread.join(10)


def drip(address, first: bytes, seconds: float) -> float:
    """Send a byte now and then; return after how long the server cut the connection."""
    with socket.create_connection(address, 5) as one:
        began = time.monotonic()
        try:
            one.sendall(first)
            while time.monotonic() - began < seconds:
                time.sleep(0.05)
                one.sendall(b"a")
        except OSError:
            return time.monotonic() - began
    return float("inf")


@pytest.mark.parametrize("first", [b"", b"POST / HTT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "])
def test_headers_that_drip_are_left(monkeypatch, first):
    with listening(monkeypatch, 0.3) as address:
        assert drip(address, first, 5) < 3


def test_who_sends_nothing_is_left(monkeypatch):
    with listening(monkeypatch, 0.3) as address, socket.create_connection(address, 5) as one:
        assert one.recv(1) == b""


def test_a_second_request_may_not_drip_and_a_slow_body_is_no_slow_head(monkeypatch):
    with listening(monkeypatch, 0.3) as address, socket.create_connection(address, 5) as one:
        for _ in range(2):  # the same connection
            one.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\na")
            time.sleep(0.6)
            one.sendall(b"b")
            answer = one.recv(4096)
            while b"\r\n\r\n2" not in answer and b"\r\n2\r\n" not in answer:
                answer += one.recv(4096)
        one.sendall(b"GET / HTTP/1.1\r\nHost: loc")
        began = time.monotonic()
        assert one.recv(1) == b"" and time.monotonic() - began < 3


@pytest.mark.parametrize(("pause", "whole"), [(60.0, False), (0.05, True)])
def test_who_does_not_read_an_answer_is_left_and_who_reads_slowly_is_not(monkeypatch, pause, whole):
    """30 MB, for a client that never reads, and for one that takes two seconds for them."""
    over = threading.Event()

    async def large(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(30_000_000)})
        while (await receive())["type"] != "http.disconnect":
            pass
        over.set()

    with listening(monkeypatch, 0.3, large) as address, socket.create_connection(address, 5) as client:
        began, size = time.monotonic(), 0
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        if whole:
            while piece := client.recv(2**20):
                size += len(piece)
                time.sleep(pause)
            assert size > 30_000_000 and time.monotonic() - began > 0.6
        assert over.wait(5), "the answer is still held"
