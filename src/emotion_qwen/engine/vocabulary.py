"""The tokens of a byte-level tokenizer as bytes, for decoding and for constrained generation.

Byte-level BPE can split characters: a Chinese character of three bytes can be two tokens, and a token can end one
character and begin the next. So answers are decoded and constrained byte by byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

from llguidance import LLTokenizer, TokenizerWrapper

from emotion_qwen.errors import SettingsError

# Bytes of texts in UTF-8. Control characters and the lead bytes of planes without characters (F1, F2) are not included:
# SmolLM2's tokenizer, for example, has no tokens for them.
NEEDED = (0x09, 0x0A, 0x0D, *range(0x20, 0x7F), *range(0x80, 0xC0), *range(0xC2, 0xF1), 0xF3, 0xF4)


class Vocabulary:
    """The tokens of a byte-level tokenizer.

    Args:
        tokenizer: of transformers.
        size: V, the width of the model's logits, which may exceed the number of tokens.
        ends: tokens that end a reply.

    Attributes:
        texts: V byte strings; empty for tokens that are not text, such as the end of a reply.

    Raises:
        SettingsError: the tokenizer is not byte-level, or lacks a byte that text can contain.
    """

    def __init__(self, tokenizer: Any, size: int, ends: Sequence[int]) -> None:
        self.tokenizer, self.size, self.ends = tokenizer, size, tuple(ends)
        self.texts = [b""] * size
        added = tokenizer.added_tokens_decoder
        for token, spelled in enumerate(tokenizer.convert_ids_to_tokens(list(range(min(len(tokenizer), size))))):
            if token in added:
                self.texts[token] = b"" if added[token].special else added[token].content.encode()
            elif spelled:
                self.texts[token] = _as_bytes(spelled)
        self.bytes = {text[0]: token for token, text in enumerate(self.texts) if len(text) == 1}
        lacking = [byte for byte in NEEDED if byte not in self.bytes]
        if lacking:
            raise SettingsError(f"the tokenizer has no token for the byte {lacking[0]:#04x}; give a byte-level one")

    def encode(self, text: str) -> tuple[int, ...]:
        """Return tokens whose bytes are exactly those of the text, by the tokenizer itself if it is exact.

        Raises:
            SettingsError: the text contains a control character for which the tokenizer has no token.
        """
        tokens = tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        if max(tokens, default=0) < self.size and self.decode(tokens) == text.encode():
            return tokens
        lacking = [byte for byte in text.encode() if byte not in self.bytes]
        if lacking:
            raise SettingsError(f"the tokenizer has no token for the byte {lacking[0]:#04x} of {text!r}; leave it out")
        return tuple(self.bytes[byte] for byte in text.encode())  # normalised or special text is encoded byte by byte

    def decode(self, tokens: Sequence[int]) -> bytes:
        """Return the bytes of tokens; tokens that are not text are skipped."""
        return b"".join(self.texts[token] for token in tokens)

    @cached_property
    def matched(self) -> LLTokenizer:
        """The tokens in the form of `llguidance`, built on first use: 0.25 s for 150,000 tokens."""
        return LLTokenizer(TokenizerWrapper(_Spelling(self)), n_vocab=self.size, eos_token=list(self.ends))


class _Spelling:
    """The tokenizer interface that `llguidance` needs.

    Its own reader of `tokenizer.json` would turn a literal text such as "<|im_end|>" into the token of that name, and
    lose text that the tokenizer normalises.
    """

    bos_token_id = None

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self.eos_token_id = vocabulary.ends[0]
        self.special_token_ids = [token for token, text in enumerate(vocabulary.texts) if not text]
        self.tokens = [text or f"<{token}>".encode() for token, text in enumerate(vocabulary.texts)]  # all distinct

    def __call__(self, text: bytes) -> list[int]:
        return list(self._vocabulary.encode(text.decode()))


@lru_cache
def _letters() -> dict[str, int]:
    """Return the characters that byte-level tokenizers use for bytes: printable Latin-1 itself, others from 256 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(256 + number): byte for number, byte in enumerate(hidden)}


def _as_bytes(spelled: str) -> bytes:
    letters = _letters()
    if not set(spelled) <= letters.keys():
        raise SettingsError(f"the tokenizer has the token {spelled!r}, expected a byte-level one")
    return bytes(letters[letter] for letter in spelled)
