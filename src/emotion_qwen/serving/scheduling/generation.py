"""A request for generation, its options and its outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from emotion_qwen.engine.encoding import ENCODED
from emotion_qwen.engine.sampling import Sampler, Sampling
from emotion_qwen.serving.scheduling.cache import Row
from emotion_qwen.serving.scheduling.tokens import Detokenizer


@dataclass(frozen=True)
class Options:
    """Options of an answer.

    Attributes:
        max_tokens: maximum length of the answer.
        stop: texts at which the answer ends.
        logprobs: number of likeliest tokens to return with each token; None returns no log-likelihoods.
        ignore_eos: continue after the end of the answer, for measurements.
    """

    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    ignore_eos: bool = False


@dataclass(frozen=True)
class TokenShare:
    """One token of an answer: its id, its log-likelihood, and the likeliest alternatives."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class GenerationOutput:
    """New text and tokens of an answer.

    Attributes:
        text: final text; may be empty.
        tokens: if requested.
        finish: "stop", "length", "cancelled", "timeout", "schema" (it became too complex) or "error"; None while
            the answer continues.
        count: tokens generated so far.
    """

    text: str
    tokens: tuple[TokenShare, ...] = ()
    finish: str | None = None
    count: int = 0


@dataclass(eq=False)
class Generation:
    """A request in the scheduler. `cancel` may be called from any thread.

    Args:
        inputs: of one conversation, as the processor returns them, with pixels or with the `ENCODED` media; dropped
            after prefill.
        notify: called with every `GenerationOutput`, from the scheduler's thread; must not block.
        options: of the answer.
        sampler: selects its tokens.
        deadline: value of `time.monotonic()` at which it times out.
    """

    inputs: dict[str, Any]
    notify: Callable[[GenerationOutput], None]
    options: Options = field(default_factory=Options)
    sampler: Sampler = field(default_factory=lambda: Sampler(Sampling()))
    deadline: float = math.inf
    cancelled: bool = False
    tokens: list[int] = field(default_factory=list)
    delta: int = 0
    """Offset of the next position from the number of tokens; visuals take fewer positions than tokens."""
    row: Row | None = None
    """Its row of the cache while it runs."""
    finished: bool = False

    def __post_init__(self) -> None:
        self.prompt_tokens: int = self.inputs["input_ids"].shape[1]
        self.encoded = ENCODED in self.inputs
        self.detokenizer = Detokenizer(self.options.stop)

    def cancel(self) -> None:
        """Request cancellation; the row is freed after the current token."""
        self.cancelled = True

    def share(self, logits: torch.Tensor, token: int) -> TokenShare | None:
        """Return the log-likelihoods of a token selected from (vocabulary,) logits; None if they were not requested."""
        count = self.options.logprobs
        if count is None:
            return None
        logprobs = logits.log_softmax(-1)
        values, tokens = logprobs.topk(count)
        return TokenShare(token, float(logprobs[token]), tuple(zip(tokens.tolist(), values.tolist(), strict=True)))
