"""Any OpenAI-compatible endpoint answers, so that other systems get the same prompts, frames and parser.

`POST {address}/chat/completions` with temperature 0. A picture is sent as PNG, which loses nothing, frames of a video
as JPEG, side by side. A request that fails is tried again with growing pauses; what fails in the end is an error
of its item, and the others go on.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from PIL import Image

from emotion_qwen.errors import MediaError, RemoteError, SettingsError
from emotion_qwen.evaluation.answerers import EndpointSettings
from emotion_qwen.evaluation.predictions import Prediction, digest, prediction
from emotion_qwen.evaluation.stored import Stored
from emotion_qwen.evaluation.task import Item, Task
from emotion_qwen.media.clip import read_clip
from emotion_qwen.records import Clip
from emotion_qwen.settings import ClipSettings

AGAIN = frozenset([408, 409, 425, 429, 500, 502, 503, 504, 529])
LONGEST_PAUSE = 60.0
QUALITY = 90
LOST = 50
"""After so many items in a row without an answer nobody is there: thousands more would take hours to fail."""
SIDE = 224
"""Pixels to which the small pictures of a Parquet file are brought."""


class ChatClient:
    """Sends chats to one model of an endpoint.

    Args:
        address: up to and with `/v1`.
        model: as the endpoint calls it.
        settings: key, timeouts and tries.

    Raises:
        SettingsError: the address is none.
    """

    def __init__(self, address: str, model: str, settings: EndpointSettings) -> None:
        if not address.startswith(("http://", "https://")) or not model:
            raise SettingsError(
                f"endpoint {address + '#' + model!r} is no address of a model; write openai:http://host:8000/v1#model"
            )
        self.address, self.model, self.settings = address.rstrip("/"), model, settings

    @classmethod
    def at(cls, place: str, settings: EndpointSettings) -> ChatClient:
        """Return a client for "http://host/v1#model"."""
        address, _, model = place.partition("#")
        return cls(address, model, settings)

    def reply(self, messages: Sequence[Mapping[str, Any]], max_tokens: int, **more: Any) -> str:
        """Return what the model says; tries again as the settings say.

        Args:
            messages: in the form of the endpoint.
            max_tokens: of the reply.
            more: further fields of the request, such as `response_format`.

        Raises:
            RemoteError: no reply after all tries, or the endpoint refuses the request.
        """
        body = {"model": self.model, "messages": messages, "temperature": 0, "max_tokens": max_tokens, **more}
        body = {**self.settings.extra, **body}
        pause, fault = self.settings.backoff, ""
        for attempt in range(self.settings.retries + 1):
            if attempt:
                time.sleep(min(pause, LONGEST_PAUSE))
                pause *= 2
            try:
                return _content(self._post(json.dumps(body).encode()))
            except urllib.error.HTTPError as error:
                fault = f"answered {error.code}: {_said(error)}"
                if error.code not in AGAIN:
                    break
            except (OSError, http.client.HTTPException) as error:  # no connection, a lost one, a timeout
                fault = f"did not answer ({getattr(error, 'reason', None) or error or type(error).__name__})"
            except ValueError as error:
                fault = f"answered garbage ({error})"
        raise RemoteError(f"{self.address}, model {self.model}: {fault}; {attempt + 1} tries")

    def _post(self, body: bytes) -> Any:
        headers = {"Content-Type": "application/json"}
        key = os.environ.get(self.settings.key_variable)
        if key:
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(f"{self.address}/chat/completions", body, headers)
        with urllib.request.urlopen(request, timeout=self.settings.timeout) as response:
            return json.loads(response.read())


def _content(answer: Any) -> str:
    try:
        text = answer["choices"][0]["message"]["content"]
    except (LookupError, TypeError):
        raise ValueError(f"no choices[0].message.content in {str(answer)[:120]!r}") from None
    if not isinstance(text, str):
        raise ValueError(f"content is a {type(text).__name__}, expected text")
    return text.strip()


def _said(error: urllib.error.HTTPError) -> str:
    try:
        return " ".join(error.read(300).decode("utf-8", "replace").split()) or str(error.reason)
    except OSError:
        return str(error.reason)


class Endpoint:
    """See `Answerer`. Closed questions are answered in words too, and read by the task's parser."""

    whole_batches = False

    def __init__(self, client: ChatClient) -> None:
        self.client, self.name = client, client.model
        self._lost = 0

    @classmethod
    def at(cls, place: str, settings: EndpointSettings) -> Endpoint:
        """Return the answerer at "http://host/v1#model"."""
        return cls(ChatClient.at(place, settings))

    def side_of(self, task: Task) -> int:
        """See `Answerer`."""
        return SIDE

    def ahead(self, task: Task, items: Sequence[Item]) -> AbstractContextManager[None]:
        """See `Answerer`; nothing is prepared ahead."""
        return nullcontext()

    def header(self, task: Task, split: str) -> dict[str, Any]:
        """Say what decides over an answer. Who stands behind the model's name only the endpoint knows."""
        extra = {"extra": self.client.settings.extra} if self.client.settings.extra else {}
        return {
            "task": task.column,
            "split": split,
            "scoring": f"text, temperature 0, at most {task.max_new_tokens} tokens",
            "model": self.name,
            "weights": digest(self.client.address),
            "dtype": "",
            "system": digest(task.system),
            "settings": {"side": self.client.settings.side, **self._frame_settings(task), **extra},
        }

    def batches(self, task: Task, items: Sequence[Item]) -> list[list[Item]]:
        """Divide in the order of the items; a batch keeps all connections busy several times."""
        size = self.client.settings.concurrency * 4
        return [list(items[start : start + size]) for start in range(0, len(items), size)]

    def answer(self, task: Task, items: Sequence[Item]) -> Iterator[Prediction]:
        """Ask for several items at a time; a fault is the error of its item.

        Raises:
            RemoteError: `LOST` items in a row had no answer.
        """
        with ThreadPoolExecutor(self.client.settings.concurrency) as pool:
            for one, lost in pool.map(lambda item: self._one(task, item), items):
                self._lost = self._lost + 1 if lost else 0
                yield one
                if self._lost >= LOST:
                    self._lost = 0
                    raise RemoteError(
                        f"{LOST} items in a row had no answer, the last one: {one.error}; given up, what was answered "
                        "is kept, run the same command again"
                    )

    def _one(self, task: Task, item: Item) -> tuple[Prediction, bool]:
        """Return the line of an item, and whether the endpoint was asked in vain."""
        begun, frames, lost = time.perf_counter(), 0, False
        said: dict[str, Any]
        try:
            content, frames = self._content(task, item)
            before = [{"role": "system", "content": task.system}] if task.system else []
            messages: list[dict[str, Any]] = [*before, {"role": "user", "content": content}]
            said = {"text": self.client.reply(messages, task.max_new_tokens)}
        except (MediaError, RemoteError) as error:
            said, lost = {"error": str(error)}, isinstance(error, RemoteError)
        seconds = round(time.perf_counter() - begun, 4)
        return prediction(item, **said, frames=frames, seconds=seconds, answerer=self.name), lost

    def _content(self, task: Task, item: Item) -> tuple[list[dict[str, Any]], int]:
        """Return the parts of the message and the number of frames in it."""
        content: list[dict[str, Any]] = []
        shown = 0
        for part in item.parts:
            if part["type"] == "text":
                content.append({"type": "text", "text": part["text"]})
            elif part["type"] == "audio":
                raise MediaError("sound is not sent to endpoints; leave the audio parts out")
            else:
                frames = self._frames(part[part["type"]], task)
                shown += len(frames)
                content += [_as_url(frame, self.client.settings.side, still=len(frames) == 1) for frame in frames]
        return [*content, {"type": "text", "text": item.question}], shown

    def _frame_settings(self, task: Task) -> dict[str, float]:
        most = self.client.settings.frames
        return {**task.frames, "max_frames": min(most, task.frames.get("max_frames", most))}

    def _frames(self, medium: Any, task: Task) -> list[Any]:
        if isinstance(medium, Stored):
            return [medium.load()]
        if isinstance(medium, str | Path):
            settings = ClipSettings.of(self._frame_settings(task), f"frames of task {task.name}")
            return list(read_clip(medium, settings).frames)
        return list(medium.frames) if isinstance(medium, Clip) else [medium]


def _as_url(frame: Any, side: int, still: bool) -> dict[str, Any]:
    image = Image.fromarray(frame)
    image.thumbnail((side, side))
    data, kind = io.BytesIO(), "png" if still else "jpeg"
    image.save(data, kind, quality=QUALITY)  # PNG has no quality and takes no notice
    url = f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}
