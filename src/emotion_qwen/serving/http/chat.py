"""Chat completions: from the messages of a request to the answer, whole or streamed."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import torch

from emotion_qwen.analysis.writing import language_of, reads_facts
from emotion_qwen.engine.constrained import ANY_OBJECT, Constraint, SchemaGuide
from emotion_qwen.engine.sampling import Sampler, Sampling
from emotion_qwen.records import Clip
from emotion_qwen.serving.failures import ApiError
from emotion_qwen.serving.http.protocol import (
    AudioPart,
    ChatRequest,
    ImagePart,
    Message,
    RefusalPart,
    TextPart,
    TurnPart,
    VideoPart,
)
from emotion_qwen.serving.http.responses import (
    AnswerMessage,
    ChatChunk,
    ChatCompletion,
    Choice,
    ChoiceLogprobs,
    ChunkChoice,
    Delta,
    TokenLogprob,
    TopLogprob,
    Usage,
)
from emotion_qwen.serving.intake.media_input import decode_base64, to_file
from emotion_qwen.serving.scheduling.generation import Generation, GenerationOutput, Options, TokenShare
from emotion_qwen.serving.scheduling.scheduler import QueueFull, Scheduler
from emotion_qwen.serving.service import Service

GRACE = 1.0  # seconds after the deadline within which the scheduler itself reports the timeout
_ENDED: dict[str, tuple[int, str, str]] = {
    "timeout": (504, "the request took longer than the server allows; ask for fewer tokens", "request_timeout"),
    "schema": (400, "the schema became too complex during generation; give a simpler one", "invalid_request"),
    "error": (500, "the server failed at this request; see its log", "internal_error"),
    "cancelled": (503, "the server shut down before the answer was complete", "server_draining"),
}


async def decode_part(service: Service, part: TurnPart, folder: Path, place: str) -> Clip:
    """Decode the medium of a message part.

    Raises:
        ApiError: the medium is refused or unreadable.
    """
    began = time.perf_counter()
    settings, processor = service.settings, service.analyzer.engine.processor
    if isinstance(part, AudioPart):
        path = folder / f"sound-{len(list(folder.iterdir()))}"
        data = await asyncio.to_thread(decode_base64, part.input_audio.data, settings.media_bytes, place)
        await asyncio.to_thread(path.write_bytes, data)
    else:
        address = part.image_url if isinstance(part, ImagePart) else part.video_url  # type: ignore[union-attr]
        path = await to_file(address.url, folder, settings, place)
    sound = processor.hearing is not None and not isinstance(part, ImagePart)
    clip = await service.decoders.decode(path, place, processor.settings, sound=sound or isinstance(part, AudioPart))
    service.metrics.decode_seconds.observe(time.perf_counter() - began)
    if isinstance(part, AudioPart):
        if clip.wave is None or not len(clip.wave):
            raise ApiError(400, f"{place} holds no sound; send a sound file", "invalid_media", param=place)
    elif not len(clip.frames):
        raise ApiError(400, f"{place} holds no picture; send it as input_audio", "invalid_media", param=place)
    return clip


async def model_messages(service: Service, messages: Sequence[Message], focus: str = "auto") -> list[dict[str, Any]]:
    """Convert messages of the protocol to those of the processor, with decoded media.

    A model that reads facts gets those of every medium that shows a person as, or behind, the system message.

    Args:
        service: the server.
        messages: of the request.
        focus: "person" shows the person seen most in each medium, "whole" the whole medium, "auto" the person if a
            face is detected.

    Raises:
        ApiError: there are too many messages or media, or one of them is refused.
    """
    settings = service.settings
    media = sum(
        not isinstance(part, TextPart | RefusalPart)
        for message in messages
        if not isinstance(message.content, str)
        for part in message.content
    )
    if media > settings.parts or len(messages) > settings.messages:
        raise ApiError(
            413, f"{len(messages)} messages with {media} media; expected at most {settings.messages} with "
            f"{settings.parts}", "too_many_parts", param="messages",
        )  # fmt: skip
    with service.decoders.temporary_folder() as folder:
        converted: list[dict[str, Any]] = []
        facts: list[str] = []
        language = language_of(_last_text(messages))
        for number, message in enumerate(messages):
            content: Any = message.content
            if not isinstance(content, str):
                parts, content = content, []
                for place, part in enumerate(parts):
                    where = f"messages[{number}].content[{place}]"
                    content += await _model_parts(service, part, folder, where, focus, language, facts)
            converted.append({"role": "system" if message.role == "developer" else message.role, "content": content})
        return with_facts(converted, facts)


def with_facts(messages: list[dict[str, Any]], facts: Sequence[str]) -> list[dict[str, Any]]:
    """Return messages whose system message ends with measured facts; without facts, the messages unchanged."""
    if not facts:
        return messages
    text = "\n\n".join(facts)
    first, rest = (messages[0], messages[1:]) if messages[0]["role"] == "system" else (None, messages)
    if first is None:
        return [{"role": "system", "content": text}, *rest]
    content = first["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    return [{"role": "system", "content": [*parts, {"type": "text", "text": f"\n\n{text}"}]}, *rest]


def _last_text(messages: Sequence[Message]) -> str:
    content = messages[-1].content if messages else ""
    return content if isinstance(content, str) else " ".join(p.text for p in content if isinstance(p, TextPart))


async def _model_parts(
    service: Service, part: TurnPart, folder: Path, place: str, focus: str, language: str, facts: list[str]
) -> list[dict[str, Any]]:
    """Return the processor's parts for one part of a message; measurements of a person are added to `facts`."""
    if isinstance(part, TextPart | RefusalPart):
        return [{"type": "text", "text": part.text if isinstance(part, TextPart) else part.refusal}]
    hears = service.analyzer.hears
    if isinstance(part, AudioPart) and not hears:
        raise ApiError(400, f"{place}: the model {service.name!r} has no audio input; leave sound out", "not_supported")
    clip = await decode_part(service, part, folder, place)
    if isinstance(part, AudioPart):
        return [{"type": "audio", "audio": clip.wave}]
    if focus != "whole":
        prepared = await service.prepare(clip)
        if focus == "person" or prepared.people:
            view = service.analyzer.asked_view(prepared)
            if reads_facts(service.analyzer.engine):
                facts.append(await service.in_thread(lambda: service.analyzer.facts(prepared, language)))
            return [view] if isinstance(view, dict) else list(view)
    if clip.still or isinstance(part, ImagePart):
        return [{"type": "image", "image": clip.frames[0]}]
    video: list[dict[str, Any]] = [{"type": "video", "video": clip}]
    if isinstance(part, VideoPart) and hears and clip.wave is not None and len(clip.wave):
        video.append({"type": "audio", "audio": clip.wave})  # the sound of a video directly follows it
    return video


