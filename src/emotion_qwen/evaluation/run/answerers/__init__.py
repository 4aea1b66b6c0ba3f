"""Who answers: a model of ours, an endpoint, or a file of predictions. Each in its file;
`plan.make_answerer` chooses by name.

Prompt, frames, length and parser are the task's; an answerer only carries them out.
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

ENDPOINT, FILE = "openai:", "file:"


class EndpointSettings(Settings):
    """How an OpenAI-compatible endpoint is called. The key is read from the environment, never from a file."""

    key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; without it requests carry none."""
    concurrency: int = Field(8, ge=1)
    """Requests at a time."""
    timeout: float = Field(120.0, gt=0)
    """Seconds that a request may take."""
    retries: int = Field(4, ge=0)
    """Further tries after an answer of 408, 409, 429 or 5xx, a lost connection, or garbage."""
    backoff: float = Field(1.0, ge=0)
    """Seconds before the first further try; doubled each time, at most a minute."""
    side: int = Field(768, ge=32)
    """Longer side of the frames that are sent, pixels."""
    frames: int = Field(16, ge=1)
    """Frames of a video that are sent, at most."""
    length_field: LengthField = "auto"
    """Field that bounds an answer: max_tokens, max_completion_tokens, or auto, which takes what the endpoint wants."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further fields of every request, such as `chat_template_kwargs`; none takes the place of the task's."""


class Answerer(Protocol):
    """Somebody who answers the items of a task.

    Attributes:
        name: how reports call it.
        whole_batches: an item's numbers depend, in the last digits, on the others of its batch. A batch that is partly
            answered is then answered whole again, so that an interrupted run ends as if it had not been interrupted.
    """

    name: str
    whole_batches: bool

    def side_of(self, task: Task) -> int | None:
        """Return the pixels to which the small pictures of a Parquet file are brought; None leaves them as they are."""

    def header(self, task: Task, split: str) -> dict[str, Any]:
        """Say what decides over an answer besides the item."""

    def batches(self, task: Task, items: Sequence[Item]) -> list[list[Item]]:
        """Divide items into batches that are answered together; depends on nothing but the items."""

    def ahead(self, task: Task, items: Sequence[Item]) -> AbstractContextManager[None]:
        """Announce the items that will be answered, in this order, so that they can be prepared ahead."""

    def answer(self, task: Task, items: Sequence[Item]) -> Iterator[Prediction]:
        """Yield one prediction an item, in their order; what fails is a prediction with an error."""
