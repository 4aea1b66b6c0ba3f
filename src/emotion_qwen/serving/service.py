"""The state of a running server: model, scheduler, decoders, metrics and admission."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

import numpy as np

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.client import ENDPOINT
from emotion_qwen.engine.endpoint import EndpointEngine
from emotion_qwen.engine.engine import Engine
from emotion_qwen.faces import Detections
from emotion_qwen.prepare import PreparedClip, prepare_clip
from emotion_qwen.records import Clip
from emotion_qwen.serving.failures import ApiError
from emotion_qwen.serving.intake.decoders import Decoders
from emotion_qwen.serving.limits import ServeSettings
from emotion_qwen.serving.metrics import Metrics
from emotion_qwen.serving.scheduling.remote import RemoteScheduler
from emotion_qwen.serving.scheduling.scheduler import Scheduler
from emotion_qwen.serving.scheduling.shared import SharedEngine
from emotion_qwen.serving.scheduling.turns import Turns

log = logging.getLogger(__name__)
Found = TypeVar("Found")
WAITING_ANALYSES = 4  # per running analysis
CONTEXT = 32_768
"""Maximum tokens of prompt and answer that are assumed of a model behind another service."""
CHAT_FACES = 2  # threads for face detection in chat media


class Service:
    """The state of one server.

    Args:
        settings: of the server.
        key: API key; None requires none.
    """

    def __init__(self, settings: ServeSettings, key: str | None = None) -> None:
        self.settings, self.key = settings, key
        self.turns = Turns()
        self.started = int(time.time())
        self.draining = False
        self.failed = False
        self.preparing = 0  # number of requests whose media are being read
        self.analyses = self.live = 0
        self.greeting = 0  # number of live connections before their first message
        self._analysis_slots = asyncio.Semaphore(settings.analyses)
        self.threads = ThreadPoolExecutor(settings.analyses, thread_name_prefix="analysis")
        # Each running report uses at most one of these threads; the others are for chat media.
        self.face_threads = ThreadPoolExecutor(settings.analyses + CHAT_FACES, thread_name_prefix="faces")
        self.decoders = Decoders(settings)
        self._scheduler: Scheduler | RemoteScheduler | None = None
        self.remote: EndpointEngine | None = None
        """The model, if it is behind another service."""
        self._analyzer: Analyzer | None = None
        self.metrics = Metrics(self._watched)
        self.name = self.fingerprint = ""

    def load(self, engine: Engine | None = None) -> None:
        """Load the model and start the scheduler; blocks, so it is called in its own thread.

        Raises:
            EmotionQwenError: the model does not exist or cannot be served.
        """
        settings = self.settings
        try:
            if engine is None and str(settings.model).startswith(ENDPOINT):
                self._load_remote(EndpointEngine.at(str(settings.model)))
                return
            engine = engine or Engine.load(settings.model, settings.device, settings.dtype)
            scheduler = Scheduler(engine, self.turns, settings.slots, settings.queue, settings.context)
            shared = SharedEngine(scheduler)
            self.fingerprint = f"emotion-qwen-{hashlib.sha256(repr(shared.provenance()).encode()).hexdigest()[:10]}"
            # without the folder, which clients must not see
            self.name = "nano" if settings.model is None else settings.model.rstrip("/").rpartition("/")[2]
            shared.name = engine.name
            self._analyzer = Analyzer(shared)
            self._scheduler = scheduler.start()
        finally:
            self.failed = self._scheduler is None  # after any error, so that health checks do not wait forever

    def _load_remote(self, engine: EndpointEngine) -> None:
        """Use a model behind another service; its pictures, reports and live sessions are made here."""
        self.remote, self.name = engine, engine.client.service.model
        self.fingerprint = f"emotion-qwen-{hashlib.sha256(repr(engine.provenance()).encode()).hexdigest()[:10]}"
        self._analyzer = Analyzer(engine)
        self._scheduler = RemoteScheduler(engine, self.settings.context or CONTEXT)

    @property
    def status(self) -> str:
        """One of "ok", "loading", "draining" and "failed"."""
        if self.draining:
            return "draining"
        if self.failed or (self._scheduler is not None and not self._scheduler.alive):
            return "failed"
        return "loading" if self._scheduler is None else "ok"

    @property
    def scheduler(self) -> Scheduler | RemoteScheduler:
        """The scheduler; available while the server drains.

        Raises:
            ApiError: the model is not loaded.
        """
        if self._scheduler is None:
            raise self._closed()
        return self._scheduler

    @property
    def analyzer(self) -> Analyzer:
        """The analyzer; errors are those of `scheduler`."""
        if self._analyzer is None:
            raise self._closed()
        return self._analyzer

    def check_open(self) -> None:
        """Refuse requests while the server loads, drains or has failed.

        Raises:
            ApiError: status 503.
        """
        if self.status != "ok":
            raise self._closed()

    def _closed(self) -> ApiError:
        state = self.status
        return ApiError(503, f"the server is {state}; try again later", f"server_{state}", retry_after=5)

    def overloaded(self, what: str) -> ApiError:
        """Return the error for a full queue; `what` names the queue."""
        return ApiError(429, f"too many {what} wait; try again in a moment", "queue_full", retry_after=1)

    @asynccontextmanager
    async def preparation(self) -> AsyncIterator[None]:
        """Count a request while its media are read; it occupies a place in the queue.

        Raises:
            ApiError: status 429.
        """
        if self.preparing + self.scheduler.waiting >= self.settings.queue + self.settings.slots:
            raise self.overloaded("requests")
        self.preparing += 1
        try:
            yield
        finally:
            self.preparing -= 1

    @asynccontextmanager
    async def analysis(self, deadline: float) -> AsyncIterator[None]:
        """Occupy one of the slots for reports until the block ends.

        Args:
            deadline: time of the event loop until which to wait for a slot.

        Raises:
            ApiError: status 429 if too many are waiting, or 504.
        """
        if self.analyses >= self.settings.analyses * (1 + WAITING_ANALYSES):
            raise self.overloaded("reports")
        self.analyses += 1
        try:
            await self.before_deadline(self._analysis_slots.acquire(), deadline)
            try:
                yield
            finally:
                self._analysis_slots.release()
        finally:
            self.analyses -= 1

    def deadline(self) -> float:
        """Return the time of the event loop at which a request that begins now times out."""
        return asyncio.get_running_loop().time() + self.settings.request_seconds

    async def before_deadline(self, work: Awaitable[Found], deadline: float) -> Found:
        """Await work, and cancel it at the deadline.

        Raises:
            ApiError: status 504.
        """
        try:
            async with asyncio.timeout_at(deadline):
                return await work
        except TimeoutError as error:
            raise ApiError(
                504, f"the request took longer than {self.settings.request_seconds:g} s; send a shorter medium, or ask "
                "for less",
                "request_timeout",
            ) from error  # fmt: skip

    async def in_thread(self, work: Callable[[], Found], pool: ThreadPoolExecutor | None = None) -> Found:
        """Run blocking work in a thread of the pool, by default that for reports.

        A thread cannot be cancelled, but its work stops at its next turn at the model or its next frame. Cancellation
        waits for that, as the thread is occupied until then.
        """
        stop = threading.Event()

        def wanted() -> Found:
            with self.turns.until(stop):
                return work()

        job = (pool or self.threads).submit(wanted)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            stop.set()
            if not job.cancelled():
                await asyncio.gather(asyncio.wrap_future(job), return_exceptions=True)  # its result is not needed
            raise

    async def prepare(self, clip: Clip, fps: float | None = None) -> PreparedClip:
        """Detect the people of a clip, read at `fps` frames per second; stops if the request is cancelled."""
        analyzer = self.analyzer

        def detect(frame: np.ndarray) -> Detections:
            self.turns.check()  # all frames of a clip may take longer than the request may
            return analyzer.detector(frame)

        return await self.in_thread(lambda: prepare_clip(clip, detect, analyzer.budget.at(fps)), self.face_threads)

    def _watched(self) -> dict[str, float]:
        numbers: dict[str, float] = {"analyses": self.analyses, "decoder_deaths": self.decoders.died}
        if self._scheduler is not None:
            numbers |= {"running": self._scheduler.running, "waiting": self._scheduler.waiting + self.preparing}
            numbers["generated_tokens"] = self._scheduler.written
        return numbers

    async def close(self) -> None:
        """Stop all parts; waiting requests are cancelled."""
        self.draining = True
        if self._scheduler is not None:
            await asyncio.to_thread(self._scheduler.close)
        self.turns.close()
        for pool in (self.threads, self.face_threads):
            pool.shutdown(wait=False, cancel_futures=True)
        await self.decoders.close()
