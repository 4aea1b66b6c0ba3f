"""Live sessions: a client sends pictures and sound over a WebSocket and receives reports of the last seconds.

The first message is JSON: `{"type": "start", "labels", "language", "context", "abstain_below", "key"}`, all but the
type optional. Binary messages follow: one byte (0 picture, 1 sound), the time in seconds as a big-endian float64, and a
JPEG, PNG or WebP picture, or 16-bit little-endian mono samples at 16 kHz, the first of which has that time. The server
sends JSON messages of type `ready`, `report` and `error`. A picture too soon after the last one is dropped, and of
those that arrive during decoding only the last is kept. `docs/guides/serving_live.md` documents the protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import shutil
import struct
import time
from typing import Any

import numpy as np
from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from emotion_qwen.errors import EmotionQwenError
from emotion_qwen.media.sound import SAMPLE_RATE
from emotion_qwen.serving.failures import ApiError, as_api_error, validation_messages
from emotion_qwen.serving.http.protocol import AnalyzeOptions
from emotion_qwen.serving.http.reports import ReportJob
from emotion_qwen.serving.http.rolling import RollingBuffer
from emotion_qwen.serving.http.security import same_key
from emotion_qwen.serving.service import Service
from emotion_qwen.taxonomy import chosen_labels
from emotion_qwen.views.render import as_json

SPAN = 6.0  # seconds covered by a report
TIMEOUT = 10.0  # time limit in seconds for the first message, and for sending a message
IDLE = 60.0  # maximum seconds between messages
MAX_MESSAGE_BYTES = 2 * 2**20  # maximum bytes per message; the WebSocket closes with 1009 at a larger one
MAX_GREETING = 2**14  # maximum characters of the first message
MAX_GREETINGS = 32  # maximum number of connections before their first message
MAX_FAULTS = 20  # invalid messages after which a session ends
SOUND_INTERVAL = 0.5  # seconds of new sound per report without pictures
PICTURE, SOUND = 0, 1
_HEAD = struct.Struct(">Bd")


class LiveSession:
    """The state of one client: its pictures, its sound, and the reports on them.

    Args:
        service: the server.
        options: labels, language, context.
    """

    def __init__(self, service: Service, options: AnalyzeOptions) -> None:
        self.service, self.options = service, options
        settings = service.analyzer.engine.processor.settings
        most = min(settings.max_frames, service.settings.media_frames)
        self.apart = max(1 / settings.fps, SPAN / most)  # the sampling rate of clips
        self.rolling = RollingBuffer(SPAN, self.apart, settings.working_side, most)
        self.folder = service.decoders.new_folder()
        self.came, self.fresh = asyncio.Event(), asyncio.Event()  # a picture to decode; new content to report
        self._picture = (0.0, b"")  # the latest received, with its time
        self._reported = 0.0

    def take(self, message: bytes) -> None:
        """Take a picture or a piece of sound.

        Raises:
            ApiError: the message has no header, an invalid time or an unknown kind, or the sound is longer than `SPAN`.
        """
        if len(message) <= _HEAD.size:
            raise _fault(f"a message has {len(message)} bytes, expected a kind, a time and data: more than 9")
        kind, when = _HEAD.unpack_from(message)
        if not math.isfinite(when) or not 0 <= when < 1e9:
            raise _fault(f"a message has the time {when:g}, expected seconds from 0 to 1e9, as big-endian float64")
        data = message[_HEAD.size :]
        if kind == SOUND:
            self._take_sound(when, data)
        elif kind == PICTURE:
            self._picture = when, data
            self.came.set()
        else:
            raise _fault(f"a message is of kind {kind}, expected {PICTURE} (picture) or {SOUND} (sound)")

    def _take_sound(self, when: float, data: bytes) -> None:
        if len(data) % 2 or len(data) > 2 * SPAN * SAMPLE_RATE:
            raise _fault(
                f"a piece of sound has {len(data):,} bytes, expected whole 16-bit samples of at most {SPAN:g} s at "
                f"{SAMPLE_RATE:,} Hz"
            )
        if not self.service.analyzer.hears:
            return
        self.rolling.add_sound(when, np.frombuffer(data, dtype="<i2").astype(np.float32) / 32768)
        if self.rolling.sound_only and abs(self.rolling.now - self._reported) >= SOUND_INTERVAL:
            self.fresh.set()

    async def decode(self) -> None:
        """Wait for a picture, and decode it unless it is too soon after the last one.

        Raises:
            ApiError: the picture cannot be read.
        """
        await self.came.wait()
        self.came.clear()
        when, data = self._picture
        if not self.rolling.wants_picture(when):
            return
        path = self.folder / "picture"
        await asyncio.to_thread(path.write_bytes, data)
        decoding = self.service.decoders.decode(path, "the picture", self.service.analyzer.engine.processor.settings)
        clip = await self.service.before_deadline(decoding, self.service.deadline())
        self.rolling.add_picture(when, clip.frames[0])
        self.fresh.set()

    async def report(self) -> str | None:
        """Return the message with the report of the last seconds; None without a recent picture or a voice."""
        self.fresh.clear()
        began, self._reported = time.perf_counter(), self.rolling.now
        voiced = await asyncio.to_thread(self.rolling.voiced)
        speaks = bool(voiced)
        if not self.rolling.has_pictures and not (speaks and self.rolling.sound_only):
            return None
        clip = self.rolling.clip(with_sound=speaks)
        job = ReportJob(self.service, self.options)
        try:
            report = as_json(await job.whole(job.report, clip))
        finally:
            job.close()
        facts = {"type": "report", "took": round(time.perf_counter() - began, 3), "now": round(self._reported, 3)}
        facts["voiced"] = None if voiced is None else round(voiced, 3)
        return f'{json.dumps(facts)[:-1]}, "report": {report}}}'

    def close(self) -> None:
        """Delete the session's files."""
        shutil.rmtree(self.folder, ignore_errors=True)


