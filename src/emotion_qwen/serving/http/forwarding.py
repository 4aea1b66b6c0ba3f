"""Chat completions of a model behind another service: media are checked, decoded and cropped here, answered there."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncGenerator
from typing import Any

from emotion_qwen.client import Reply
from emotion_qwen.engine.constrained import ANY_OBJECT
from emotion_qwen.engine.endpoint import EndpointEngine
from emotion_qwen.engine.wire import wire_content
from emotion_qwen.serving.failures import ApiError
from emotion_qwen.serving.http.chat import model_messages
from emotion_qwen.serving.http.protocol import ChatRequest
from emotion_qwen.serving.http.responses import (
    AnswerMessage,
    ChatChunk,
    ChatCompletion,
    Choice,
    ChunkChoice,
    Delta,
    Usage,
)
from emotion_qwen.serving.service import Service


async def forwarded_answer(service: Service, engine: EndpointEngine, request: ChatRequest) -> ChatCompletion:
    """Have the other service answer.

    Raises:
        ApiError: the request is refused or takes too long.
        CallError: the other service cannot be reached or refuses the request.
    """
    service.check_open()
    if request.model not in (None, service.name):
        raise ApiError(
            404, f"model {request.model!r} is not served here; expected {service.name!r}", "model_not_found",
            param="model",
        )  # fmt: skip
    if request.logprobs or request.ignore_eos or request.prompt_logprobs is not None:
        raise ApiError(
            400, "logprobs, prompt_logprobs and ignore_eos are not forwarded; leave them out", "not_supported"
        )
    deadline = service.deadline()
    async with service.preparation():
        preparing = model_messages(service, request.messages, request.focus)
        messages = await service.before_deadline(preparing, deadline)
    sent = [{**message, "content": wire_content(message["content"])} for message in messages]
    payload: dict[str, Any] = {"messages": sent, "temperature": request.temperature or 0.0}
    payload |= {name: value for name in ("top_p", "seed", "stop") if (value := getattr(request, name)) is not None}
    length = request.wanted_tokens or service.settings.default_tokens
    form, schema = request.response_format, None
    if form is not None and form.type != "text":
        schema = ANY_OBJECT if form.json_schema is None else form.json_schema.schema_
    asking = service.in_thread(lambda: engine.client.ask(payload, length, schema))
    return _completion(service, request, await service.before_deadline(asking, deadline))


def _completion(service: Service, request: ChatRequest, reply: Reply) -> ChatCompletion:
    read, written = reply.read or 0, reply.written or 0
    return ChatCompletion(
        id=f"chatcmpl-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=request.model or service.name,
        choices=[Choice(message=AnswerMessage(content=reply.text), finish_reason="length" if reply.cut else "stop")],
        usage=Usage(prompt_tokens=read, completion_tokens=written, total_tokens=read + written),
        system_fingerprint=service.fingerprint,
    )


async def as_events(answer: ChatCompletion, usage: bool) -> AsyncGenerator[str]:
    """Yield a whole answer as server-sent events, for clients that want a stream."""
    (choice,) = answer.choices
    deltas = [ChunkChoice(delta=Delta(role="assistant", content=choice.message.content))]
    deltas.append(ChunkChoice(delta=Delta(), finish_reason=choice.finish_reason))
    shared: dict[str, Any] = answer.model_dump(include={"id", "created", "model", "system_fingerprint"})
    for delta in deltas:
        yield f"data: {ChatChunk(choices=[delta], **shared).model_dump_json()}\n\n"
    if usage:
        yield f"data: {json.dumps(ChatChunk(choices=[], usage=answer.usage, **shared).model_dump())}\n\n"
    yield "data: [DONE]\n\n"
