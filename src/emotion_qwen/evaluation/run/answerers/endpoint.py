"""Answers from any OpenAI-compatible endpoint, so that other systems get the same prompts, frames and parser.

The temperature is 0. A picture is sent as lossless PNG, the frames of a video as a sequence of JPEG pictures. A failed
call becomes the error of its item, and the others continue.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from PIL import Image

from emotion_qwen.client import ChatClient, ChatService, parse_endpoint
from emotion_qwen.errors import MediaError, RemoteError
from emotion_qwen.evaluation.run.answerers import EndpointSettings
from emotion_qwen.evaluation.run.predictions import Prediction, part_span, prediction, text_digest
from emotion_qwen.evaluation.run.stored import Stored
from emotion_qwen.evaluation.task import Item, Task
from emotion_qwen.media.clip import read_clip
from emotion_qwen.media.write.data_url import as_url
from emotion_qwen.records import Clip
from emotion_qwen.settings import ClipSettings

OURS = frozenset({"model", "messages", "temperature", "max_tokens", "max_completion_tokens"})
LOST = 50
"""Number of consecutive items without an answer after which the run stops; thousands more would take hours."""
SIDE = 224
"""Side in pixels to which the small pictures of a Parquet file are resized."""


def client_at(name: str, settings: EndpointSettings) -> ChatClient:
    """Return a client for "openai:NAME@http://host/v1".

    Raises:
        SettingsError: the address is invalid.
    """
    url, model = parse_endpoint(name)
    service = ChatService(
        url, model, settings.key_variable, settings.timeout, settings.retries, settings.backoff,
        length_field=settings.length_field,
    )  # fmt: skip
    return ChatClient(service)


class Endpoint:
    """See `Answerer`. Closed questions are answered in words, too, and read by the task's parser."""

    whole_batches = False

    def __init__(self, client: ChatClient, settings: EndpointSettings) -> None:
        self.client, self.settings, self.name = client, settings, client.service.model
        # The user must not override fields of the task and of the client.
        self._extra = {name: value for name, value in settings.extra.items() if name not in OURS}
        self._lost = 0

    @classmethod
    def at(cls, name: str, settings: EndpointSettings) -> Endpoint:
        """Return the answerer "openai:NAME@http://host/v1"."""
        return cls(client_at(name, settings), settings)

    def side_of(self, task: Task) -> int:
        """See `Answerer`."""
        return SIDE

    def ahead(self, task: Task, items: Sequence[Item]) -> AbstractContextManager[None]:
        """See `Answerer`; nothing is prepared in advance."""
        return nullcontext()

    def header(self, task: Task, split: str) -> dict[str, Any]:
        """Return what affects an answer. Which model is behind the name is known only to the endpoint."""
        extra = {"extra": self.settings.extra} if self.settings.extra else {}
        return {
            "task": task.column,
            "split": split,
            "scoring": f"text, temperature 0, at most {task.max_new_tokens} tokens",
            "model": self.name,
            "weights": text_digest(self.client.service.url),
            "dtype": "",
            "system": text_digest(task.system),
            "settings": {"side": self.settings.side, **self._frame_settings(task), **extra},
        }

    def batches(self, task: Task, items: Sequence[Item]) -> list[list[Item]]:
        """Divide in the order of the items; a batch contains several items per connection."""
        size = self.settings.concurrency * 4
        return [list(items[start : start + size]) for start in range(0, len(items), size)]

    def answer(self, task: Task, items: Sequence[Item]) -> Iterator[Prediction]:
        """Send several items at a time; a failure becomes the error of its item.

        Raises:
            RemoteError: `LOST` consecutive items had no answer.
        """
        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            for answered, lost in pool.map(lambda item: self._one(task, item), items):
                self._lost = self._lost + 1 if lost else 0
                yield answered
                if self._lost >= LOST:
                    self._lost = 0
                    raise RemoteError(
                        f"{LOST} consecutive items had no answer, the last one: {answered.error}; stopped, answers "
                        "so far are kept, run the same command again"
                    )

    def _one(self, task: Task, item: Item) -> tuple[Prediction, bool]:
        """Return the line of an item, and whether the endpoint gave no answer."""
        begun, frames, lost = time.perf_counter(), 0, False
        fields: dict[str, Any]
        if item.answered == "continuation":
            fault = "an endpoint gives no likelihoods of texts; give a model folder, or leave this suite out"
            return prediction(item, error=fault, answerer=self.name), False
        try:
            content, frames = self._content(task, item)
            before = [{"role": "system", "content": task.system}] if task.system else []
            messages: list[dict[str, Any]] = [*before, {"role": "user", "content": content}]
            request = {**self._extra, "messages": messages, "temperature": 0}
            fields = {"text": self.client.ask(request, item.max_new_tokens or task.max_new_tokens).text.strip()}
        except (MediaError, RemoteError) as error:
            fields, lost = {"error": str(error)}, isinstance(error, RemoteError)
        seconds = round(time.perf_counter() - begun, 4)
        return prediction(item, **fields, frames=frames, seconds=seconds, answerer=self.name), lost

    def _content(self, task: Task, item: Item) -> tuple[list[dict[str, Any]], int]:
        """Return the parts of the message and the number of frames in it."""
        content: list[dict[str, Any]] = []
        shown = 0
        for part in item.parts:
            if part["type"] == "text":
                content.append({"type": "text", "text": part["text"]})
            elif part["type"] == "audio":
                raise MediaError("audio is not sent to endpoints; leave the audio parts out")
            else:
                frames = self._frames(part, task)
                shown += len(frames)
                content += [_as_url(frame, self.settings.side, still=len(frames) == 1) for frame in frames]
        return [*content, {"type": "text", "text": item.question}], shown

    def _frame_settings(self, task: Task) -> dict[str, float]:
        most = self.settings.frames
        return {**task.frames, "max_frames": min(most, task.frames.get("max_frames", most))}

    def _frames(self, part: dict[str, Any], task: Task) -> list[Any]:
        medium = part[part["type"]]
        if isinstance(medium, Stored):
            return [medium.load()]
        if isinstance(medium, str | Path):
            settings = ClipSettings.of(self._frame_settings(task), f"frames of task {task.name}")
            return list(read_clip(medium, settings, **part_span(part)).frames)
        return list(medium.frames) if isinstance(medium, Clip) else [medium]


def _as_url(frame: Any, side: int, still: bool) -> dict[str, Any]:
    image = Image.fromarray(frame)
    image.thumbnail((side, side))
    return as_url(image, "png" if still else "jpeg")
