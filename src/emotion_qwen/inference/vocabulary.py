"""A byte-level tokenizer's tokens as bytes, and which of them a text of whole characters may go on with.

Byte-level BPE cuts characters: a Chinese one of three bytes can be two tokens, and a token can end one character and
begin the next. So a slot is followed byte by byte by an automaton of UTF-8. Its states are the characters that were
begun: 0 is none, the text is whole. A token may come if its bytes lead from the state to another one, and if the
character that it leaves begun can be finished in the tokens that are left.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from emotion_qwen.errors import SettingsError

NEVER = 2**15 - 1
"""Stands for "no number of tokens is enough"."""
_TAIL = (0x80, 0xBF)
# Lead byte -> range of its second byte where that is narrower than a tail's (Unicode 16.0, table 3-7).
_SECOND = {0xE0: (0xA0, 0xBF), 0xED: (0x80, 0x9F), 0xF0: (0x90, 0xBF), 0xF4: (0x80, 0x8F)}
Begun = bytes | int  # the bytes of a begun character where they matter, otherwise how many of them are missing


@dataclass(frozen=True, eq=False)
class SlotRules:
    """What may stand in a slot, for S states and V tokens.

    Attributes:
        after: (S, V) int16 state after a token, -1 where it may not come.
        needed: (S, V) int16 tokens needed after a token, at least, to be whole; `NEVER` where it may not come.
    """

    after: np.ndarray
    needed: torch.Tensor


class Vocabulary:
    """The tokens of a byte-level tokenizer.

    Args:
        tokenizer: of transformers.
        size: V, the width of the model's logits, which may be more than the tokenizer has.

    Raises:
        SettingsError: the tokenizer is of another kind, or lacks a byte.
    """

    def __init__(self, tokenizer: Any, size: int) -> None:
        self.tokenizer, self.size = tokenizer, size
        letters, added = _letters(), set(tokenizer.added_tokens_decoder)
        self.texts: list[bytes | None] = [None] * size
        for token, spelled in enumerate(tokenizer.convert_ids_to_tokens(list(range(min(len(tokenizer), size))))):
            if spelled and token not in added:  # added tokens have a meaning of their own and are no text
                self.texts[token] = _as_bytes(spelled, letters)
        self.bytes = {text[0]: token for token, text in enumerate(self.texts) if text and len(text) == 1}
        lacking = [byte for byte in (*range(0xC0), *range(0xC2, 0xF5)) if byte not in self.bytes]  # UTF-8 has no others
        if lacking:
            raise SettingsError(f"the tokenizer has no token for the byte {lacking[0]:#04x}; give a byte-level one")
        self._rules: dict[str, SlotRules] = {}

    def encode(self, text: str) -> tuple[int, ...]:
        """Return tokens whose bytes are exactly the text's, the tokenizer's own where these are."""
        tokens = tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        told = [self.texts[token] if token < self.size else None for token in tokens]
        if None not in told and b"".join(told) == text.encode():  # type: ignore[arg-type]
            return tokens
        return tuple(self.bytes[byte] for byte in text.encode())  # a normalised or special text is spelled out

    def beginning(self, byte: int) -> torch.Tensor:
        """Return (V,) bool, which tokens begin with a byte."""
        return torch.tensor([bool(text) and text[0] == byte for text in self.texts])  # type: ignore[index]

    def rules(self, forbidden: str) -> SlotRules:
        """Return the rules of a slot in which some characters are forbidden."""
        if forbidden not in self._rules:
            self._rules[forbidden] = self._compile(forbidden)
        return self._rules[forbidden]

    def _compile(self, forbidden: str) -> SlotRules:
        follow = _automaton(forbidden)
        dead = len(follow) - 1
        lengths = np.array([len(text or b"") for text in self.texts])
        letters = np.zeros((self.size, lengths.max()), np.uint8)
        for token, text in enumerate(self.texts):
            letters[token, : lengths[token]] = np.frombuffer(text or b"", np.uint8)
        after = np.repeat(np.arange(dead, dtype=np.int16)[:, None], self.size, 1)
        for place in range(letters.shape[1]):
            longer = np.flatnonzero(lengths > place)
            after[:, longer] = follow[after[:, longer], letters[longer, place]]
        after[:, lengths == 0] = dead
        whole = _tokens_to_whole(after, dead)
        return SlotRules(np.where(after == dead, -1, after).astype(np.int16), torch.from_numpy(whole[after]))


def _tokens_to_whole(after: np.ndarray, dead: int) -> np.ndarray:
    """Return (S + 1,) the fewest tokens that finish the character which each state has begun."""
    needed = np.full(dead + 1, NEVER, np.int16)
    needed[0] = 0
    for _ in range(4):  # a character has four bytes at most
        best = needed[after].min(1)
        needed[1:dead] = np.minimum(best, NEVER - 1)[1:] + 1
    return needed


def _automaton(forbidden: str) -> np.ndarray:
    """Return the (S + 1, 256) transitions of UTF-8 less some characters; the last state is dead."""
    never = {letter.encode() for letter in forbidden}
    begun = {letter[:end] for letter in never for end in range(1, len(letter))}
    states: list[Begun] = [b""]
    rows: list[list[int]] = []
    for state in states:  # grows while it is walked
        row = []
        for byte in range(256):
            following = _follow(state, byte, never, begun)
            if following is not None and following not in states:
                states.append(following)
            row.append(-1 if following is None else states.index(following))
        rows.append(row)
    rows.append([-1] * 256)
    table = np.array(rows, np.int16)
    return np.where(table < 0, len(states), table).astype(np.int16)


def _follow(state: Begun, byte: int, never: set[bytes], begun: set[bytes]) -> Begun | None:
    if isinstance(state, int):
        return (state - 1 or b"") if _TAIL[0] <= byte <= _TAIL[1] else None
    letter = state + bytes([byte])
    length = _length(letter[0])
    low, high = _SECOND.get(letter[0], _TAIL) if len(letter) == 2 else _TAIL
    if not length or (state and not low <= byte <= high):
        return None
    if len(letter) == length:
        return None if letter in never else b""
    matters = letter in begun or (not state and byte in _SECOND)
    return letter if matters else length - len(letter)


def _length(lead: int) -> int:
    """Return how many bytes a character has that begins with this one; 0 where none does."""
    if lead < 0x80:
        return 1
    return 0 if not 0xC2 <= lead <= 0xF4 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4


@lru_cache
def _letters() -> dict[str, int]:
    """Return the letters by which byte-level tokenizers spell bytes: visible Latin-1 as it is, the rest from 256 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(256 + number): byte for number, byte in enumerate(hidden)}


def _as_bytes(spelled: str, letters: dict[str, int]) -> bytes:
    if not set(spelled) <= letters.keys():
        raise SettingsError(f"the tokenizer has the token {spelled!r}, expected a byte-level one")
    return bytes(letters[letter] for letter in spelled)
