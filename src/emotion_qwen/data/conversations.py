"""Read conversations in the JSON of other projects: the published Emotion-Qwen release, LLaVA, ShareGPT.

A file is a JSON list, or has one object per line. An object contains its turns, and its media under `image`, `images`,
`video` or `videos`: a path, a list of paths, or an object {name: path}; relative paths start from the same folder in
all three forms. Images and videos can be combined. Other keys are ignored, unless they look like media.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from emotion_qwen.data.faults import Fault
from emotion_qwen.data.import_options import Found, ImportOptions
from emotion_qwen.data.placeholders import Call, Medium, Piece, Turn, bind, tagged
from emotion_qwen.errors import DataError, unknown_choice
from emotion_qwen.records import Sample

MEDIA_KEYS = {"image": "image", "images": "image", "video": "video", "videos": "video"}
OTHER_MEDIA = ("audio", "audios")
Resolve = Callable[[Any, str], str]
"""Takes the value for a medium and its kind, and returns an absolute path."""


@dataclass(frozen=True)
class Dialect:
    """How a format represents turns.

    Attributes:
        name: of the format.
        turns: possible keys of the list of turns.
        speaker: pairs of keys (speaker, text).
        roles: role names of the format -> our role names.
    """

    name: str
    turns: tuple[str, ...]
    speaker: tuple[tuple[str, str], ...]
    roles: dict[str, str]


_OURS = {"system": "system", "user": "user", "assistant": "assistant"}
_THEIRS = {"system": "system", "human": "user", "gpt": "assistant"}
RELEASE = Dialect("release", ("conversations",), (("role", "content"),), _OURS)
LLAVA = Dialect("LLaVA", ("conversations",), (("from", "value"),), _THEIRS)
SHAREGPT = Dialect("ShareGPT", ("conversations", "messages"), (("from", "value"), ("role", "content")), _OURS | _THEIRS)


def read_release(source: Path, options: ImportOptions) -> Iterator[Found]:
    """Read training JSON of the published release: `image` or `video`, `conversations` of role and content."""
    return _read(source, options, RELEASE)


def read_llava(source: Path, options: ImportOptions) -> Iterator[Found]:
    """Read LLaVA's JSON: `image`, `conversations` of from (human, gpt) and value."""
    return _read(source, options, LLAVA)


def read_sharegpt(source: Path, options: ImportOptions) -> Iterator[Found]:
    """Read ShareGPT's JSON: `conversations` or `messages`, `images`, `videos`, and a `system` text."""
    return _read(source, options, SHAREGPT)


def messages_of(record: dict[str, Any], dialect: Dialect, resolve: Resolve) -> tuple[dict[str, Any], ...]:
    """Return the messages of one object, with its media in their turns.

    Raises:
        DataError: turns or media are missing, have the wrong form, or do not match.
    """
    given = [key for key in dialect.turns if record.get(key) is not None]
    if len(given) != 1:
        raise DataError(
            f"{'no' if not given else 'more than one'} list of turns; expected {' or '.join(dialect.turns)} in "
            f"{dialect.name} data, the keys are {sorted(record)}"
        )
    key, values = given[0], record[given[0]]
    if not isinstance(values, list) or not values:
        raise DataError(f"{key} is {type(values).__name__} {str(values)[:40]!r}; expected a list of turns")
    turns = [_turn(value, f"{key}[{number}]", dialect, resolve) for number, value in enumerate(values)]
    if isinstance(record.get("system"), str) and record["system"].strip():
        turns.insert(0, Turn("system", (record["system"],), "system"))
    return bind(turns, media_of_record(record, resolve))


def media_of_record(record: dict[str, Any], resolve: Resolve) -> list[Medium]:
    """Return the media listed next to the turns of an object, images first.

    Raises:
        DataError: a medium has the wrong form, or an unsupported key looks like media.
    """
    media: list[Medium] = []
    for key, value in record.items():
        if value is not None and _looks_like_media(key):
            raise DataError(unknown_choice("key for media", key, MEDIA_KEYS))
    for key, kind in MEDIA_KEYS.items():
        media += _media(record.get(key), key, kind, resolve)
    return media


