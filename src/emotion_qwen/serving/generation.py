"""One answer on its way: how it is to be written, what is told of it, and the choice of its next token."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from emotion_qwen.inference.constrained import Constraint
from emotion_qwen.serving.tokens import Writer


@dataclass(frozen=True)
class Sampling:
    """How an answer is written.

    Attributes:
        max_tokens: at most so many tokens.
        temperature: 0 takes the likeliest token.
        top_p: only the likeliest tokens that together have this share.
        seed: of the choice; None takes another one each time.
        stop: texts at which the answer ends.
        logprobs: how many of the likeliest tokens are told with each token; None tells none.
        ignore_eos: go on behind the end of the answer, for measurements.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
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
class Piece:
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
        inputs: of one conversation, as the processor returns them; dropped once they have been read.
        sampling: how it is written.
        notify: called with every `Piece`, from the scheduler's thread; must not block.
        constraint: what the answer is held to.
        deadline: `time.monotonic()` at which it ends.
    """

    inputs: dict[str, torch.Tensor]
    sampling: Sampling
    notify: Callable[[Piece], None]
    constraint: Constraint | None = None
    deadline: float = math.inf
    cancelled: bool = False
    tokens: list[int] = field(default_factory=list)
    delta: int = 0
    """What the next place is ahead of the number of tokens; visuals take fewer places than tokens."""
    finished: bool = False

    def __post_init__(self) -> None:
        self.prompt_tokens: int = self.inputs["input_ids"].shape[1]
        self.writer = Writer(self.sampling.stop)
        self._random: torch.Generator | None = None
        if self.sampling.temperature > 0:
            self._random = torch.Generator()
            self._random.manual_seed(self.sampling.seed) if self.sampling.seed is not None else self._random.seed()

    @property
    def plain(self) -> bool:
        """Whether the likeliest token is taken every time, whatever it is."""
        return self.constraint is None and self._random is None

    def cancel(self) -> None:
        """Ask for the end; the row is free after the token that is being written."""
        self.cancelled = True

    def choose(self, logits: torch.Tensor) -> int:
        """Choose a token from (vocabulary,) logits, by constraint, temperature, share and the request's own chance.

        The chance is drawn on the CPU, so that a seed draws the same words on every device.

        Raises:
            RequestError: the schema turned out to be too complex to be kept.
        """
        if self.constraint is not None:
            logits = self.constraint.hold(logits)
        if self._random is None:
            return int(logits.argmax())
        shares, order = ((logits - logits.max()) / self.sampling.temperature).softmax(-1), None
        if self.sampling.top_p < 1:
            shares, order = shares.sort(descending=True)
            shares = shares * (shares.cumsum(-1) - shares < self.sampling.top_p)  # the likeliest one is always kept
        sums = shares.cumsum(-1)
        point = torch.rand(1, generator=self._random).to(sums.device) * sums[-1]
        place = int(torch.searchsorted(sums, point, right=True))
        if place == len(sums):  # the point was rounded up to the sum of all
            place = int(shares.argmax())
        return place if order is None else int(order[place])

    def share(self, logits: torch.Tensor, token: int) -> TokenShare | None:
        """Return what is told of a token that was chosen from (vocabulary,) logits; None if nothing was asked for."""
        asked = self.sampling.logprobs
        if asked is None:
            return None
        told = logits.log_softmax(-1)
        values, tokens = told.topk(asked)
        return TokenShare(token, float(told[token]), tuple(zip(tokens.tolist(), values.tolist(), strict=True)))
