"""Tokens as bytes, and text as it comes: whole characters only, and nothing that may become a stop string."""

from __future__ import annotations

import codecs
import functools
from collections.abc import Sequence
from typing import Any

from emotion_qwen.errors import CheckpointError


@functools.cache
def _byte_letters() -> dict[str, int]:
    """Return letter -> byte of byte-level BPE (GPT-2's table): printable bytes stand for themselves."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {chr(byte): byte for byte in plain}
    others = [byte for byte in range(256) if byte not in set(plain)]
    return {**letters, **{chr(256 + number): byte for number, byte in enumerate(others)}}


class TokenBytes:
    """The bytes of every token of a byte-level tokenizer.

    Args:
        tokenizer: the model's.
        size: rows of the model's output; tokens beyond the tokenizer's are empty.

    Raises:
        CheckpointError: the tokenizer is not byte-level.
    """

    def __init__(self, tokenizer: Any, size: int) -> None:
        letters = _byte_letters()
        special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
        self.pieces: list[bytes] = [b""] * size
        for number, name in enumerate(tokenizer.convert_ids_to_tokens(list(range(min(len(tokenizer), size))))):
            if number in special or name is None:
                continue
            try:
                self.pieces[number] = bytes(letters[letter] for letter in name)
            except KeyError as error:
                raise CheckpointError(
                    f"token {number} {name!r} is no byte-level token; serving needs a byte-level tokenizer, as "
                    "Qwen2.5's is"
                ) from error

    def __getitem__(self, token: int) -> bytes:
        return self.pieces[token]

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; special ones are left out, broken characters become U+FFFD."""
        return b"".join(self.pieces[token] for token in tokens).decode("utf-8", "replace")


class Writer:
    """Turn bytes into text for a reader who sees it grow.

    Args:
        stops: texts at which the answer ends; they are not part of it.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = tuple(stops)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def add(self, piece: bytes) -> str:
        """Take more bytes; return the text that is sure by now. `stopped` tells that a stop string came."""
        self._held += self._decoder.decode(piece)
        found = [place for place in (self._held.find(stop) for stop in self._stops) if place >= 0]
        if found:
            self.stopped = True
            told, self._held = self._held[: min(found)], ""
            return told
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        told, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return told

    def close(self) -> str:
        """Return what was held back, at the end of an answer."""
        if self.stopped:
            return ""
        told, self._held = self._held + self._decoder.decode(b"", final=True), ""
        return told


def _overlap(text: str, stop: str) -> int:
    """Return how many letters at the end of a text begin the stop string."""
    return next(
        (length for length in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-length:])), 0
    )
