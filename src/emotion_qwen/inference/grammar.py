"""The shape of an answer as data: fixed texts, free slots and choices in a row, to which `constrained` holds a model.

It knows nothing of tokens. A grammar of JSON objects is made by `json_object`; whatever is written by it parses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emotion_qwen.errors import SettingsError

_CONTROLS = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
# What breaks lines or turns the direction of writing; a byte order mark; the sign of a character that was lost.
_UNSEEN = "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\ufffd"
UNSAFE = '"\\' + _CONTROLS + _UNSEEN
"""Characters that may not stand in a slot inside a JSON string: no escape is ever needed, and nothing is hidden."""


@dataclass(frozen=True)
class Literal:
    """A text that is written as it stands."""

    text: str


@dataclass(frozen=True)
class Free:
    """A slot in the model's own words.

    Attributes:
        max_tokens: after which the slot is closed at once, 1 or more; it always ends at a whole character.
        forbidden: characters that may not stand in it.
        begins: one ASCII character, often a blank, that its first token must begin with; "" is any.
    """

    max_tokens: int
    forbidden: str = UNSAFE
    begins: str = ""


@dataclass(frozen=True)
class Choice:
    """A slot that holds one of several texts."""

    options: tuple[str, ...]


Part = Literal | Free | Choice
Grammar = Sequence[Part]


def checked(grammar: Grammar) -> tuple[Part, ...]:
    """Return a grammar without empty texts, neighbouring texts joined.

    Raises:
        SettingsError: a slot whose end could not be told from what follows, without room, or without options.
    """
    parts: list[Part] = []
    for part in grammar:
        if isinstance(part, Literal) and parts and isinstance(parts[-1], Literal):
            parts[-1] = Literal(parts[-1].text + part.text)
        elif part != Literal(""):
            parts.append(part)
    for part, after in zip(parts, [*parts[1:], None], strict=True):
        if isinstance(part, Choice) and not (part.options and all(part.options)):
            raise SettingsError(f"a choice among {list(part.options)}; expected one text or more, none of them empty")
        if isinstance(part, Free):
            _check_slot(part, after)
        if not isinstance(part, Literal) and not isinstance(after, Literal | None):
            raise SettingsError("two slots stand side by side; put a fixed text between them")
    return tuple(parts)


def _check_slot(slot: Free, after: Part | None) -> None:
    if slot.max_tokens < 1:
        raise SettingsError(f"a slot of {slot.max_tokens} tokens; expected 1 or more")
    if slot.begins and (len(slot.begins) > 1 or not slot.begins.isascii() or slot.begins in slot.forbidden):
        raise SettingsError(f"a slot that begins with {slot.begins!r}; expected one ASCII character it may hold")
    if isinstance(after, Literal) and not (after.text[0].isascii() and after.text[0] in slot.forbidden):
        raise SettingsError(
            f"after a slot stands {after.text[:8]!r}; expected a text whose first character is ASCII and forbidden in "
            "the slot, so that one can see where the slot ends"
        )


def json_object(fields: Mapping[str, Sequence[Part]]) -> tuple[Part, ...]:
    """Compose the grammar of a JSON object whose values are strings, keys in the given order.

    Args:
        fields: key -> parts of its string; fixed texts and options are escaped here, slots must forbid `UNSAFE`.

    Raises:
        SettingsError: no field, or a slot that may hold what would have to be escaped.
    """
    if not fields:
        raise SettingsError("an object without fields; expected one or more")
    parts: list[Part] = []
    for number, (key, value) in enumerate(fields.items()):
        parts.append(Literal(f'{", " if number else "{"}{json.dumps(key, ensure_ascii=False)}: "'))
        parts += [_escaped(part) for part in value]
        parts.append(Literal('"'))
    return checked([*parts, Literal("}")])


def _escaped(part: Part) -> Part:
    if isinstance(part, Literal):
        return Literal(_inside(part.text))
    if isinstance(part, Choice):
        return Choice(tuple(map(_inside, part.options)))
    if set(UNSAFE) - set(part.forbidden):
        raise SettingsError("a slot in a JSON string that does not forbid `UNSAFE`; add it to `forbidden`")
    return part


def _inside(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]
