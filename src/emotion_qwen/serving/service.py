"""The parts of a running server, put together: model, scheduler, decoders, numbers, and who may still come in."""

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

from emotion_qwen.analysis.analyzer import EmotionQwen
from emotion_qwen.engine.engine import Engine
from emotion_qwen.faces import Detections
from emotion_qwen.prepare import PreparedClip, prepare_clip
from emotion_qwen.records import Clip
from emotion_qwen.serving.failures import ApiError
from emotion_qwen.serving.intake.decoders import Decoders
from emotion_qwen.serving.limits import ServeSettings
from emotion_qwen.serving.metrics import Metrics
from emotion_qwen.serving.scheduling.scheduler import Scheduler
from emotion_qwen.serving.scheduling.shared import SharedEngine
from emotion_qwen.serving.scheduling.turns import Turns

log = logging.getLogger(__name__)
Found = TypeVar("Found")
WAITING_ANALYSES = 4  # per running one
CHAT_FACES = 2  # threads that find faces in the pictures of chats


class Service:
    """One server's state.

    Args:
        settings: of the server.
        key: API key; None asks for none.
    """

    def __init__(self, settings: ServeSettings, key: str | None = None) -> None:
        self.settings, self.key = settings, key
        self.turns = Turns()
        self.started = int(time.time())
        self.draining = False
        self.failed = False
        self.preparing = 0  # requests whose media are being read
        self.analyses = self.live = 0
        self.greeting = 0  # live connections that have not said their first message
        self._analysis_slots = asyncio.Semaphore(settings.analyses)
        self.threads = ThreadPoolExecutor(settings.analyses, thread_name_prefix="analysis")
        # Reports take at most as many of these as there are reports; the others are for the pictures of chats.
        self.face_threads = ThreadPoolExecutor(settings.analyses + CHAT_FACES, thread_name_prefix="faces")
        self.decoders = Decoders(settings)
        self._scheduler: Scheduler | None = None
        self._analyzer: EmotionQwen | None = None
        self.metrics = Metrics(self._watched)
        self.name = self.fingerprint = ""

    def load(self, engine: Engine | None = None) -> None:
        """Load the model and start the scheduler; for a thread of its own.

        Raises:
            EmotionQwenError: there is no model, or it cannot be served.
        """
        settings = self.settings
        try:
            engine = engine or Engine.load(settings.model, settings.device, settings.dtype)
            scheduler = Scheduler(engine, self.turns, settings.slots, settings.queue, settings.context)
            shared = SharedEngine(scheduler)
            self.fingerprint = f"emotion-qwen-{hashlib.sha256(repr(shared.provenance()).encode()).hexdigest()[:10]}"
            # a folder of this machine is nobody's business
            self.name = "nano" if settings.model is None else settings.model.rstrip("/").rpartition("/")[2]
            shared.name = engine.name
            self._analyzer = EmotionQwen(shared)
            self._scheduler = scheduler.start()
        finally:
            self.failed = self._scheduler is None  # whatever it was: who watches must not wait for ever

    @property
    def status(self) -> str:
        """ "ok", or why nothing is served."""
        if self.draining:
            return "draining"
        if self.failed or (self._scheduler is not None and not self._scheduler.alive):
            return "failed"
        return "loading" if self._scheduler is None else "ok"

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler, also for those who came in before the server drains.

        Raises:
            ApiError: the model is not loaded.
        """
        if self._scheduler is None:
            raise self._closed()
        return self._scheduler

    @property
    def analyzer(self) -> EmotionQwen:
        """The analyzer; errors are those of `scheduler`."""
        if self._analyzer is None:
            raise self._closed()
        return self._analyzer

    def check_open(self) -> None:
        """Let nobody in while the server loads, drains or has failed.

        Raises:
            ApiError: status 503.
        """
        if self.status != "ok":
            raise self._closed()

    def _closed(self) -> ApiError:
        state = self.status
        return ApiError(503, f"the server is {state}; try again later", f"server_{state}", retry_after=5)

    def overloaded(self, what: str) -> ApiError:
        """Compose the answer to one request too many."""
        return ApiError(429, f"too many {what} wait; try again in a moment", "queue_full", retry_after=1)

    @asynccontextmanager
    async def preparation(self) -> AsyncIterator[None]:
        """Count a request while its media are read; the queue bounds these, too.

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
        """Wait for a place to make a report.

        Args:
            deadline: the loop's time until which is waited.

        Raises:
            ApiError: status 429, or 504.
        """
        if self.analyses >= self.settings.analyses * (1 + WAITING_ANALYSES):
            raise self.overloaded("reports")
        self.analyses += 1
        try:
            await self.in_time(self._analysis_slots.acquire(), deadline)
            try:
                yield
            finally:
                self._analysis_slots.release()
        finally:
            self.analyses -= 1

    def deadline(self) -> float:
        """Return the loop's time at which a request that begins now has had its time."""
        return asyncio.get_running_loop().time() + self.settings.request_seconds

    async def in_time(self, work: Awaitable[Found], deadline: float) -> Found:
        """Wait for work, at most until the loop's time is `deadline`; then it is cancelled.

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
        """Do work in one of the threads for reports, or of another pool.

        A thread cannot be cancelled, but its work ends where it would take its next turn at the model or look at its
        next frame. Until then the thread is not free, so that is waited for.
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
                await asyncio.gather(asyncio.wrap_future(job), return_exceptions=True)  # nobody asks how it ended
            raise

    async def prepare(self, clip: Clip) -> PreparedClip:
        """Find the people of a clip, as long as somebody waits for it."""
        analyzer = self.analyzer

        def detect(frame: np.ndarray) -> Detections:
            self.turns.check()  # the frames of a clip may take longer than a request has
            return analyzer.detector(frame)

        return await self.in_thread(lambda: prepare_clip(clip, detect, analyzer.budget), self.face_threads)

    def _watched(self) -> dict[str, float]:
        numbers: dict[str, float] = {"analyses": self.analyses, "decoder_deaths": self.decoders.died}
        if self._scheduler is not None:
            numbers |= {"running": self._scheduler.running, "waiting": self._scheduler.waiting + self.preparing}
            numbers["generated_tokens"] = self._scheduler.written
        return numbers

    async def close(self) -> None:
        """End everything; whoever still waits is cancelled."""
        self.draining = True
        if self._scheduler is not None:
            await asyncio.to_thread(self._scheduler.close)
        self.turns.close()
        for pool in (self.threads, self.face_threads):
            pool.shutdown(wait=False, cancel_futures=True)
        await self.decoders.close()
