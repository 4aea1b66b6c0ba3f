"""Requests and responses: the supported part of OpenAI's chat API, and our own requests for reports."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from emotion_qwen.analysis.forms import FORMS
from emotion_qwen.analysis.moments import LENGTH
from emotion_qwen.analysis.request import ABSTAIN_BELOW
from emotion_qwen.engine.sampling import COLDEST
from emotion_qwen.taxonomy import LABEL_SETS

MOST_TOKENS = 1_000_000
CONTEXT_LETTERS = 4000
# Unsupported fields -> neutral values that are accepted; null always is.
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,), "presence_penalty": (0,), "n": (1,), "best_of": (1,), "logit_bias": ({},),
    "tools": ([],), "tool_choice": ("none", "auto"), "parallel_tool_calls": (True, False), "functions": ([],),
    "function_call": ("none", "auto"), "modalities": (["text"],), "audio": (), "prediction": (),
    "reasoning_effort": ("none",), "verbosity": ("medium",), "service_tier": ("auto", "default"),
    "web_search_options": (),
}  # fmt: skip
# The same for messages: fields of answers, which clients send back.
_UNSUPPORTED_IN_MESSAGES: dict[str, tuple[Any, ...]] = {"tool_calls": ([],), "function_call": (), "audio": ()}
_NOTES = ("annotations", "parsed")  # of answers: redundant with the content


def _without(values: dict[str, Any], unsupported: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    """Drop unsupported fields with neutral values.

    Raises:
        ValueError: an unsupported field has another value.
    """
    for name, neutral in unsupported.items():
        if name in values and values[name] not in neutral:
            raise ValueError(f"{name} is not supported by this server; leave it out")
    return {name: value for name, value in values.items() if name not in unsupported}


def check_surrogates(values: Any) -> None:
    """Refuse lone surrogates, which JSON can encode and UTF-8 cannot.

    Raises:
        ValueError: a key or a text contains one.
    """
    left = [values]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            left += value
        elif isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise ValueError("a text holds half of a surrogate pair; send whole characters") from error


class Wire(BaseModel):
    """A part of a request. Null is the same as a missing field; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value is not None}


class TextPart(Wire):
    """Text of a message."""

    type: Literal["text"]
    text: str


class Address(Wire):
    """The URL of a medium: `data:`, or `https:` and `file:` if the server allows them."""

    url: str = Field(min_length=1)
    detail: str | None = Field(None, max_length=16)
    """Accepted for compatibility and ignored; the model's own budget applies."""


class ImagePart(Wire):
    """A picture."""

    type: Literal["image_url"]
    image_url: Address


class VideoPart(Wire):
    """A video, with its sound if the model has audio."""

    type: Literal["video_url"]
    video_url: Address


class Sound(Wire):
    """A sound file as base64."""

    data: str = Field(min_length=1)
    format: str = Field("wav", max_length=16)
    """Accepted for compatibility and ignored; the format is detected from the data."""


class AudioPart(Wire):
    """A sound, for models with audio."""

    type: Literal["input_audio"]
    input_audio: Sound


class RefusalPart(Wire):
    """The refusal of an assistant."""

    type: Literal["refusal"]
    refusal: str


Part = Annotated[TextPart | ImagePart | VideoPart | AudioPart, Field(discriminator="type")]
TurnPart = Annotated[TextPart | ImagePart | VideoPart | AudioPart | RefusalPart, Field(discriminator="type")]
Content = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[TurnPart], Tag("parts")],
    Discriminator(lambda value: "text" if isinstance(value, str) else "parts"),
]


class Message(Wire):
    """One message. `developer` is treated as `system`. Answers may be sent back with all of their fields."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Content
    name: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _as_sent_back(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        given = _without({name: value for name, value in values.items() if value is not None}, _UNSUPPORTED_IN_MESSAGES)
        if given.get("role") != "assistant":
            return given
        refusal = given.pop("refusal", "")
        return {"content": refusal, **{name: value for name, value in given.items() if name not in _NOTES}}


class JsonSchemaFormat(Wire):
    """The JSON schema of the answer."""

    name: str = Field("answer", max_length=64)
    schema_: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Wire):
    """Format of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None

    @model_validator(mode="after")
    def _whole(self) -> ResponseFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema must be given if, and only if, type is 'json_schema'")
        return self


