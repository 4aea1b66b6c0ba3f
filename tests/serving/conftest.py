"""A real server process, and clients that speak to it."""

from __future__ import annotations

import base64
import io
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.processes import Process, start_command

httpx = pytest.importorskip("httpx", reason="needs the extra serve")
openai = pytest.importorskip("openai", reason="the official client is not installed")
pytest.importorskip("fastapi", reason="needs the extra serve")


class Running:
    """One server process."""

    def __init__(self, process: Process, port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log
        self.url = f"http://127.0.0.1:{port}"
        self.client = openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=60)
        self.http = httpx.Client(base_url=self.url, timeout=60)

    def chat(self, content, **options):
        options = {"max_tokens": 16, **options}
        return self.client.chat.completions.create(
            model="nano", messages=[{"role": "user", "content": content}], **options
        )

    def metric(self, name: str) -> float:
        lines = self.http.get("/metrics").text.splitlines()
        found = [line for line in lines if line.startswith(f"emotion_qwen_{name} ")]
        return float(found[0].split()[1]) if found else 0.0

    def wait_for(self, name: str, value: float, seconds: float = 10.0) -> float:
        """Wait until a number has a value; return how long that took."""
        began = time.monotonic()
        while self.metric(name) != value:
            assert time.monotonic() - began < seconds, f"{name} is {self.metric(name)}, not {value}"
            time.sleep(0.02)
        return time.monotonic() - began


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def serving(folder: Path, *arguments: str, key: str | None = None) -> Iterator[Running]:
    port, log = free_port(), folder / "server.log"
    temporary = folder / "tmp"  # its own, so that a test can look for what was left there
    temporary.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "EMOTION_QWEN_API_KEY"}
    environment["TMPDIR"] = str(temporary)
    if key:
        environment["EMOTION_QWEN_API_KEY"] = key
    process = start_command(log, "serve", "--port", str(port), *arguments, env=environment)
    running = Running(process, port, log)
    try:
        until = time.monotonic() + 120
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, "not ready within two minutes"
            try:
                if running.http.get("/ready").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        yield running
    finally:
        running.http.close()
        running.client.close()
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def media_root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    (folder / "face.png").write_bytes(png(5))
    (folder.parent / "secret.png").write_bytes(png(6))
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    return folder


@pytest.fixture(scope="session")  # not of the package, between whose files a worker of pytest-xdist has others
def server(tmp_path_factory, media_root) -> Iterator[Running]:
    """One server for all tests that do not end it."""
    with serving(
        tmp_path_factory.mktemp("server"), "--media-root", str(media_root), "slots=4", "queue=8", "body_bytes=4000000",
        "media_bytes=2000000", "media_seconds=60", "media_pixels=20000000", "decode_seconds=20", "parts=4",
        "decoders=1", "decode_bytes=1500000000",
    ) as running:  # fmt: skip
        yield running


def png(seed: int, side: int = 64) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    return picture_bytes(pixels)


def picture_bytes(pixels: np.ndarray) -> bytes:
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def image_part(data: bytes) -> dict:
    return {"type": "image_url", "image_url": {"url": data_url(data)}}


def video_part(data: bytes) -> dict:
    return {"type": "video_url", "video_url": {"url": data_url(data, "video/mp4")}}


def text_part(text: str) -> dict:
    return {"type": "text", "text": text}
