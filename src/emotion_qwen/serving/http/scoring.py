"""Serve a model for reports made on other machines: exact scores of answers, and the facts of the model."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

from emotion_qwen.engine.engine import Engine
from emotion_qwen.serving.failures import ApiError
from emotion_qwen.serving.http.chat import model_messages
from emotion_qwen.serving.http.protocol import ChatRequest
from emotion_qwen.serving.http.responses import AnswerMessage, ChatCompletion, Choice, PromptLogprob, Usage
from emotion_qwen.serving.service import Service


def served_facts(engine: Engine) -> dict[str, Any]:
    """Return the budgets, calibration and training facts of a model, as `engine.endpoint` reads them."""
    processor = engine.processor
    return {
        "clip_settings": processor.settings.model_dump(),
        "hearing_settings": processor.hearing and processor.hearing.model_dump(exclude_none=True),
        "factor": processor.factor,
        "calibration": engine.calibration.to_dict(),
        "training_facts": engine.training_facts(),
        "weights": engine.provenance()["weights"],
    }


async def scored_answer(service: Service, request: ChatRequest) -> ChatCompletion:
    """Score the last message of a request as the continuation of the others.

    Returns:
        An empty answer with the log-probabilities of the tokens of the last message.

    Raises:
        ApiError: the request is refused or takes too long.
        RequestError: the prompt is longer than the context.
    """
    service.check_open()
    if request.model not in (None, service.name):
        raise ApiError(
            404, f"model {request.model!r} is not served here; expected {service.name!r}", "model_not_found",
            param="model",
        )  # fmt: skip
    deadline, engine = service.deadline(), service.analyzer.engine
    continued = request.messages[-1].content
    assert isinstance(continued, str)  # checked by the request
    async with service.preparation():
        preparing = model_messages(service, request.messages[:-1], request.focus)
        messages = await service.before_deadline(preparing, deadline)
    scoring = asyncio.ensure_future(service.in_thread(lambda: engine.score_continuation(messages, continued)))
    length, tokens, scores = await service.before_deadline(scoring, deadline)
    texts = engine.vocabulary.texts
    logprobs: list[dict[str, PromptLogprob] | None] = [None] * length
    logprobs += [
        {str(token): PromptLogprob(logprob=score, decoded_token=texts[token].decode("utf-8", "replace"))}
        for token, score in zip(tokens, scores, strict=True)
    ]
    read = length + len(tokens)
    return ChatCompletion(
        id=f"chatcmpl-{uuid.uuid4().hex}", created=int(time.time()), model=request.model or service.name,
        choices=[Choice(message=AnswerMessage(content=""), finish_reason="length")],
        usage=Usage(prompt_tokens=read, completion_tokens=0, total_tokens=read),
        system_fingerprint=service.fingerprint, prompt_logprobs=logprobs,
    )  # fmt: skip
