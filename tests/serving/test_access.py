"""Keys, the end of a server under load, and how the command refuses to start."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time

import openai
import pytest
from tests.serving.conftest import serving

from emotion_qwen.errors import SettingsError
from emotion_qwen.serving.http.security import same_key
from emotion_qwen.serving.limits import ServeSettings

websockets = pytest.importorskip("websockets", reason="needs the extra serve")
KEY = "a-key-of-this-test"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("guarded"), "slots=2", "drain_seconds=40", key=KEY) as running:
        yield running


@pytest.mark.parametrize("given", ["", "wrong", KEY[:-1], KEY + "x", "ключ"])
def test_a_wrong_key_is_refused(guarded, given):
    headers = {"Authorization": f"Bearer {given}".strip().encode()}
    for method, path in (("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("GET", "/metrics")):
        answer = guarded.http.request(method, path, headers=headers)
        assert answer.status_code == 401 and answer.json()["error"]["code"] == "invalid_api_key"
        assert answer.headers["www-authenticate"] == "Bearer" and KEY not in answer.text


def test_what_needs_no_key(guarded):
    for path in ("/health", "/ready", "/", "/web/main.js", "/openapi.json"):
        assert guarded.http.get(path).status_code == 200


def test_keys_are_compared_whole():
    assert same_key("a", "a") and not same_key("a", "b") and not same_key("", "a") and not same_key("\udcff", "a")


def test_the_client_and_a_live_session_with_the_key(guarded):
    client = guarded.client.with_options(api_key=KEY)
    assert client.models.list().data[0].id == "nano"

    async def greet(key: str) -> str:
        async with websockets.connect(f"ws://127.0.0.1:{guarded.port}/v1/emotion/live") as socket:
            await socket.send(json.dumps({"type": "start", "key": key}))
            return await socket.recv()

    assert json.loads(asyncio.run(greet(KEY)))["type"] == "ready"
    for wrong in ("wrong", ""):
        told = json.loads(asyncio.run(greet(wrong)))
        assert told["type"] == "error" and told["code"] == "invalid_api_key" and KEY not in told["message"]


def test_sigterm_under_load_serves_who_is_in_and_nobody_else(guarded):
    """The last test of this server: two slots, four requests; all get whole answers, then the process ends."""
    client = guarded.client.with_options(api_key=KEY)
    answers: list = []

    def ask() -> None:
        messages = [{"role": "user", "content": "Tell."}]
        options = {"max_tokens": 150, "extra_body": {"ignore_eos": True}}
        answers.append(client.chat.completions.create(model="nano", messages=messages, **options))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    guarded.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    with pytest.raises(openai.APIConnectionError):
        client.models.list()
    for thread in threads:
        thread.join()
    assert [one.usage.completion_tokens for one in answers] == [150] * 4
    assert guarded.process.wait(20) == 0


def test_other_machines_need_a_key_or_leave():
    settings = ServeSettings.of({"host": "0.0.0.0"})
    with pytest.raises(
        SettingsError, match="'0.0.0.0' is reachable from other machines, and there is no API key; set EMO"
    ):
        settings.check_access(None)
    settings.check_access("key")
    ServeSettings.of({"host": "0.0.0.0", "allow_anyone": True}).check_access(None)
    for host in ("127.0.0.1", "localhost", "::1", "127.9.9.9"):
        ServeSettings.of({"host": host}).check_access(None)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--host", "0.0.0.0"], "is reachable from other machines"),
        (["slots=0"], "slots = 0: Input should be greater than or equal to 1"),
        (["slot=2"], "unknown key 'slot'"),
        (["slots"], "override 'slots' has no '='"),
        (["--key-file", "not-there"], "key file 'not-there' cannot be read"),
    ],
)
def test_the_command_refuses_in_one_line(arguments, told):
    environment = {name: value for name, value in os.environ.items() if name != "EMOTION_QWEN_API_KEY"}
    command = [sys.executable, "-m", "emotion_qwen.cli", "serve", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 2 and told in done.stderr and len(done.stderr.splitlines()) == 1
