"""Responses of OpenAI's chat API, and our own about features and the server's state."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class Gate(BaseModel):
    """Fusion weights of the two experts; zeros without a picture."""

    general: float
    emotion: float


class Features(BaseModel):
    """Response of `/v1/emotion/features`; H is the width of the language model. See docs/guides/folders.md."""

    object: Literal["emotion.features"] = "emotion.features"
    model: str
    source: str
    visual: list[float] | None
    """(H,) mean of the fused visual tokens; null without a picture."""
    audio: list[float] | None
    """(H,) mean of the audio tokens; null without sound, or if the model has no audio."""
    pooled: list[float]
    """(H,) hidden state of the language model at the position that predicts the first token of the label."""
    gate: Gate
    provenance: dict[str, Any]
    """Settings that determine the features, as in a report: weights, label set, prompt, budgets, and the input read."""
    actions: dict[str, float] | None = None
    """Facial action -> mean over the crops of people; absent without a person, or if the model has no such head."""


class TopLogprob(BaseModel):
    """A candidate token."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    """A token of the answer."""

    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(BaseModel):
    """The tokens of a choice."""

    content: list[TokenLogprob]
    refusal: None = None


class Usage(BaseModel):
    """Number of tokens of prompt and answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AnswerMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    """One answer."""

    index: int = 0
    message: AnswerMessage
    finish_reason: Literal["stop", "length"]
    logprobs: ChoiceLogprobs | None = None


class PromptLogprob(BaseModel):
    """A token of the prompt."""

    logprob: float
    decoded_token: str


class ChatCompletion(BaseModel):
    """Response of `/v1/chat/completions`."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    system_fingerprint: str
    prompt_logprobs: list[dict[str, PromptLogprob] | None] | None = None
    """Per token of prompt and last message its id -> log-probability; null for those of the prompt."""


class Delta(BaseModel):
    """New content of a message."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(BaseModel):
    """New content of one answer."""

    index: int = 0
    delta: Delta
    finish_reason: Literal["stop", "length"] | None = None
    logprobs: ChoiceLogprobs | None = None


class ChatChunk(BaseModel):
    """One event of a streamed answer."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    system_fingerprint: str


class ModelCard(BaseModel):
    """The served model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "emotion-qwen"
    context_length: int
    hears: bool
    label_sets: list[str]
    emotion: dict[str, Any]
    """Data with which a client can make the same reports as this server: budgets, calibration, training facts."""


class ModelList(BaseModel):
    """Response of `/v1/models`."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class Fault(BaseModel):
    """An error."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """Body of all error responses."""

    error: Fault


class State(BaseModel):
    """Response of `/health` and `/ready`."""

    status: Literal["ok", "loading", "draining", "failed"]
    version: str
