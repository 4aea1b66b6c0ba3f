"""The requests of the harness as items of ours; knows their form but imports nothing from the harness.

A request about one of our rows is our task's item, with our frames and faces. Any other request becomes the item of a
general task, with pictures, clips and words unchanged. The length is the one named by the request.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.engine.encoding import VISUALS
from emotion_qwen.errors import SettingsError
from emotion_qwen.evaluation.task import Item, Task
from emotion_qwen.evaluation.tasks.files import PICTURES, VIDEOS
from emotion_qwen.integrations.lmms_eval.rows import ITEM, item_of

LENGTH = 1024
"""New tokens if a request names no number; the same as in the harness's own models."""
Part = dict[str, Any]


@dataclass(frozen=True, eq=False)
class HarnessRequest:
    """One request.

    Attributes:
        task: ours, or one made for the request.
        item: what is asked.
        until: texts that end a reply; they are cut off.
        talk: the whole conversation where it has several visuals or turns; empty otherwise.
    """

    task: Task
    item: Item
    until: tuple[str, ...] = ()
    talk: tuple[Part, ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """Properties shared by requests that may be answered together."""
        return self.task.column, self.task.system, str(self.task.max_new_tokens)

    def cut(self, reply: str) -> str:
        """Return a reply up to the first text that ends it."""
        for end in self.until:
            reply = reply.partition(end)[0]
        return reply.strip()


def harness_request(arguments: Sequence[Any], documents: Mapping[str, Any]) -> HarnessRequest:
    """Read a request of `generate_until`, of a simple or of a chat model.

    Args:
        arguments: (context, settings, visuals of a document, number, task, split), or for chats (context, messages of a
            document, settings, number, task, split).
        documents: task -> split -> documents.

    Raises:
        SettingsError: a setting or a medium that our model does not take.
    """
    context, second, third, number, name, split = arguments
    chat = callable(second)
    settings, make = (third, second) if chat else (second, third)
    length, until = _settings(settings or {})
    row = documents[name][split][number]
    if ITEM in row:
        task, item = item_of(row)
        return HarnessRequest(dataclasses.replace(task, max_new_tokens=length), item, until)
    talk = _talk(make(row)) if chat else _turn([*map(content_part, _listed(make(row))), _text(context)])
    task = Task(str(name), str(name), "general", _Nowhere(), answered="text", max_new_tokens=length)
    return _of_talk(dataclasses.replace(task, system=_system(talk)), talk, f"{name}/{split}/{number}", until)


def harness_context(arguments: Sequence[Any], documents: Mapping[str, Any]) -> tuple[list[Part], str]:
    """Read the content of a `loglikelihood` request: (question, answer), or with visuals, number, task, split.

    Raises:
        SettingsError: a medium that our model does not take.
    """
    context, _, *rest = arguments
    if not rest:
        return [], str(context)
    make, number, name, split = rest
    return [content_part(medium) for medium in _listed(make(documents[name][split][number]))], str(context)


def answer_of(arguments: Sequence[Any], documents: Mapping[str, Any]) -> str:
    """Return the answer to be scored.

    The leading space with which the harness separates it from the question is removed: in a chat it begins a turn.
    """
    _, answer, *rest = arguments
    if callable(answer):
        _, number, name, split = rest
        answer = answer(documents[name][split][number])
    return str(answer).strip()


def content_part(medium: Any, kind: str = "") -> Part:
    """Return the message part of a medium: a picture in memory, or the path of a picture or video.

    Raises:
        SettingsError: something else, such as a sound or a part of a video.
    """
    if hasattr(medium, "convert"):  # a picture of PIL
        return {"type": "image", "image": np.array(medium.convert("RGB"))}
    if isinstance(medium, np.ndarray) and medium.dtype == np.uint8 and medium.ndim == 3 and medium.shape[2] == 3:
        return {"type": "image", "image": medium}
    if isinstance(medium, str | Path):
        suffix = Path(medium).suffix.lower()
        kind = kind or ("image" if suffix in PICTURES else "video" if suffix in VIDEOS else "")
        if kind in VISUALS:
            return {"type": kind, kind: Path(medium)}
    shown = repr(medium) if isinstance(medium, str | dict) else type(medium).__name__
    raise SettingsError(
        f"medium {shown[:80]}; expected a PIL picture, (H, W, 3) uint8, or the path of a picture or video"
    )


class _Nowhere:
    """The source of tasks that are not ours: the harness has read the items already."""

    def check(self, data: Path | None) -> None:
        """See `Source`."""

    def items(self, *_: Any) -> list[Item]:
        """See `Source`."""
        return []


def _settings(given: Mapping[str, Any]) -> tuple[int, tuple[str, ...]]:
    drawn = given.get("do_sample") and float(given.get("temperature") or 0) > 0
    if drawn or int(given.get("num_beams") or 1) > 1:
        raise SettingsError(
            f"generation settings {dict(given)}; this model answers greedily, set temperature=0 and num_beams=1"
        )
    until = given.get("until") or ()
    return int(given.get("max_new_tokens") or LENGTH), (until,) if isinstance(until, str) else tuple(
        filter(None, until)
    )


def _listed(visuals: Any) -> list[Any]:
    if visuals is None:
        return []
    return [visual for visual in visuals if visual is not None] if isinstance(visuals, list | tuple) else [visuals]


def _text(words: str) -> Part:
    return {"type": "text", "text": words}


def _turn(parts: Iterable[Part]) -> list[Part]:
    return [{"role": "user", "content": list(parts)}]


def _talk(messages: Iterable[Mapping[str, Any]]) -> list[Part]:
    return [{"role": m["role"], "content": list(map(_content, _contents(m["content"])))} for m in messages]


def _contents(content: Any) -> list[Any]:
    return [_text(content)] if isinstance(content, str) else list(content)


def _content(part: Mapping[str, Any]) -> Part:
    if part["type"] == "text":
        return _text(part["text"])
    if part["type"] not in VISUALS or part.get("start_time") or part.get("end_time"):
        raise SettingsError(f"message part {dict(part)!r:.80}; expected text, or a whole picture or video")
    return content_part(part["url"], part["type"])


def _system(talk: Sequence[Part]) -> str:
    return "\n".join(part["text"] for turn in talk if turn["role"] == "system" for part in turn["content"])


def _of_talk(task: Task, talk: list[Part], name: str, until: tuple[str, ...]) -> HarnessRequest:
    turns = [turn for turn in talk if turn["role"] != "system"]
    parts = [part for turn in turns for part in turn["content"]]
    several = len(turns) != 1 or sum(part["type"] in VISUALS for part in parts) > 1
    *before, last = parts
    plain = last["type"] == "text"
    item = Item(name, "en", tuple(before if plain else parts), last["text"] if plain else "", (), "", "")
    return HarnessRequest(task, item, until, tuple(talk) if several else ())
