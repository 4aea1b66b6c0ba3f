"""Live: pictures and sound come in over a WebSocket, and a report of the last seconds goes out again and again.

The first message is JSON: `{"type": "start", "labels", "language", "context", "key"}`, all but the type optional. Then
come binary messages: one byte (0 picture, 1 sound), the time in seconds as a big-endian float64, and a JPEG, PNG or
WebP picture, or 16-bit little-endian mono samples at 16 kHz. Out come JSON messages of type `ready`, `report`, `error`.
A picture that comes while the last one is still decoded is dropped: live means now, not all.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import shutil
import struct
import time
from collections import deque

import numpy as np
from PIL import Image
from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from emotion_qwen.errors import EmotionQwenError
from emotion_qwen.inference.render import as_json
from emotion_qwen.media.sound import SAMPLE_RATE
from emotion_qwen.media.video import working_size
from emotion_qwen.records import Clip
from emotion_qwen.serving.failures import as_api_error
from emotion_qwen.serving.protocol import AnalyzeOptions
from emotion_qwen.serving.reports import ReportJob
from emotion_qwen.serving.security import same_key
from emotion_qwen.serving.service import Service
from emotion_qwen.taxonomy import label_set

SPAN = 6.0  # seconds that a report looks back
PATIENCE = 10.0  # seconds for the first message
IDLE = 60.0  # seconds without a message
LARGEST = 2 * 2**20  # bytes of one message
PICTURE, SOUND = 0, 1
_HEAD = struct.Struct(">Bd")


class LiveSession:
    """What came in the last seconds.

    Args:
        service: the server.
        options: labels, language, context.
    """

    def __init__(self, service: Service, options: AnalyzeOptions) -> None:
        self.service, self.options = service, options
        self.folder = service.decoders.new_folder()
        self.pictures: deque[tuple[float, np.ndarray]] = deque()
        self.sounds: deque[tuple[float, np.ndarray]] = deque()
        self.fresh = asyncio.Event()
        self.decoding = False
        settings = service.analyzer.engine.processor.settings
        self.apart = SPAN / min(settings.max_frames, service.settings.media_frames, 2 * SPAN * settings.fps)

    async def take(self, message: bytes) -> None:
        """Take a picture or a piece of sound; one that does not fit the clock or comes too soon is dropped.

        Raises:
            ApiError: the picture cannot be read.
        """
        if len(message) <= _HEAD.size or len(message) > LARGEST:
            return
        kind, when = _HEAD.unpack_from(message)
        if not math.isfinite(when) or not 0 <= when < 1e6:
            return
        if kind == SOUND:
            self._take_sound(when, message[_HEAD.size :])
        elif kind == PICTURE and not self.decoding and (not self.pictures or when - self.pictures[-1][0] >= self.apart):
            self.decoding = True
            try:
                await self._take_picture(when, message[_HEAD.size :])
            finally:
                self.decoding = False

    def _take_sound(self, when: float, data: bytes) -> None:
        samples = np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2").astype(np.float32) / 32768
        if self.sounds and when < self.sounds[-1][0]:
            self.sounds.clear()
        self.sounds.append((when, samples))
        while self.sounds and self.sounds[0][0] < when - SPAN:
            self.sounds.popleft()

    async def _take_picture(self, when: float, data: bytes) -> None:
        path = self.folder / "picture"
        await asyncio.to_thread(path.write_bytes, data)
        settings = self.service.analyzer.engine.processor.settings
        clip = await self.service.decoders.decode(path, "picture", settings)
        frame = _reduced(clip.frames[0], settings.working_side)
        if self.pictures and (self.pictures[-1][1].shape != frame.shape or when <= self.pictures[-1][0]):
            self.pictures.clear()  # another camera, or a clock that was set back
        self.pictures.append((when, frame))
        while self.pictures[0][0] < when - SPAN:
            self.pictures.popleft()
        self.fresh.set()

    def clip(self) -> Clip:
        """Put the last seconds together."""
        times = np.array([when for when, _ in self.pictures])
        frames = np.stack([frame for _, frame in self.pictures])
        wave, start = self._wave()
        return Clip(
            frames=frames, times=times, source="live", still=len(times) < 2, duration=float(times[-1] - times[0]),
            size=frames.shape[1:3], wave=wave, sample_rate=SAMPLE_RATE if wave is not None else 0, wave_start=start,
        )  # fmt: skip

    def _wave(self) -> tuple[np.ndarray | None, float]:
        """Lay the pieces of sound on the clock; where none came, there is silence."""
        if not self.sounds or not self.service.analyzer.hears:
            return None, 0.0
        start = self.sounds[0][0]
        length = round((self.sounds[-1][0] - start) * SAMPLE_RATE) + len(self.sounds[-1][1])
        wave = np.zeros(min(length, int(2 * SPAN * SAMPLE_RATE)), dtype=np.float32)
        for when, piece in self.sounds:
            first = round((when - start) * SAMPLE_RATE)
            room = max(len(wave) - first, 0)
            wave[first : first + min(len(piece), room)] = piece[:room]
        return wave, start

    async def report(self) -> str:
        """Make the report of the last seconds."""
        self.fresh.clear()
        job = ReportJob(self.service, self.options)
        try:
            async with self.service.analysis():
                return as_json(await job.report(await job.read(self.clip())))
        finally:
            job.close()

    def close(self) -> None:
        """Delete what came."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _reduced(frame: np.ndarray, side: int) -> np.ndarray:
    """Reduce a picture to the working side, as a video's frames are."""
    height, width = working_size(frame.shape[0], frame.shape[1], side)
    if (height, width) == frame.shape[:2]:
        return frame
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC))


