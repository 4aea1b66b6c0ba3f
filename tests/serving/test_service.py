"""Places for work beside the scheduler: bounded, limited in time, and given back when nobody waits any more."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from emotion_qwen.errors import CheckpointError
from emotion_qwen.faces import CenterFaceDetector, Detections, detect
from emotion_qwen.prepare import ClipBudget
from emotion_qwen.records import Clip
from emotion_qwen.serving.failures import ApiError
from emotion_qwen.serving.http.chat import Answer
from emotion_qwen.serving.limits import ServeSettings
from emotion_qwen.serving.scheduling.turns import Stopped
from emotion_qwen.serving.service import Service
from emotion_qwen.settings import ClipSettings


def run(work, **settings):
    async def inside():
        service = Service(ServeSettings.of({"analyses": 1, **settings}))
        try:
            return await asyncio.wait_for(work(service), 20)
        finally:
            await service.close()

    return asyncio.run(inside())


def test_work_of_a_client_that_left_ends_at_its_next_turn_and_frees_its_thread():
    begun, ended = threading.Event(), []

    def passes(service: Service) -> None:
        try:
            for _ in range(1000):
                with service.turns:
                    begun.set()
                    time.sleep(0.02)
        except Stopped:
            ended.append(time.monotonic())
            raise

    async def work(service: Service) -> float:
        task = asyncio.ensure_future(service.in_thread(lambda: passes(service)))
        await asyncio.to_thread(begun.wait, 10)
        left = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(ended) == 1, "cancelling waits until the thread is free"
        assert await service.in_thread(lambda: "next") == "next"
        return ended[0] - left

    assert run(work) < 1.0


def clip_of(count: int) -> Clip:
    return Clip(np.zeros((count, 32, 32, 3), np.uint8), np.arange(count) / 2, "film")


def analyzer_with(detector) -> SimpleNamespace:
    return SimpleNamespace(detector=detector, budget=ClipBudget(ClipSettings(), 28))


def test_finding_faces_ends_with_the_time_of_its_request():
    """100 frames of 50 ms each, for a request that has 0.2 s."""
    seen = []

    def slow(frame):
        seen.append(frame)
        time.sleep(0.05)
        return Detections.none()

    async def work(service: Service) -> float:
        service._analyzer = analyzer_with(slow)
        began = time.monotonic()
        with pytest.raises(ApiError, match="took longer than 0.2 s"):
            await service.before_deadline(service.prepare(clip_of(100)), service.deadline())
        return time.monotonic() - began

    assert run(work, request_seconds=0.2) < 1.5 and len(seen) < 20


def test_faces_of_two_requests_are_found_at_once():
    """Each frame waits for one of the other clip: behind one lock they would wait for ever."""
    together = threading.Barrier(2)

    def waiting(frame):
        together.wait(5)
        return Detections.none()

    async def work(service: Service) -> list:
        service._analyzer = analyzer_with(waiting)
        return await asyncio.gather(*[service.prepare(clip_of(3)) for _ in range(2)])

    assert len(run(work, analyses=1)) == 2


def test_every_thread_finds_faces_with_a_network_of_its_own(astronaut, fresh_looks):
    detector = CenterFaceDetector()
    wanted = detector(astronaut)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(detector, [astronaut] * 6))
        networks = set(pool.map(lambda _: id(detect._network()), range(6)))
    assert all(np.array_equal(one.boxes, wanted.boxes) for one in found) and id(detect._network()) not in networks


def test_an_answer_that_never_comes_is_not_waited_for():
    """The scheduler may hang in a pass of the model; a client learns of it all the same."""

    async def work(service: Service) -> float:
        answer = Answer.__new__(Answer)
        answer.service, answer.began = service, time.monotonic()
        answer._pieces, answer._until = asyncio.Queue(), service.deadline()
        began = time.monotonic()
        with pytest.raises(ApiError, match="took longer than 0.1 s"):
            await anext(answer.pieces())
        return time.monotonic() - began

    assert run(work, request_seconds=0.1) < 3


def test_work_that_has_not_begun_never_begins():
    ran = []

    async def work(service: Service) -> None:
        hold = threading.Event()
        first = asyncio.ensure_future(service.in_thread(lambda: hold.wait(10)))
        second = asyncio.ensure_future(service.in_thread(lambda: ran.append(1)))
        await asyncio.sleep(0.05)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        hold.set()
        await first

    run(work)
    assert not ran


def test_places_are_bounded_and_waiting_for_one_is_limited_in_time():
    async def work(service: Service) -> None:
        now = asyncio.get_running_loop().time()
        async with service.analysis(service.deadline()):
            with pytest.raises(ApiError, match=r"took longer than 120 s; send a shorter medium") as late:
                async with service.analysis(now + 0.1):
                    raise AssertionError("there is one place only")
            assert late.value.status == 504 and service.analyses == 1
            waiting = [asyncio.ensure_future(service.analysis(service.deadline()).__aenter__()) for _ in range(4)]
            await asyncio.sleep(0.05)
            with pytest.raises(ApiError, match="too many reports wait") as refused:
                await service.analysis(service.deadline()).__aenter__()
            assert refused.value.status == 429
            for one in waiting:
                one.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        async with service.analysis(now + 10):
            assert service.analyses == 1
        assert service.analyses == 0

    run(work)


def test_closing_ends_work_that_still_takes_turns():
    ended = threading.Event()

    def passes(service: Service) -> None:
        try:
            while True:
                with service.turns:
                    time.sleep(0.01)
        except Stopped:
            ended.set()
            raise

    async def work(service: Service) -> None:
        task = asyncio.ensure_future(service.in_thread(lambda: passes(service)))
        await asyncio.sleep(0.1)
        await service.close()
        with pytest.raises(Stopped):
            await task

    run(work)
    assert ended.wait(5)


@pytest.mark.parametrize("fault", [RuntimeError("out of memory"), CheckpointError("no model")])
def test_a_model_that_cannot_be_loaded_is_told_to_who_watches(fault, monkeypatch):
    """Also where the fault is none of ours: a server that loads for ever would never be replaced."""

    def failing(*arguments):
        raise fault

    async def work(service: Service) -> None:
        assert service.status == "loading"
        monkeypatch.setattr("emotion_qwen.serving.service.Engine.load", failing)
        with pytest.raises(type(fault)):
            service.load()
        assert service.status == "failed"
        with pytest.raises(ApiError, match="the server is failed; try again later"):
            service.check_open()

    run(work)
