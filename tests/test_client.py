"""Calls to services: the key stays with the named host, pauses hold for everybody, and every wait has an end."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from emotion_qwen.client import CallError, ChatClient, ChatService, Pace, retry_after
from emotion_qwen.errors import SettingsError

GOOD = {"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 7}}


@contextmanager
def served(script):
    """Serve `script`, (body, number) -> (status, answer, headers); yield the address and what was asked, and when."""
    seen, lock = [], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "null")
            with lock:
                seen.append((time.monotonic(), self.path, dict(self.headers), body))
                number = len(seen)
            status, answer, headers = script(body, number)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            pieces = answer if isinstance(answer, list) else [answer]
            try:
                for piece in pieces:
                    self.wfile.write(piece if isinstance(piece, bytes) else json.dumps(piece).encode())
                    self.wfile.flush()
                    time.sleep(0.2 if len(pieces) > 1 else 0)
            except OSError:
                pass

        do_GET = do_POST  # noqa: N815  the name is the server's

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
    finally:
        server.shutdown()
        server.server_close()


def client(url, **settings):
    return ChatClient(ChatService(**{"url": url, "model": "m", "first_wait": 0.01, "timeout": 5.0, **settings}))


def ask(made, text="hi", schema=None):
    return made.ask({"messages": [{"role": "user", "content": text}], "temperature": 0}, 9, schema)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_redirect_is_followed_nowhere_and_named(monkeypatch, status, host):
    monkeypatch.setenv("KEY", "sk-secret")
    with served(lambda *_: (200, GOOD, {})) as (other, seen):
        moved = other.replace("127.0.0.1", host) + "/chat/completions"
        with served(lambda *_: (status, b"", {"Location": moved})) as (url, asked):
            with pytest.raises(CallError, match=f"answered {status}: it has moved to http://{host}:.*; 1 try"):
                ask(client(url, key_variable="KEY"))
            assert asked[0][2]["Authorization"] == "Bearer sk-secret"
        assert seen == [], "neither the key nor the question"


def test_a_busy_service_slows_all_callers():
    def script(body, number):
        return (429, b"busy", {"Retry-After": "0.5"}) if number == 1 else (200, GOOD, {})

    with served(script) as (url, seen):
        made = client(url)
        first = threading.Thread(target=ask, args=(made,))
        first.start()
        while not seen:
            time.sleep(0.01)
        time.sleep(0.1)
        ask(made, "of another thread")
        first.join()
    assert len(seen) == 3 and all(at - seen[0][0] >= 0.45 for at, *_ in seen[1:])


def test_the_field_of_the_length_is_the_one_that_the_service_wants():
    def script(body, number):
        if "max_tokens" in body:
            return 400, b"Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", {}
        return 200, GOOD, {}

    with served(script) as (url, seen):
        made = client(url, retries=0)
        assert ask(made).text == ask(made).text == "hello"
        assert [{"max_tokens", "max_completion_tokens"} & set(body) for *_, body in seen] == [
            {"max_tokens"}, {"max_completion_tokens"}, {"max_completion_tokens"}
        ]  # fmt: skip
        assert ask(client(url, length_field="max_completion_tokens")).read == 7
        with pytest.raises(CallError, match="answered 400: Unsupported parameter"):
            ask(client(url, length_field="max_tokens"))


def test_a_service_without_schemas_is_asked_without_from_then_on():
    def script(body, number):
        known = body.get("response_format", {}).get("type") != "json_schema"
        return (200, GOOD, {}) if known else (400, b"no schemas here", {})

    with served(script) as (url, seen):
        made = client(url, retries=0)
        for text in ("one", "two"):
            ask(made, text, {"type": "object"})
        kinds = [body["response_format"]["type"] for *_, body in seen]
        assert kinds == ["json_schema", "json_object", "json_object"]
        ask(made, "three")
        assert "response_format" not in seen[-1][3], "where no JSON is wanted, none is asked for"


def test_an_answer_that_trickles_ends_with_the_time_limit():
    with served(lambda *_: (200, [b" "] * 50, {})) as (url, _):
        began = time.monotonic()
        with pytest.raises(CallError, match="did not answer .timed out.; 1 try"):
            ask(client(url, timeout=0.5, retries=0))
        assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("message", "finish", "text"),
    [
        ({"content": None, "refusal": "No."}, "stop", "No."),
        ({"content": None}, "length", ""),
        ({"content": ""}, "stop", ""),
    ],
)
def test_a_refusal_in_words_and_an_empty_answer_are_answers(message, finish, text):
    answer = {"choices": [{"message": message, "finish_reason": finish}]}
    with served(lambda *_: (200, answer, {})) as (url, seen):
        reply = ask(client(url))
    assert (reply.text, reply.cut, reply.read, len(seen)) == (text, finish == "length", None, 1)


def test_the_key_is_shown_nowhere(monkeypatch):
    monkeypatch.setenv("KEY", "sk-secret\n")
    with served(lambda *_: (401, b"wrong key sk-secret", {})) as (url, seen):
        with pytest.raises(CallError, match=r"answered 401: wrong key \[key\]; 1 try") as caught:
            ask(client(url, key_variable="KEY"))
        assert seen[0][2]["Authorization"] == "Bearer sk-secret", "without the line end of a file"
    monkeypatch.setenv("KEY", "sk-\nsecret")
    with pytest.raises(SettingsError, match="the key in KEY contains invalid characters") as told:
        ask(client(url, key_variable="KEY"))
    assert "secret" not in str(caught.value) + str(told.value)


def test_a_client_that_is_stopped_waits_no_more():
    with served(lambda *_: (500, b"", {})) as (url, _):
        made = client(url, first_wait=60.0)
        threading.Timer(0.3, made.stopped.set).start()
        with pytest.raises(CallError, match="being stopped") as caught:
            ask(made)
        assert caught.value.stopped


def test_calls_keep_the_pace():
    pace, began, turns = Pace(per_minute=600), time.monotonic(), []
    threads = [
        threading.Thread(target=lambda: (pace.take_turn(time.sleep), turns.append(time.monotonic()))) for _ in range(5)
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert max(turns) - began >= 0.4 and all(
        b - a > 0.05 for a, b in zip(sorted(turns), sorted(turns)[1:], strict=False)
    )


@pytest.mark.parametrize(
    ("url", "model", "match"),
    [
        ("host/v1", "m", "is not a valid model address"),
        ("http://h/v1", "", "is not a valid model address"),
        ("http://a:b@h/v1", "m", "password"),
    ],
)
def test_addresses_that_are_none(url, model, match):
    with pytest.raises(SettingsError, match=match):
        ChatClient(ChatService(url, model))


def test_how_long_a_service_asks_to_wait():
    assert retry_after("3") == 3.0 and retry_after(None) is None and retry_after("soon") is None
    assert retry_after("-5") == 0.0 and retry_after("nan") is None
    assert 5 < retry_after(formatdate(time.time() + 10, usegmt=True)) <= 10
