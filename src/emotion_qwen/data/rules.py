"""The rules for training samples: the form of the record, the order of turns, and readable media.

A broken rule raises a `DataError` whose message starts with the position inside the sample. Readers of many samples
turn it into a `Fault` and continue; nothing is guessed or repaired.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emotion_qwen.errors import DataError, MediaError, unknown_choice
from emotion_qwen.media.clip import read_clip
from emotion_qwen.media.picture import read_picture
from emotion_qwen.records import Sample
from emotion_qwen.settings import ClipSettings
from emotion_qwen.taxonomy import LABEL_SETS

SPLITS = ("train", "validation", "test")
ROLES = ("system", "user", "assistant")
MEDIA = ("image", "video")
KEYS = ("id", "messages", "labels", "split", "source", "license")
EMOTIONS = frozenset(name for labels in LABEL_SETS.values() for name in (*labels.labels, *labels.chinese))
# A few small frames over the whole video show whether it can be decoded, faster than a training budget.
LOOK = ClipSettings.of({"min_frames": 2, "max_frames": 4, "working_side": 64}, "check")


def sample_of(record: object) -> Sample:
    """Build a sample from the JSON value of a manifest line; media are left unchanged.

    Raises:
        DataError: the record breaks a rule of form, turns or labels.
    """
    if not isinstance(record, dict):
        raise DataError(f"the line is {_named(record)}; expected an object with the keys {', '.join(KEYS)}")
    _no_other_keys(record, KEYS, "")
    for key in ("id", "messages"):
        if key not in record:
            raise DataError(f"{key!r} is missing; the keys are {sorted(record)}, add {key!r}")
    if not isinstance(record["id"], str) or not record["id"]:
        raise DataError(f"id is {_named(record['id'])}; expected text that is not empty")
    for key in ("split", "source", "license"):
        if not isinstance(record.get(key, ""), str):
            raise DataError(f"{key} is {_named(record[key])}; expected text")
    if not isinstance(record["messages"], list) or not record["messages"]:
        raise DataError(f"messages is {_named(record['messages'])}; expected a list of at least one turn")
    messages = tuple(_message(value, f"messages[{number}]") for number, value in enumerate(record["messages"]))
    provenance = {key: record[key] for key in ("source", "license", "split") if key in record}
    sample = Sample(record["id"], messages, _labels(record.get("labels", {})), **provenance)
    check_sample(sample)
    return sample


def check_sample(sample: Sample) -> None:
    """Check turns, labels, split and characters of a sample that has the right form.

    Raises:
        DataError: wrong roles or order of turns, an empty turn, media outside user turns, an unknown emotion or split,
            or half of a surrogate pair, which no tokenizer can encode.
    """
    if sample.split not in SPLITS:
        raise DataError(unknown_choice("split", sample.split, SPLITS))
    _check_turns(sample.messages)
    emotion = sample.labels.get("emotion")
    if emotion is not None and emotion not in EMOTIONS:
        near = difflib.get_close_matches(emotion.lower(), sorted(EMOTIONS), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "take one of their labels"
        raise DataError(f"labels.emotion is {emotion!r}; expected a label of {', '.join(LABEL_SETS)}; {hint}")
    texts = [sample.id, sample.source, sample.license, sample.labels, sample.messages]
    try:
        json.dumps(texts, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"a text holds {error.object[error.start]!r}, half of a character; write it in full") from error


def media_of(sample: Sample) -> Iterator[tuple[str, str, Any]]:
    """Yield (place, kind, medium) of every picture and video, in reading order."""
    for turn, message in enumerate(sample.messages):
        if not isinstance(message["content"], str):
            for number, part in enumerate(message["content"]):
                if part["type"] in MEDIA:
                    yield f"messages[{turn}] part {number}", part["type"], part[part["type"]]


def located(sample: Sample, root: Path) -> Sample:
    """Return the sample with absolute media paths; relative ones start from `root`."""
    messages = tuple(
        {**message, "content": [_located(part, root) for part in message["content"]]}
        if not isinstance(message["content"], str)
        else message
        for message in sample.messages
    )
    return Sample(sample.id, messages, sample.labels, sample.split, sample.source, sample.license)


def fingerprint(sample: Sample) -> str:
    """Return a hash of roles, texts and media paths, independent of id, labels and split."""
    turns = [[message["role"], content_parts(message["content"])] for message in sample.messages]
    return hashlib.sha256(json.dumps(turns).encode()).hexdigest()


def content_parts(content: Any) -> list[dict[str, Any]]:
    """Return a content as a list of parts."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


