"""Several processes behind one address: both answer, and one signal stops all."""

import json
import signal
import socket
import time
import urllib.request

import pytest
from tests.processes import start_command

from emotion_qwen.cli import main


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_each_copy_gets_the_socket_and_a_device(monkeypatch):
    started = []

    class Started:
        def __init__(self, command, pass_fds, env):
            started.append((command, pass_fds, env["EMOTION_QWEN_LISTENER"]))

        def poll(self):
            return 0

        def wait(self):
            return 0

        def send_signal(self, number):
            pass

    monkeypatch.setattr("emotion_qwen.serving.replicas.subprocess.Popen", Started)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert main(["serve", "--model", "nano", "--port", str(free_port()), "--replicas", "2"]) == 0
    assert [command[-2:] for command, _, _ in started] == [["--device", "cuda:0"], ["--device", "cuda:1"]]
    assert all([str(number) for number in fds] == [listener] for _, fds, listener in started)


def test_a_taken_port_is_one_line(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["serve", "--port", str(taken.getsockname()[1]), "--replicas", "2"]) == 2
    assert "is the port taken? Try another" in capsys.readouterr().err


@pytest.mark.slow
def test_two_copies_answer_behind_one_address_and_stop_together(tmp_path):
    port = free_port()
    server = start_command(tmp_path / "log", "serve", "--model", "nano", "--port", str(port), "--replicas", "2")
    body = json.dumps({"model": "nano", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}).encode()
    try:
        end = time.monotonic() + 120
        while "http://" not in server.output() or server.output().count("serving on") < 2:
            assert time.monotonic() < end, server.output()
            time.sleep(0.5)
        for _ in range(6):  # each a connection of its own
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", body, headers)
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert json.load(answer)["choices"][0]["message"]["content"] is not None
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    finally:
        server.kill()