class Answer:
    """One answer, passed from the scheduler's thread to this event loop.

    Args:
        service: the server.
        request: the validated request.

    Raises:
        ApiError: the server is loading, draining or has failed.
    """

    def __init__(self, service: Service, request: ChatRequest) -> None:
        service.check_open()
        self.service, self.request = service, request
        self.id, self.created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())
        self.model = request.model or service.name
        self._pieces: asyncio.Queue[GenerationOutput] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        assert isinstance(service.scheduler, Scheduler)  # answers of other services are in `forwarding`
        self._scheduler, self._vocabulary = service.scheduler, service.analyzer.engine.vocabulary
        self.generation: Generation | None = None
        self.began, self._until = time.monotonic(), service.deadline()

    async def start(self) -> None:
        """Prepare the media and queue the request.

        Raises:
            ApiError: the request is refused or takes too long, or the queue is full.
        """
        scheduler, request = self._scheduler, self.request
        if request.model not in (None, self.service.name):
            raise ApiError(
                404, f"model {request.model!r} is not served here; expected {self.service.name!r}", "model_not_found",
                param="model",
            )  # fmt: skip
        async with self.service.preparation():
            inputs, constraint = await self.service.before_deadline(self._inputs(), self._until)
        deadline = self.began + self.service.settings.request_seconds
        options, sampler = self._options(inputs), Sampler(self._sampling(), constraint)
        generation = Generation(inputs, self._notify, options, sampler, deadline)
        try:
            scheduler.submit(generation)
        except QueueFull as error:
            raise self.service.overloaded("requests") from error
        self.generation = generation
        self.service.metrics.prompt_tokens.inc(generation.prompt_tokens)

    def _options(self, inputs: dict[str, torch.Tensor]) -> Options:
        """Return the generation options.

        Raises:
            ApiError: prompt and answer exceed the context.
        """
        request, context = self.request, self._scheduler.context
        length, wanted = inputs["input_ids"].shape[1], request.wanted_tokens
        room = context - length
        if room < (wanted or 1):
            raise ApiError(
                400, f"{length} tokens of prompt and {wanted or 1} of answer; the server's context is "
                f"{context} tokens, shorten one of them", "context_length_exceeded", param="messages",
            )  # fmt: skip
        return Options(
            max_tokens=wanted or min(room, self.service.settings.default_tokens),
            stop=request.stops,
            logprobs=(request.top_logprobs or 0) if request.logprobs else None,
            ignore_eos=request.ignore_eos,
        )

    def _sampling(self) -> Sampling:
        request = self.request
        seed = None if request.seed is None else request.seed % 2**63
        return Sampling(request.temperature or 0.0, seed, 1.0 if request.top_p is None else request.top_p)

    async def _inputs(self) -> tuple[dict[str, torch.Tensor], Constraint | None]:
        messages = await model_messages(self.service, self.request.messages, self.request.focus)
        return await asyncio.to_thread(self._prepare, messages)

    def _prepare(self, messages: list[dict[str, Any]]) -> tuple[dict[str, torch.Tensor], Constraint | None]:
        processor = self.service.analyzer.engine.processor
        inputs = processor.apply_chat_template(messages, tokenize=True, add_generation_prompt=True)
        form = self.request.response_format
        if form is None or form.type == "text":
            return dict(inputs), None
        schema = ANY_OBJECT if form.json_schema is None else form.json_schema.schema_
        return dict(inputs), SchemaGuide(schema, self._vocabulary).begin()

    def _notify(self, piece: GenerationOutput) -> None:
        self._loop.call_soon_threadsafe(self._pieces.put_nowait, piece)

    async def pieces(self) -> AsyncGenerator[GenerationOutput]:
        """Yield the outputs of the scheduler until the answer ends.

        Raises:
            ApiError: the answer ended early.
        """
        first = True
        while True:
            # The scheduler itself enforces the deadline, unless a single forward pass takes too long.
            piece = await self.service.before_deadline(self._pieces.get(), self._until + GRACE)
            if first:
                self.service.metrics.first_token_seconds.observe(time.monotonic() - self.began)
                first = False
            if piece.finish in _ENDED:  # a new error each time: a reused one would accumulate tracebacks
                raise ApiError(*_ENDED[piece.finish], retry_after=5 if piece.finish == "cancelled" else None)
            yield piece
            if piece.finish:
                return

    def cancel(self) -> None:
        """Free the slot if the answer is unfinished."""
        generation = self.generation
        if generation is not None and not generation.finished and not generation.cancelled:
            generation.cancel()
            self.service.metrics.cancelled.inc()

    async def whole(self) -> ChatCompletion:
        """Return the whole answer."""
        texts: list[str] = []
        shares: list[TokenShare] = []
        finish: Any = None
        async for piece in self.pieces():
            texts.append(piece.text)
            shares += piece.tokens
            finish = piece.finish
        return ChatCompletion(
            id=self.id, created=self.created, model=self.model, usage=self._usage(),
            system_fingerprint=self.service.fingerprint,
            choices=[Choice(message=AnswerMessage(content="".join(texts)), finish_reason=finish,
                            logprobs=self._logprobs(shares) if self.request.logprobs else None)],
        )  # fmt: skip

    async def events(self) -> AsyncGenerator[str]:
        """Yield the answer as server-sent events; a later error is an event as well. The caller calls `cancel`."""
        options = self.request.stream_options
        usage = options is not None and options.include_usage
        try:
            yield self._event(ChunkChoice(delta=Delta(role="assistant", content="")))
            async for piece in self.pieces():
                logprobs = self._logprobs(piece.tokens) if piece.tokens else None
                if piece.text or piece.tokens:
                    yield self._event(ChunkChoice(delta=Delta(content=piece.text), logprobs=logprobs))
                if piece.finish:
                    yield self._event(ChunkChoice(delta=Delta(), finish_reason=piece.finish))  # type: ignore[arg-type]
            if usage:
                yield self._event(None, self._usage())
            yield "data: [DONE]\n\n"
        except ApiError as error:
            yield f"data: {json.dumps(error.body, ensure_ascii=False)}\n\n"

    def _event(self, choice: ChunkChoice | None, usage: Usage | None = None) -> str:
        chunk = ChatChunk(
            id=self.id, created=self.created, model=self.model, choices=[choice] if choice else [], usage=usage,
            system_fingerprint=self.service.fingerprint,
        )  # fmt: skip
        return f"data: {chunk.model_dump_json()}\n\n"

    def _usage(self) -> Usage:
        assert self.generation is not None
        read, written = self.generation.prompt_tokens, len(self.generation.tokens)
        return Usage(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)

    def _logprobs(self, shares: Sequence[TokenShare]) -> ChoiceLogprobs:
        return ChoiceLogprobs(
            content=[
                TokenLogprob(
                    **self._token_logprob(share.token, share.logprob),
                    top_logprobs=[TopLogprob(**self._token_logprob(token, value)) for token, value in share.top],
                )
                for share in shares
            ]
        )

    def _token_logprob(self, token: int, logprob: float) -> dict[str, Any]:
        piece = self._vocabulary.texts[token]
        name = piece.decode("utf-8", "replace") or self._vocabulary.tokenizer.convert_ids_to_tokens(token) or ""
        return {"token": name, "logprob": max(logprob, -9999.0), "bytes": list(piece)}
