"""Decoding in processes that die, hang or run out of memory."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import numpy as np
import psutil
import pytest
from tests.conftest import write_clip
from tests.serving.conftest import image_part, picture_bytes, png

from emotion_qwen.media.clip import read_clip
from emotion_qwen.serving.failures import ApiError
from emotion_qwen.serving.intake.decoders import Decoders
from emotion_qwen.serving.limits import ServeSettings
from emotion_qwen.settings import ClipSettings


def decode(path, **settings):
    async def run():
        decoders = Decoders(ServeSettings.of({"decoders": 1, **settings}))
        folder = decoders.folder
        try:
            return await decoders.decode(path, "the picture", ClipSettings()), decoders
        finally:
            await decoders.close()
            assert not folder.exists()

    return asyncio.run(run())


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(0))
    return path


def test_a_clip_comes_back_as_it_is_read_here(picture):
    found, _ = decode(picture)
    own = read_clip(picture, ClipSettings())
    assert np.array_equal(found.frames, own.frames) and found.size == own.size and found.still
    assert found.source == "the picture" and found.wave is None


def test_a_medium_that_takes_more_memory_than_there_is_is_refused(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(picture_bytes(np.zeros((6000, 6000, 3), np.uint8)))  # 108 MB decoded, 100 kB as a file
    with pytest.raises(ApiError) as caught:
        decode(path, decode_bytes=2**28)
    assert caught.value.status in (413, 422), "it says so, or it dies of it"
    assert "memory" in str(caught.value) or "stopped" in str(caught.value)


def test_a_decoder_that_takes_too_long_is_ended(picture):
    with pytest.raises(ApiError, match="decoding took longer than 0.01 s; give a smaller medium") as caught:
        decode(picture, decode_seconds=0.01)
    assert caught.value.status == 422


@pytest.mark.parametrize(("length", "allowed"), [(0.0, 30.0), (30.0, 30.0), (90.0, 45.0), (600.0, 300.0)])
@pytest.mark.parametrize("task", ["decode", "playable"])
def test_a_long_medium_has_time_in_proportion_to_its_minutes(picture, monkeypatch, task, length, allowed):
    times = {}

    async def counted(self, job, path, name, folder, seconds):
        times[job["task"]] = seconds
        if job["task"] == "length":
            return length
        raise ApiError(400, "as far as this", "invalid_media")

    monkeypatch.setattr(Decoders, "_run", counted)

    async def run():
        decoders = Decoders(ServeSettings())
        try:
            await (
                decoders.decode(picture, "a", ClipSettings())
                if task == "decode"
                else decoders.playable(picture, "a", 1)
            )
        finally:
            await decoders.close()

    with pytest.raises(ApiError, match="as far as this"):
        asyncio.run(run())
    assert times == {"length": 30.0, task: allowed}


@pytest.mark.parametrize(
    "suffix", ["mkv", pytest.param("mov", marks=pytest.mark.slow), pytest.param("avi", marks=pytest.mark.slow)]
)
def test_the_copy_of_a_long_medium_fits_the_limits_as_they_are_set(tmp_path, suffix):
    """90 s whose page needs a copy, with the memory and the time that a server gives by default."""
    frames = np.random.default_rng(0).integers(0, 255, (180, 32, 48, 3), dtype=np.uint8)
    path = write_clip(tmp_path / f"long.{suffix}", frames, fps=2)

    async def run():
        decoders = Decoders(ServeSettings())
        try:
            return await decoders.playable(path, "the film", 2**25)
        finally:
            await decoders.close()

    shown, _ = asyncio.run(run())
    assert shown.mime == "video/mp4" and shown.copied == "48×32" and len(shown.data) > 1000


def test_a_file_that_never_ends_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ApiError) as caught:
        decode(tmp_path / "pipe", decode_seconds=3.0)
    assert caught.value.status in (400, 422)


def test_errors_name_the_medium_and_no_path(tmp_path):
    (tmp_path / "words.png").write_text("only words")
    with pytest.raises(ApiError) as caught:
        decode(tmp_path / "words.png")
    assert "the picture is text" in str(caught.value) and str(tmp_path) not in str(caught.value)


def test_a_request_that_is_cancelled_twice_still_gives_its_place_back(tmp_path, picture, monkeypatch):
    """A client leaves while its decoder hangs, and is cancelled again while that is waited for to end."""
    os.mkfifo(tmp_path / "pipe")
    wait = asyncio.subprocess.Process.wait

    async def slow(self):
        await asyncio.sleep(0.2)
        return await wait(self)

    monkeypatch.setattr(asyncio.subprocess.Process, "wait", slow)

    async def run():
        decoders = Decoders(ServeSettings.of({"decoders": 1}))
        hanging = asyncio.ensure_future(decoders.decode(tmp_path / "pipe", "the pipe", ClipSettings()))
        await asyncio.sleep(0.3)
        hanging.cancel()
        await asyncio.sleep(0.05)
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)
        found = await asyncio.wait_for(decoders.decode(picture, "the picture", ClipSettings()), 20)
        await decoders.close()
        return found

    assert asyncio.run(run()).still


class Killing:
    """Kills the server's decoding processes in the middle of their job.

    Args:
        server: whose.
        most: as many are killed as this.
    """

    def __init__(self, server, most: int) -> None:
        self.server, self.most, self.killed = server, most, set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Killing:
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            for one in psutil.Process(self.server.process.pid).children():
                if one.pid not in self.killed and len(self.killed) < self.most and self._works(one):
                    os.kill(one.pid, signal.SIGKILL)
                    self.killed.add(one.pid)
            time.sleep(0.01)

    @staticmethod
    def _works(process: psutil.Process) -> bool:
        """Whether it has begun; until then it is the server's own copy, or loads its libraries with the job waiting."""
        try:
            return "emotion_qwen.serving.intake.decoder" in process.cmdline() and process.cpu_times().user > 0.02
        except psutil.NoSuchProcess:
            return False


def end_decoders(server) -> None:
    """Let the next request start a process of its own."""
    for one in psutil.Process(server.process.pid).children():
        one.kill()
        while one.is_running() and one.status() != psutil.STATUS_ZOMBIE:  # its parent reaps it at the next job
            time.sleep(0.01)


@pytest.mark.parametrize(("killed", "status"), [(1, 200), (2, 422)])
def test_a_decoder_killed_in_the_middle_of_its_job(server, killed, status):
    """One death may be another's fault and is tried again; a second one is the medium's. Then the next is served."""
    asked = {"model": "nano", "max_tokens": 2, "messages": [{"role": "user", "content": [image_part(png(3))]}]}
    end_decoders(server)
    before = server.metric("decoder_deaths_total")
    with Killing(server, killed) as killing:
        answer = server.http.post("/v1/chat/completions", json=asked)
    assert len(killing.killed) == killed and answer.status_code == status, answer.text
    if status == 422:
        assert answer.json()["error"]["code"] == "media_refused"
        assert "the decoder stopped at this medium; save it again" in answer.json()["error"]["message"]
    assert server.metric("decoder_deaths_total") == before + killed
    assert server.http.post("/v1/chat/completions", json=asked).status_code == 200
    assert server.metric("waiting") == server.metric("running") == 0