def _read(source: Path, options: ImportOptions, dialect: Dialect) -> Iterator[Found]:
    def resolve(value: Any, kind: str) -> str:
        if not isinstance(value, str) or not value:
            raise DataError(f"{kind} is {value!r}; expected a path")
        return options.path(value, source)

    for number, record in json_records(source):
        if isinstance(record, Fault):
            yield record
            continue
        named = record.get("id") if isinstance(record, dict) else None
        identity = str(named) if isinstance(named, str | int) and named != "" else f"{source.stem}-{number:06d}"
        make = partial(_sample, identity, record, dialect, resolve, source, options)
        yield options.attempt(make, number, identity, record, source)


def _sample(
    identity: str, record: Any, dialect: Dialect, resolve: Resolve, source: Path, options: ImportOptions
) -> Sample:
    if not isinstance(record, dict):
        raise DataError(f"the record is {type(record).__name__} {str(record)[:40]!r}; expected an object")
    return options.sample(identity, messages_of(record, dialect, resolve), source)


def json_records(source: Path) -> Iterator[tuple[int, Any]]:
    """Yield (number from 1, record or fault) for the elements of a JSON list or for lines."""
    if not source.is_file():
        raise DataError(f"{str(source)!r} is no file; expected a JSON list, or JSON with one object per line")
    try:
        text = source.read_text(encoding="utf-8-sig")
        if text.lstrip().startswith("["):
            yield from enumerate(json.loads(text), 1)
            return
    except (ValueError, RecursionError) as error:
        raise DataError(f"{str(source)!r} is not JSON ({error}); correct the file") from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                reason = f"not JSON ({error}); expected one object per line, or one list for the whole file"
                yield number, Fault(number, "", reason, line, str(source))


def _turn(value: Any, place: str, dialect: Dialect, resolve: Resolve) -> Turn:
    pairs = [pair for pair in dialect.speaker if isinstance(value, dict) and value.get(pair[0]) is not None]
    if not pairs:
        wanted = " or ".join(f"{who!r} and {what!r}" for who, what in dialect.speaker)
        shown = f"has the keys {sorted(value)}" if isinstance(value, dict) else f"is {type(value).__name__}"
        raise DataError(f"{place} {shown}; expected {wanted} in {dialect.name} data")
    who, what = pairs[0]
    if not isinstance(value[who], str) or value[who] not in dialect.roles:
        raise DataError(f"{place}: {unknown_choice(who, value[who], dialect.roles)}")
    content = value.get(what)
    if isinstance(content, str):
        return Turn(dialect.roles[value[who]], tuple(tagged(content, place, resolve)), place)
    if not isinstance(content, list):
        raise DataError(f"{place}.{what} is {type(content).__name__}; expected text or a list of parts")
    pieces = tuple(_piece(part, f"{place} part {number}", resolve) for number, part in enumerate(content))
    return Turn(dialect.roles[value[who]], pieces, place)


def _piece(part: Any, place: str, resolve: Resolve) -> Piece:
    """Read a part in the form of transformers and TRL; a medium without a path is the next one of its kind."""
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return part["text"]
    if kind not in ("image", "video"):
        raise DataError(f"{place} is {str(part)[:40]!r}; expected a part of type text, image or video")
    return Call(f"<{kind}>") if part.get(kind) is None else Medium(kind, resolve(part[kind], kind))


def _media(value: Any, key: str, kind: str, resolve: Resolve) -> list[Medium]:
    if value is None:
        return []
    if isinstance(value, dict) and not {"bytes", "path"} >= set(value):
        return [Medium(kind, resolve(item, kind), _call(name)) for name, item in value.items()]
    if isinstance(value, str | bytes | dict):
        return [Medium(kind, resolve(value, kind))]
    if not isinstance(value, list):
        raise DataError(f"{key} is {value!r}; expected a path, a list of paths, or an object of names and paths")
    return [Medium(kind, resolve(item, kind)) for item in value]


@cache
def _looks_like_media(key: str) -> bool:
    near = difflib.get_close_matches(key.lower(), MEDIA_KEYS, n=1, cutoff=0.8)
    return key not in MEDIA_KEYS and bool(near or key in OTHER_MEDIA)


def _call(name: str) -> str:
    call = name if name.startswith("<") else f"<{name}>"
    return "" if call in ("<image>", "<video>") else call