class _End(Exception):
    """Ends the session, with a close code of RFC 6455 and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


async def serve_live(socket: WebSocket, service: Service) -> None:
    """Serve one live session from its first message to its end."""
    if not service.settings.live or service.greeting >= MAX_GREETINGS:
        await socket.close(1013, "no live sessions here" if not service.settings.live else "too many connections")
        return
    end: _End | None = _End(1011, "the server failed")  # for unexpected errors
    try:
        client = _Client(socket)
        options = await _accept(client, service)
        service.live += 1
        try:
            await _session(client, LiveSession(service, options))
        finally:
            service.live -= 1
    except _End as ended:
        end = ended
    except WebSocketDisconnect:
        end = None  # the client disconnected
    finally:
        if end is not None:
            with contextlib.suppress(RuntimeError, TimeoutError, WebSocketDisconnect):
                await asyncio.wait_for(socket.close(end.code, end.reason), 1)


async def _session(client: _Client, session: LiveSession) -> None:
    """Receive messages and send reports until either side ends the session.

    Raises:
        _End: the client was idle, sent invalid messages or did not read, or the time is over.
    """
    limit = session.service.settings.live_seconds
    tasks: set[asyncio.Task[None]] = set()
    try:
        facts = {"span": SPAN, "apart": session.apart, "rate": SAMPLE_RATE, "hears": session.service.analyzer.hears}
        await client.send(json.dumps({"type": "ready", **facts}))
        loops = (_receive_messages, _decode_pictures, _send_reports)
        tasks |= {asyncio.create_task(loop(client, session)) for loop in loops}
        done, _ = await asyncio.wait(tasks, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise _End(1000, f"a session lasts {limit:g} s")
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        session.close()


class _Client:
    """The connection to a client, with time limits for receiving and sending.

    Args:
        socket: of the connection.
    """

    def __init__(self, socket: WebSocket) -> None:
        self.socket, self.faults = socket, 0

    async def receive(self, seconds: float, otherwise: _End) -> Any:
        """Receive a message.

        Raises:
            _End: `otherwise`, if no message arrives within `seconds`.
            WebSocketDisconnect: the client disconnected.
        """
        try:
            message = await asyncio.wait_for(self.socket.receive(), seconds)
        except TimeoutError as error:
            raise otherwise from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        return message

    async def send(self, text: str) -> None:
        """Send a message.

        Raises:
            _End: the client does not read it.
            WebSocketDisconnect: the client disconnected.
        """
        try:
            await asyncio.wait_for(self.socket.send_text(text), TIMEOUT)
        except TimeoutError as error:
            raise _End(1008, "the client does not read") from error
        except RuntimeError as error:  # Starlette's error for a closed connection
            raise WebSocketDisconnect(1006) from error

    async def send_error(self, error: EmotionQwenError) -> None:
        """Send an error; errors are those of `send`."""
        api_error = as_api_error(error)
        await self.send(
            json.dumps({"type": "error", "code": api_error.code, "message": str(api_error)}, ensure_ascii=False)
        )

    async def send_fault(self, error: EmotionQwenError) -> None:
        """Send the error of an invalid message, and count it.

        Raises:
            _End: there were too many, or the client does not read.
            WebSocketDisconnect: the client disconnected.
        """
        self.faults += 1
        await self.send_error(error)
        if self.faults >= MAX_FAULTS:
            raise _End(1008, f"{MAX_FAULTS} invalid messages") from error


async def _accept(client: _Client, service: Service) -> AnalyzeOptions:
    """Accept a connection and read its first message.

    Raises:
        _End: the connection is refused.
        WebSocketDisconnect: the client disconnected.
    """
    service.greeting += 1
    try:
        await client.socket.accept()
        message = await client.receive(TIMEOUT, _End(1008, "no first message"))
    finally:
        service.greeting -= 1
    try:
        return _options(message.get("text"), service)
    except EmotionQwenError as error:
        api_error = as_api_error(error)
        await client.send_error(api_error)
        raise _End(1013 if api_error.status in (429, 503) else 1008, api_error.code) from error


def _options(text: str | None, service: Service) -> AnalyzeOptions:
    """Return the options in the first message.

    Raises:
        ApiError: the message is invalid, the key is wrong, or there are too many sessions.
    """
    try:
        values = json.loads(text) if text is not None and len(text) <= MAX_GREETING else None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or values.pop("type", None) != "start":
        raise _fault(f"the first message must be a JSON object of type 'start', of at most {MAX_GREETING:,} characters")
    key = values.pop("key", "")
    if service.key is not None and not same_key(str(key), service.key):
        raise ApiError(401, "the API key is missing or wrong; send it as 'key' of the first message", "invalid_api_key")
    try:
        options = AnalyzeOptions.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise _fault(validation_messages([first], values)[0]) from error
    if {options.start, options.end, options.fps, options.reasoning} != {None}:
        raise _fault("start, end, fps, reasoning: not supported in live sessions; leave them out")
    chosen_labels(options.labels)
    service.check_open()
    if service.live >= service.settings.live:
        raise service.overloaded("live sessions")
    return options


async def _receive_messages(client: _Client, session: LiveSession) -> None:
    while True:
        message = await client.receive(IDLE, _End(1001, "idle"))
        try:
            if (data := message.get("bytes")) is None:
                raise _fault("a message is text, expected bytes: a kind, a time and data")
            session.take(data)
        except EmotionQwenError as error:
            await client.send_fault(error)


async def _decode_pictures(client: _Client, session: LiveSession) -> None:
    while True:
        try:
            await session.decode()
        except EmotionQwenError as error:
            await client.send_fault(error)


async def _send_reports(client: _Client, session: LiveSession) -> None:
    while True:
        await session.fresh.wait()
        try:
            if (report := await session.report()) is not None:
                await client.send(report)
        except EmotionQwenError as error:
            await client.send_error(error)
            await asyncio.sleep(1)


def _fault(message: str) -> ApiError:
    return ApiError(400, message, "invalid_message")