class StreamOptions(Wire):
    """Options of a stream."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class ChatRequest(Wire):
    """A request to `/v1/chat/completions`. Without `temperature`, decoding is greedy."""

    messages: list[Message] = Field(min_length=1)
    model: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1, le=MOST_TOKENS)
    max_completion_tokens: int | None = Field(None, ge=1, le=MOST_TOKENS)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=1e-6, le=1)  # a smaller value would be 0 in float32, and keep no token
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stop: str | list[str] | None = None
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    prompt_logprobs: int | None = Field(None, ge=0, le=0)
    """0 asks for the log-probability of every token of the last message; needs `continue_final_message`. The form is
    vLLM's. Not part of OpenAI's API."""
    continue_final_message: bool = False
    add_generation_prompt: bool = True
    ignore_eos: bool = False
    """Continue after the end of the answer up to `max_tokens`, for measurements. Not part of OpenAI's API."""
    focus: Literal["auto", "person", "whole"] = "auto"
    """The part of a picture or video that the model sees: "person", the person seen most, as in `emotion-qwen ask`;
    "whole", all of it; "auto", the person if a face is detected, else all of it. Not part of OpenAI's API."""
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_neutral(cls, values: Any) -> Any:
        """Drop unsupported fields with neutral values."""
        if not isinstance(values, dict):
            return values
        check_surrogates(values)
        return _without({name: value for name, value in values.items() if value is not None}, _UNSUPPORTED)

    @field_validator("temperature")
    @classmethod
    def _cold(cls, value: float | None) -> float | None:
        """Treat tiny temperatures as 0: scores divided by them would be infinite in float32."""
        return 0.0 if value is not None and value < COLDEST else value

    @model_validator(mode="after")
    def _fits(self) -> ChatRequest:
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if len(stops) > 4 or not all(stops) or any(len(text) > 256 for text in stops):
            raise ValueError("stop takes at most 4 texts of 1 to 256 letters")
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        if self.stream_options is not None and self.stream_options.include_usage and not self.stream:
            raise ValueError("stream_options needs stream: true")
        scored = self.prompt_logprobs is not None
        if not self.continue_final_message == (not self.add_generation_prompt) == scored or (scored and self.stream):
            raise ValueError(
                "prompt_logprobs, continue_final_message: true, add_generation_prompt: false and no stream go together"
            )
        if scored and not (self.messages[-1].role == "assistant" and isinstance(self.messages[-1].content, str)):
            raise ValueError("prompt_logprobs needs the text of an assistant as the last message")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop texts."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def wanted_tokens(self) -> int | None:
        """The requested maximum length."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens


class ClipOptions(Wire):
    """Options for reading a picture, video or sound."""

    labels: str = Field("dfew7", examples=[*sorted(LABEL_SETS), "amused,moved,puzzled"])
    """Name of a label set, or labels of your own, separated by commas, which the model was not trained on."""
    language: Literal["en", "zh"] = "en"
    start: float | None = Field(None, ge=0)
    end: float | None = Field(None, gt=0)
    fps: float | None = Field(None, gt=0, le=60)
    """Frames per second to analyze; by default the model's own number of frames."""
    window: float = Field(LENGTH, gt=0)
    """Length of a window of the timeline in seconds."""
    context: str = Field("", max_length=CONTEXT_LETTERS)
    about: Literal["people", "whole", "evoked"] = "people"
    """The question: "people", what people show, without an answer if nobody is seen, heard or quoted; "whole", the
    same, but answered then from the whole picture and all sound; "evoked", what the picture evokes in viewers."""


class AnalyzeOptions(ClipOptions):
    """Options of a report."""

    abstain_below: float = Field(ABSTAIN_BELOW, ge=0, le=1)
    reasoning: str | None = Field(None, examples=list(FORMS))


class FeaturesRequest(ClipOptions):
    """A request to `/v1/emotion/features` as JSON: one picture, video or sound, and texts on the situation."""

    content: list[Part] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_medium(self) -> FeaturesRequest:
        media = [part for part in self.content if part.type != "text"]
        if len(media) != 1:
            raise ValueError(f"content holds {len(media)} media, expected exactly one; send one request for each")
        letters = len(self.joined_context)
        if letters > CONTEXT_LETTERS:
            raise ValueError(
                f"context and texts have {letters:,} characters together; expected at most {CONTEXT_LETTERS:,}, "
                "shorten them"
            )
        return self

    @property
    def joined_context(self) -> str:
        """The situation: `context` and the texts of the content."""
        return " ".join([self.context, *(part.text for part in self.content if isinstance(part, TextPart))]).strip()


class AnalyzeRequest(FeaturesRequest, AnalyzeOptions):
    """A request to `/v1/emotion/analyze` as JSON: one picture, video or sound, and texts on the situation."""
