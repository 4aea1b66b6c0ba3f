"""One answer on its way: what is asked of it, and what is told of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from emotion_qwen.engine.encoding import ENCODED
from emotion_qwen.engine.sampling import Sampler, Sampling
from emotion_qwen.serving.scheduling.cache import Row
from emotion_qwen.serving.scheduling.tokens import Writer


@dataclass(frozen=True)
class Options:
    """What is asked of an answer.

    Attributes:
        max_tokens: at most so many tokens.
        stop: texts at which the answer ends.
        logprobs: how many of the likeliest tokens are told with each token; None tells none.
        ignore_eos: go on behind the end of the answer, for measurements.
    """

    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    ignore_eos: bool = False


@dataclass(frozen=True)
class TokenShare:
    """One token of an answer: its number, its log-likelihood, and the likeliest ones in its place."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class GenerationOutput:
    """What is new in an answer.

    Attributes:
        text: sure by now; may be empty.
        tokens: told if they were asked for.
        finish: "stop", "length", "cancelled", "timeout", "schema" (it was too complex to be kept) or "error"; None
            while the answer goes on.
        count: tokens written so far.
    """

    text: str
    tokens: tuple[TokenShare, ...] = ()
    finish: str | None = None
    count: int = 0


@dataclass(eq=False)
class Generation:
    """A request on its way. `cancel` may be called from any thread.

    Args:
        inputs: of one conversation, as the processor returns them, with pixels or with the `ENCODED` media; dropped
            once they have been read.
        notify: called with every `GenerationOutput`, from the scheduler's thread; must not block.
        options: what is asked of the answer.
        sampler: chooses its tokens.
        deadline: `time.monotonic()` at which it ends.
    """

    inputs: dict[str, Any]
    notify: Callable[[GenerationOutput], None]
    options: Options = field(default_factory=Options)
    sampler: Sampler = field(default_factory=lambda: Sampler(Sampling()))
    deadline: float = math.inf
    cancelled: bool = False
    tokens: list[int] = field(default_factory=list)
    delta: int = 0
    """What the next place is ahead of the number of tokens; visuals take fewer places than tokens."""
    row: Row | None = None
    """Its share of the cache, while it runs."""
    finished: bool = False

    def __post_init__(self) -> None:
        self.prompt_tokens: int = self.inputs["input_ids"].shape[1]
        self.encoded = ENCODED in self.inputs
        self.writer = Writer(self.options.stop)

    def cancel(self) -> None:
        """Ask for the end; the row is free after the token that is being written."""
        self.cancelled = True

    def share(self, logits: torch.Tensor, token: int) -> TokenShare | None:
        """Return what is told of a token that was chosen from (vocabulary,) logits; None if nothing was asked for."""
        count = self.options.logprobs
        if count is None:
            return None
        logprobs = logits.log_softmax(-1)
        values, tokens = logprobs.topk(count)
        return TokenShare(token, float(logprobs[token]), tuple(zip(tokens.tolist(), values.tolist(), strict=True)))
