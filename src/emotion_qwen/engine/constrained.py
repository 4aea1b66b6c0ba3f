"""Constrain generation to a JSON Schema: tokens that do not fit get probability 0 at any temperature.

`llguidance` parses the schema and returns the allowed tokens; this module applies them to logits. Where only one text
is possible, it is written in the tokenizer's own tokens. JSON is compact, with one space after `,` and `:`, and in the
order of the schema, so that a small model cannot generate endless white space.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import torch
from llguidance import LLMatcher, LLParserLimits

from emotion_qwen.engine.vocabulary import Vocabulary
from emotion_qwen.errors import RequestError

ANY_OBJECT = {"type": "object"}
LOWEST = 1e9  # in place of an infinite or undefined logit
_LAYOUT: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "lenient": False}
# Schemas are untrusted: with these limits, a step takes at most 14 ms, and the parser state 40 MB.
_LIMITS = LLParserLimits(step_lexer_fuel=200_000, max_lexer_states=20_000, verbose_errors=False)
# Beyond these, `llguidance` takes minutes for a schema, or crashes the process by a stack overflow.
LETTERS, OBJECTS, PATTERNS, MULTIPLES = 32_768, 500, 32, 10_000
_QUOTE, _BACKSLASH = b'"'[0], b"\\"[0]
_OPENING = b'"[{'
_CLOSING = b"]},"  # a comma ends a number


class SchemaGuide:
    """A JSON Schema that constrains answers.

    Args:
        schema: JSON Schema, draft 2020-12, as far as `llguidance` supports it.
        vocabulary: of the model.

    Raises:
        RequestError: the schema is invalid, has unsupported parts, or allows no value.
    """

    def __init__(self, schema: Mapping[str, Any], vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        _check_size(schema)
        try:
            text = json.dumps(schema)
            if len(text) > LETTERS:
                raise ValueError(f"it has {len(text):,} letters, expected at most {LETTERS:,}")
            written = LLMatcher.grammar_from_json_schema(text, overrides=_LAYOUT)
        except (ValueError, TypeError, RecursionError) as error:
            raise RequestError(f"the schema is no JSON Schema ({_line(error)}); send one as a JSON object") from error
        self._matcher = LLMatcher(vocabulary.matched, written, log_level=0, limits=_LIMITS)
        self._matcher.compute_bitmask()  # the first step shows whether any value is allowed
        if self._matcher.is_error():
            text = _line(self._matcher.get_error())
            text = "no JSON value fits it" if text.startswith("NoExtension") else text
            raise RequestError(f"answers cannot be held to this schema: {text}; change it")

    def begin(self) -> Constraint:
        """Return the state for a new answer."""
        return Constraint(self._matcher.deep_copy(), self.vocabulary)


class Constraint:
    """The state of one constrained answer; not thread-safe."""

    def __init__(self, matcher: LLMatcher, vocabulary: Vocabulary) -> None:
        self._matcher, self._vocabulary = matcher, vocabulary
        self._in_string = self._escaped = self._ended = self._opened = False

    @property
    def complete(self) -> bool:
        """Whether only the end may follow."""
        return self._ended or (self._matcher.is_stopped() and not self._matcher.is_error())

    def hold(self, logits: torch.Tensor) -> torch.Tensor:
        """Return (V,) scores with disallowed tokens at minus infinity, shifted so that the likeliest allowed one is 0.

        A model that was trained on sentences signals that it has finished by ending the reply. Where the schema does
        not allow that yet, the likelihood of the end is given to the token that closes the open string, list, object or
        number, unless that is still empty.

        Args:
            logits: (V,) of the next token.

        Raises:
            RequestError: the schema is too complex.
        """
        allowed = self._allowed()
        scores = logits.float().nan_to_num(-LOWEST, LOWEST, -LOWEST)
        ends = list(self._vocabulary.ends)
        close = None if self._opened or allowed[ends].any() else self._closing(allowed)
        if close is not None:
            scores[close] = scores[[close, *ends]].logsumexp(0).clamp(-LOWEST, LOWEST)
        scores = scores.masked_fill(~allowed.to(scores.device), -torch.inf)
        return scores - scores.max()  # so that no temperature makes all scores vanish

    def take(self, token: int) -> None:
        """Advance by one token; after the end, only padding may follow.

        Raises:
            RequestError: the token does not fit.
        """
        if self._ended:
            return
        if not self._matcher.consume_token(token):
            raise RequestError(
                f"token {token} does not fit the schema; nothing may change the scores behind it "
                f"({_line(self._matcher.get_error())})"
            )
        self._ended = token in self._vocabulary.ends
        for byte in self._vocabulary.texts[token]:
            self._opened = not self._in_string and byte in _OPENING
            if self._escaped:
                self._escaped = False
            elif byte == _QUOTE:
                self._in_string = not self._in_string
            else:
                self._escaped = self._in_string and byte == _BACKSLASH

    def _allowed(self) -> torch.Tensor:
        if self._ended:
            allowed = torch.zeros(self._vocabulary.size, dtype=torch.bool)
            allowed[self._vocabulary.ends[0]] = True
            return allowed
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        if self._matcher.is_error():
            raise RequestError(
                f"the schema became too complex ({_line(self._matcher.get_error())}); give a simpler one, with shorter "
                "lists and texts"
            )
        return torch.from_numpy(np.unpackbits(bits, count=self._vocabulary.size, bitorder="little").view(np.bool_))

    def _closing(self, allowed: torch.Tensor) -> int | None:
        """Return the token that closes the innermost open value; None if it cannot be closed here."""
        tokens = [self._vocabulary.bytes[byte] for byte in ([_QUOTE] if self._in_string else _CLOSING)]
        return next((token for token in tokens if allowed[token]), None)


def _check_size(schema: Mapping[str, Any]) -> None:
    """Check that a schema does not take too much time or stack.

    Raises:
        RequestError: the schema has too many parts, or too large a number.
    """
    left: list[Any] = [schema]
    objects, multiples = 0, 0.0
    while left:
        part = left.pop()
        if isinstance(part, Mapping):
            objects += 1
            left += part.values()
            patterns, multiple = part.get("patternProperties"), part.get("multipleOf")
            if isinstance(patterns, Mapping) and len(patterns) > PATTERNS:
                raise RequestError(f"the schema has {len(patterns)} patternProperties, expected at most {PATTERNS}")
            multiples += _digits(multiple) if isinstance(multiple, int | float) else 0
        elif isinstance(part, list):
            left += part
        if multiples > MULTIPLES:
            raise RequestError(
                f"the schema's multipleOf, decimals written without a point, sum to more than {MULTIPLES}; "
                "leave some out"
            )
        if objects > OBJECTS:
            raise RequestError(f"the schema has more than {OBJECTS} objects; give a smaller one")


def _digits(number: float) -> float:
    """Return a number, or its digits without the decimal point as a number, whichever is larger."""
    if isinstance(number, float) and math.isfinite(number):
        return max(abs(number), int("".join(map(str, Decimal(str(number)).as_tuple().digits))))
    return abs(number) if isinstance(number, int) else math.inf


def _line(error: Exception | str) -> str:
    return " ".join(str(error).replace("<non-verbose/>", "").split())[:300]