class MediaCheck:
    """Checks that media can be read, each file once.

    Args:
        decode: decode pictures fully and a few frames of videos; otherwise only check that the files exist.
    """

    def __init__(self, decode: bool) -> None:
        self.decode = decode
        self._reasons: dict[tuple[str, str], str] = {}

    def __call__(self, sample: Sample) -> None:
        """Check all media of a sample with absolute paths.

        Raises:
            DataError: a medium is missing, or cannot be read as the type of its part.
        """
        for place, kind, medium in media_of(sample):
            key = (kind, str(medium))
            if key not in self._reasons:
                self._reasons[key] = self._reason(kind, Path(medium))
            if self._reasons[key]:
                raise DataError(f"{place}: {self._reasons[key]}")

    def _reason(self, kind: str, path: Path) -> str:
        if path.is_dir():
            return f"{kind} {str(path)!r} is a folder; expected one file"
        if not path.is_file():
            return (
                f"{kind} {str(path)!r} does not exist; correct the path, or name the folder that paths start from "
                "(media_root, --media)"
            )
        if not self.decode:
            return ""
        try:
            if kind == "image":
                read_picture(path, LOOK)
            elif read_clip(path, LOOK).still:
                return f"video {str(path)!r} is a picture; expected a video, or write the part as type 'image'"
        except MediaError as error:
            return f"{kind} {error}"
        except (OSError, SyntaxError, ValueError) as error:  # raised by PIL and FFmpeg for damaged files
            return f"{kind} {str(path)!r} is damaged ({error}); fetch it again"
        return ""


def _message(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{place} is {_named(value)}; expected an object with role and content")
    _no_other_keys(value, ("role", "content"), place)
    for key in ("role", "content"):
        if key not in value:
            raise DataError(f"{place} has no {key!r}; its keys are {sorted(value)}, add {key!r}")
    if value["role"] not in ROLES:
        raise DataError(f"{place}: {unknown_choice('role', value['role'], ROLES)}")
    content = value["content"]
    if isinstance(content, list):
        content = [_part(part, f"{place} part {number}") for number, part in enumerate(content)]
    elif not isinstance(content, str):
        raise DataError(f"{place}.content is {_named(content)}; expected text or a list of parts")
    return {"role": value["role"], "content": content}


def _part(value: object, place: str) -> dict[str, Any]:
    kinds = ("text", *MEDIA)
    if not isinstance(value, dict) or "type" not in value:
        raise DataError(f"{place} is {_named(value)}; expected an object with a type: {', '.join(kinds)}")
    kind = value["type"]
    if kind not in kinds:
        raise DataError(f"{place}: {unknown_choice('part type', kind, kinds)}")
    _no_other_keys(value, ("type", kind), place)
    given = value.get(kind)
    if not isinstance(given, str) or (kind in MEDIA and not given):
        wanted = "text" if kind == "text" else f"the path of the {kind}"
        raise DataError(f"{place} of type {kind!r} has {kind} {_named(given)}; expected {wanted} under {kind!r}")
    return {"type": kind, kind: given}


def _labels(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise DataError(f"labels is {_named(value)}; expected an object such as {{'emotion': 'happy'}}")
    for key, name in value.items():
        if not isinstance(name, str):
            raise DataError(f"labels.{key} is {_named(name)}; expected text")
    return dict(value)


def _check_turns(messages: tuple[dict[str, Any], ...]) -> None:
    previous = None
    for number, message in enumerate(messages):
        role, place = message["role"], f"messages[{number}]"
        if role == "system":
            if number:
                raise DataError(f"{place} is a system turn; expected only as the first turn, move or remove it")
        elif role == previous or (role == "assistant" and previous in (None, "system")):
            before = f"follows {previous}" if previous else "begins the conversation"
            other = "user" if role == "assistant" else "assistant"
            raise DataError(f"{place} is {role} and {before}; user and assistant must alternate, expected {other}")
        _check_content(message, place)
        previous = role
    if previous != "assistant":
        raise DataError(
            f"messages[{len(messages) - 1}], the last turn, is {previous}; expected assistant, for training learns "
            "only from answers"
        )


def _check_content(message: dict[str, Any], place: str) -> None:
    role, parts = message["role"], content_parts(message["content"])
    kinds = [part["type"] for part in parts if part["type"] in MEDIA]
    if kinds and role != "user":
        raise DataError(f"{place} ({role}) holds a part of type {kinds[0]!r}; expected media in user turns only")
    if not kinds and not "".join(part["text"] for part in parts).strip():
        wanted = {"assistant": "an answer to learn from", "user": "a question or a medium"}.get(role, "a text")
        raise DataError(f"{place} ({role}) is empty; expected {wanted}")


def _located(part: dict[str, Any], root: Path) -> dict[str, Any]:
    kind = part["type"]
    # Not resolved, so that a linked folder keeps the name used in the manifest.
    return {**part, kind: os.path.abspath(root / part[kind])} if kind in MEDIA else part


def _no_other_keys(value: dict, keys: tuple[str, ...], place: str) -> None:
    for key in value:
        if key not in keys:
            raise DataError(f"{place}{': ' * bool(place)}{unknown_choice('key', key, keys)}")


def _named(value: object) -> str:
    """Return a shortened value with its type, for messages."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"
