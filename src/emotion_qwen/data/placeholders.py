"""Place media in turns: `<image>` and `<video>` in user turns are replaced by the media of the sample, in order.

Each placeholder is replaced by exactly one medium in its turn. A named medium is referred to by its name
(`{"<image_00>": path}` and `<image_00>` in the text). If no turn has a placeholder for a kind, its media are placed at
the start of the first user turn; any other mismatch is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from emotion_qwen.errors import DataError

GENERIC = {"<image>": "image", "<video>": "video"}
# Line breaks around a placeholder are part of it.
_CALL = r"\n?({})\n?"
_NUMBERED = r"<(?:image|video)[_ -]?\d*>"
_TAG = re.compile(r"<(img|image|video|audio)>([^<>]+)</\1>")  # ms-swift and Qwen-VL put the path into the text
_LONE_TAG = re.compile(r"</?(?:img|audio)>|</(?:image|video)>")
_TAGS = {"img": "image", "image": "image", "video": "video"}


@dataclass(frozen=True)
class Medium:
    """A picture or video of a sample; `call` is the placeholder with its name, or empty."""

    kind: str
    path: str
    call: str = ""


@dataclass(frozen=True)
class Call:
    """A placeholder in a text."""

    text: str


Piece: TypeAlias = "str | Medium | Call"


@dataclass(frozen=True)
class Turn:
    """One turn; texts in `pieces` may still contain placeholders. `place` is its position in the source."""

    role: str
    pieces: tuple[Piece, ...]
    place: str


def bind(turns: Sequence[Turn], media: Sequence[Medium]) -> tuple[dict[str, Any], ...]:
    """Return messages with the media placed in user turns.

    Raises:
        DataError: a placeholder has no medium; a medium has no placeholder while others of its kind do; a name is
            used twice or unknown; or a placeholder is outside user turns.
    """
    names = {medium.call for medium in media if medium.call}
    opened = [_opened(turn, names) for turn in turns]
    called = {piece.text for turn in opened for piece in turn.pieces if isinstance(piece, Call)}
    supply = _Supply(media, called)
    filled = [Turn(turn.role, tuple(supply.fill(turn)), turn.place) for turn in opened]
    unplaced = supply.left()
    if unplaced:
        first = next((number for number, turn in enumerate(filled) if turn.role == "user"), None)
        if first is None:
            raise DataError(f"no user turn for the {unplaced[0].kind} {unplaced[0].path!r}; add one")
        turn = filled[first]
        filled[first] = Turn(turn.role, (*unplaced, *turn.pieces), turn.place)
    return tuple({"role": turn.role, "content": _content(turn.pieces)} for turn in filled)


@dataclass
class _Supply:
    """The media of a sample that have not been placed yet."""

    media: Sequence[Medium]
    called: set[str]
    _taken: list[Medium] = field(default_factory=list)

    def fill(self, turn: Turn) -> list[str | Medium]:
        """Replace the placeholders of one turn."""
        return [self._take(piece, turn) if isinstance(piece, Call) else piece for piece in turn.pieces]

    def _take(self, call: Call, turn: Turn) -> Medium:
        named = [medium for medium in self.media if medium.call == call.text]
        if not named and call.text not in GENERIC:
            raise DataError(
                f"{turn.place} ({turn.role}): {call.text} names no medium of the sample; expected <image>, <video> or "
                f"one of {sorted({m.call for m in self.media if m.call})}"
            )
        fitting = named or [m for m in self.media if m.kind == GENERIC[call.text] and m.call not in self.called]
        for medium in fitting:
            if not any(medium is taken for taken in self._taken):
                self._taken.append(medium)
                return medium
        kind = fitting[0].kind if fitting else GENERIC[call.text]
        raise DataError(
            f"{turn.place} ({turn.role}): {call.text} number {len(fitting) + 1} has no {kind}, the sample has "
            f"{len(fitting)}; give one {kind} per placeholder, or write the text without it"
        )

    def left(self) -> list[Medium]:
        """Return the media without a placeholder, which are placed before the first question."""
        left = [medium for medium in self.media if not any(medium is taken for taken in self._taken)]
        for medium in left:
            same = [taken for taken in self._taken if taken.kind == medium.kind]
            if same:
                count = len([given for given in self.media if given.kind == medium.kind])
                raise DataError(
                    f"{medium.kind} {medium.path!r} has no placeholder, only {len(same)} of {count} have one; write "
                    f"{medium.call or f'<{medium.kind}>'} where each belongs, or none at all"
                )
        return left


def tagged(text: str, place: str, resolve: Callable[[str, str], str]) -> list[Piece]:
    """Split a text at media with paths in tags, such as `<img>a.jpg</img>`.

    Raises:
        DataError: an audio tag, or a tag that is not closed, whose medium would be lost silently.
    """
    pieces: list[Piece] = []
    end = 0
    for tag in _TAG.finditer(text):
        if tag[1] not in _TAGS:
            raise DataError(f"{place} contains {tag[0][:40]!r}; only pictures and videos are read, leave the tag out")
        pieces += [text[end : tag.start()], Medium(_TAGS[tag[1]], resolve(tag[2].strip(), _TAGS[tag[1]]))]
        end = tag.end()
    rest = text[end:]
    if lone := _LONE_TAG.search(" ".join(p for p in (*pieces, rest) if isinstance(p, str))):
        raise DataError(f"{place} contains a lone {lone[0]}; expected a path between two tags, as <img>a.jpg</img>")
    return [piece for piece in (*pieces, rest) if piece]


def _opened(turn: Turn, names: set[str]) -> Turn:
    """Split the texts of a turn at its placeholders."""
    named = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    pattern = re.compile(_CALL.format(f"{named}|{_NUMBERED}" if named else _NUMBERED))
    pieces: list[Piece] = []
    for piece in turn.pieces:
        if not isinstance(piece, str):
            pieces.append(piece)
            continue
        for number, text in enumerate(pattern.split(piece)):  # texts and placeholders alternate
            if number % 2:
                pieces.append(Call(text))
            elif text:
                pieces.append(text)
    placeholder = next((piece for piece in pieces if isinstance(piece, Call)), None)
    if placeholder and turn.role != "user":
        raise DataError(
            f"{turn.place} ({turn.role}) holds {placeholder.text}; expected placeholders in user turns only, "
            "move it or write the text without it"
        )
    return Turn(turn.role, tuple(pieces), turn.place)


def _content(pieces: Sequence[Piece]) -> str | list[dict[str, str]]:
    if all(isinstance(piece, str) for piece in pieces):
        return "".join(str(piece) for piece in pieces)
    return [
        {"type": piece.kind, piece.kind: piece.path}
        if isinstance(piece, Medium)
        else {"type": "text", "text": str(piece)}
        for piece in pieces
    ]
