"""Sample tokens from the logits of a model by temperature, top-p and seed, optionally within a JSON Schema."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import LogitsProcessor

from emotion_qwen.engine.constrained import Constraint, SchemaGuide
from emotion_qwen.errors import SettingsError

COLDEST, HOTTEST = 0.01, 100.0
_APART = 0x9E3779B97F4A7C15  # step between the seeds of rows; odd, so that the rows of a batch have different seeds


@dataclass(frozen=True)
class Sampling:
    """Sampling options.

    Attributes:
        temperature: 0 always chooses the likeliest token; 0.01 to 100 samples, where 1 is the model's distribution.
        seed: 0 to 2**63 - 1; the same seed gives the same tokens on every device. None uses a random seed.
        top_p: samples only from the likeliest tokens with this total probability, above 0 and at most 1.

    Raises:
        SettingsError: a number out of range.
    """

    temperature: float = 0.0
    seed: int | None = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not (self.temperature == 0 or COLDEST <= self.temperature <= HOTTEST):
            raise SettingsError(f"temperature {self.temperature}; expected 0, or {COLDEST} to {HOTTEST:g}")
        if self.seed is not None and not 0 <= self.seed < 2**63:
            raise SettingsError(f"seed {self.seed}; expected 0 to 2**63 - 1")
        if not 0 < self.top_p <= 1:
            raise SettingsError(f"top_p {self.top_p}; expected more than 0 and at most 1")


class Sampler:
    """Samples the tokens of one answer.

    Args:
        sampling: the options.
        constraint: of the answer; None allows free text.
        row: index in a batch whose rows share a seed.
    """

    def __init__(self, sampling: Sampling, constraint: Constraint | None = None, row: int = 0) -> None:
        self.sampling, self.constraint = sampling, constraint
        self._random: torch.Generator | None = None
        if sampling.temperature > 0:
            self._random = torch.Generator()  # on the CPU, so that a seed gives the same tokens on every device
            if sampling.seed is None:
                self._random.seed()
            else:
                self._random.manual_seed((sampling.seed + row * _APART) % 2**63)

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always chosen, without a constraint."""
        return self.constraint is None and self._random is None

    @property
    def complete(self) -> bool:
        """Whether a constraint allows only the end."""
        return self.constraint is not None and self.constraint.complete

    def choose(self, logits: torch.Tensor) -> int:
        """Choose a token from (vocabulary,) logits.

        Raises:
            RequestError: the schema is too complex.
        """
        if self.constraint is not None:
            logits = self.constraint.hold(logits)
        if self._random is None:
            return int(logits.argmax())
        shares, order = ((logits - logits.max()) / self.sampling.temperature).softmax(-1), None
        if self.sampling.top_p < 1:
            shares, order = shares.sort(descending=True)
            shares = shares * (shares.cumsum(-1) - shares < self.sampling.top_p)  # the likeliest token is always kept
        sums = shares.cumsum(-1)
        point = torch.rand(1, generator=self._random).to(sums.device) * sums[-1]
        place = int(torch.searchsorted(sums, point, right=True))
        if place == len(sums):  # the random point was rounded up to the total
            place = int(shares.argmax())
        return place if order is None else int(order[place])

    def take(self, token: int) -> None:
        """Advance by the chosen token.

        Raises:
            RequestError: the token does not fit the constraint.
        """
        if self.constraint is not None:
            self.constraint.take(token)


class SamplerProcessor(LogitsProcessor):
    """A logits processor for transformers with which greedy `generate` produces the tokens chosen by `Sampler`.

    Not for beam search, which reorders rows.

    Args:
        sampling: options for all rows.
        grammar: constraint for all rows; None allows free text.
        first: index of the first row among all rows with the same seed.
    """

    def __init__(self, sampling: Sampling, grammar: SchemaGuide | None = None, first: int = 0) -> None:
        self._sampling, self._grammar, self._first = sampling, grammar, first
        self._rows: list[Sampler] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return (B, V) scores that allow only the chosen tokens.

        Args:
            input_ids: (B, L) prompt and generated tokens; one more with every call.
            scores: (B, V) logits of the next token.
        """
        if self._rows:
            for row, token in zip(self._rows, input_ids[:, -1].tolist(), strict=True):
                row.take(token)
        else:
            begin = self._grammar.begin if self._grammar else lambda: None
            self._rows = [Sampler(self._sampling, begin(), self._first + row) for row in range(len(scores))]
        chosen = torch.full_like(scores, -torch.inf)
        for number, row in enumerate(self._rows):
            chosen[number, row.choose(scores[number])] = 0
        return chosen
