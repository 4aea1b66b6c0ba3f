"""Sources of answers: a local model, an endpoint, or a file of predictions, one module each; `plan.make_answerer`
chooses by name.

The task defines prompt, frames, length and parser; an answerer only applies them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from pydantic import Field

from emotion_qwen.client import LengthField
from emotion_qwen.evaluation.run.predictions import Prediction
from emotion_qwen.evaluation.task import Item, Task
from emotion_qwen.settings import Settings

FILE = "file:"


class EndpointSettings(Settings):
    """Settings for calling an OpenAI-compatible endpoint. The key is read from the environment, never from a file."""

    key_variable: str = "OPENAI_API_KEY"
    """Environment variable with the key; if it is not set, requests are sent without a key."""
    concurrency: int = Field(8, ge=1)
    """Number of concurrent requests."""
    timeout: float = Field(120.0, gt=0)
    """Timeout of a request, in seconds."""
    retries: int = Field(4, ge=0)
    """Number of retries after status 408, 409, 429 or 5xx, a lost connection, or an invalid response."""
    backoff: float = Field(1.0, ge=0)
    """Seconds before the first retry; doubled each time, up to one minute."""
    side: int = Field(768, ge=32)
    """Longer side of the frames sent, in pixels."""
    frames: int = Field(16, ge=1)
    """Maximum number of frames sent per video."""
    length_field: LengthField = "auto"
    """Field that limits the length of an answer: max_tokens, max_completion_tokens, or auto, which takes the one that
    the endpoint accepts.
    """
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further fields of every request, such as `chat_template_kwargs`; they cannot override the task's."""


class Answerer(Protocol):
    """An object that answers the items of a task.

    Attributes:
        name: name in reports.
        whole_batches: whether an item's numbers depend, in the last digits, on the other items of its batch. A partly
            answered batch is then answered again as a whole, so that an interrupted run gives the same result as an
            uninterrupted one.
    """

    name: str
    whole_batches: bool

    def side_of(self, task: Task) -> int | None:
        """Return the side in pixels to which small pictures of a Parquet file are resized; None keeps their size."""

    def header(self, task: Task, split: str) -> dict[str, Any]:
        """Return everything besides the item that affects an answer."""

    def batches(self, task: Task, items: Sequence[Item]) -> list[list[Item]]:
        """Divide items into batches that are answered together; the result depends on the items alone."""

    def ahead(self, task: Task, items: Sequence[Item]) -> AbstractContextManager[None]:
        """Announce the items that will be answered, in this order, so that they can be prepared in advance."""

    def answer(self, task: Task, items: Sequence[Item]) -> Iterator[Prediction]:
        """Yield one prediction per item, in their order; a failure is a prediction with an error."""