async def serve_live(socket: WebSocket, service: Service) -> None:
    """Serve one live session from its greeting to its end."""
    await socket.accept()
    session = None
    try:
        options = await _greeting(socket, service)
        if options is None:
            return
        service.live += 1
        session = LiveSession(service, options)
        await socket.send_json({"type": "ready", "span": SPAN, "apart": session.apart})
        reporting = asyncio.create_task(_report_on(socket, session))
        try:
            while True:
                message = await asyncio.wait_for(socket.receive(), IDLE)
                if message["type"] == "websocket.disconnect":
                    return
                if message.get("bytes"):
                    await _take(socket, session, message["bytes"])
        finally:
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)
    except (WebSocketDisconnect, RuntimeError):
        pass  # the client is gone
    except TimeoutError:
        await _close(socket, 1001, "idle")
    finally:
        if session is not None:
            service.live -= 1
            session.close()


async def _greeting(socket: WebSocket, service: Service) -> AnalyzeOptions | None:
    """Read the first message; None if the session was refused."""
    told = await asyncio.wait_for(socket.receive_text(), PATIENCE)
    try:
        values = json.loads(told) if len(told) < 2**14 else None
        if not isinstance(values, dict) or values.pop("type", None) != "start":
            raise ValueError("the first message must be a JSON object of type 'start'")
        key = values.pop("key", "")
        if service.key is not None and not same_key(str(key), service.key):
            await _close(socket, 1008, "invalid_api_key")
            return None
        if service.live >= service.settings.live:
            await _close(socket, 1013, "too many live sessions")
            return None
        options = AnalyzeOptions.model_validate(values)
        label_set(options.labels)
        service.check_open()
        return options
    except (ValueError, RecursionError, ValidationError) as error:
        first = "the message does not fit" if isinstance(error, ValidationError) else str(error)
        await socket.send_json({"type": "error", "message": first.splitlines()[0][:300]})
    except EmotionQwenError as error:
        await socket.send_json({"type": "error", "message": str(as_api_error(error))})
    await _close(socket, 1008, "refused")
    return None


async def _take(socket: WebSocket, session: LiveSession, message: bytes) -> None:
    try:
        await session.take(message)
    except EmotionQwenError as error:
        await socket.send_json({"type": "error", "message": str(as_api_error(error))})


async def _report_on(socket: WebSocket, session: LiveSession) -> None:
    while True:
        await session.fresh.wait()
        began = time.perf_counter()
        try:
            report = await session.report()
            took = round(time.perf_counter() - began, 3)
            await socket.send_text(f'{{"type": "report", "took": {took}, "report": {report}}}')
        except EmotionQwenError as error:
            await socket.send_json({"type": "error", "message": str(as_api_error(error))})
            await asyncio.sleep(1)


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    with contextlib.suppress(RuntimeError):
        await socket.close(code, reason)
