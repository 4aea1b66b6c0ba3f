"""Hold a model to a grammar while it writes: what does not fit is given no chance, whatever the temperature.

Fixed texts are forced token by token. In a free slot the model chooses among the tokens that keep the text whole and
free of what is forbidden; after `max_tokens` the slot is closed at once. A choice is a trie of tokens. A slot is closed
by the first token of the text behind it. A model taught to write sentences says that it has finished by ending its
reply, or by a token such as `",` that runs over the border; the likelihood of these counts for the closing token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from transformers import LogitsProcessor

from emotion_qwen.errors import SettingsError
from emotion_qwen.inference.grammar import Choice, Free, Grammar, Literal, Part, checked
from emotion_qwen.inference.vocabulary import SlotRules, Vocabulary

LOWEST = 1e9  # in place of an infinite or undefined logit


@dataclass(frozen=True)
class _Forced:
    tokens: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Slot:
    rules: SlotRules
    max_tokens: int
    first: torch.Tensor | None
    """(V,) bool, which tokens may come first; None is any."""


@dataclass(eq=False)
class _Node:
    """A place in a trie of options."""

    children: dict[int, _Node] = field(default_factory=dict)
    ends: bool = False

    @property
    def longest(self) -> int:
        return max((1 + child.longest for child in self.children.values()), default=0)


Step = _Forced | _Slot | _Node


@dataclass(frozen=True)
class _Cursor:
    """Where a row stands: in which step; how many tokens into it; a slot's state of UTF-8; a choice's node."""

    step: int
    tokens: int = 0
    state: int = 0
    node: _Node | None = None


class StructuredSampler(LogitsProcessor):
    """A logits processor of transformers under which every row writes what its grammar describes, and then ends.

    It works greedily and with any temperature, top-k or top-p, and on batches whose rows are at different places. Where
    a row stands follows from its tokens alone, so that rows may be reordered.

    Args:
        grammar: of all rows, or a list of one for each.
        vocabulary: of the model's tokenizer.
        prompt: tokens of the padded prompt, which are not looked at.
        ends: tokens that end a reply; the first is written.

    Raises:
        SettingsError: a grammar that cannot be held.
    """

    def __init__(
        self, grammar: Grammar | Sequence[Grammar], vocabulary: Vocabulary, prompt: int, ends: Sequence[int]
    ) -> None:
        several = grammar and isinstance(grammar[0], Sequence)
        self.prompt, self.ends, self._vocabulary = prompt, list(ends), vocabulary
        self._plans = [self._plan(checked(one)) for one in (grammar if several else [grammar])]  # type: ignore[arg-type,list-item]
        self._known: dict[tuple[int, tuple[int, ...]], _Cursor] = {}
        self._wishes: dict[int, torch.Tensor] = {}

    @property
    def max_new_tokens(self) -> int:
        """The most tokens that a row can have, its end included."""
        return max(sum(map(_longest, plan)) for plan in self._plans)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return (B, V) scores in which only what fits has a chance, the likeliest of it at 0.

        Args:
            input_ids: (B, L), prompt and what was written.
            scores: (B, V) logits of the next token.
        """
        chances, known = torch.full_like(scores, -torch.inf), {}
        rows = input_ids[:, self.prompt :].tolist()
        for row, written in enumerate(rows):
            number = row * len(self._plans) // len(rows)  # beams of one prompt stand side by side
            cursor = known[number, tuple(written)] = self._place(number, written)
            chances[row] = self._chances(self._plans[number], cursor, scores[row])
        self._known = known
        return chances

    def _place(self, number: int, written: list[int]) -> _Cursor:
        plan, before = self._plans[number], self._known.get((number, tuple(written[:-1])))
        if written and before is not None:
            return _advance(plan, before, written[-1])
        cursor = _enter(plan, 0)
        for token in written:
            cursor = _advance(plan, cursor, token)
        return cursor

    def _chances(self, plan: list[Step], cursor: _Cursor, scores: torch.Tensor) -> torch.Tensor:
        chances = torch.full_like(scores, -torch.inf)
        if cursor.step == len(plan):
            chances[self.ends[0]] = 0
            return chances
        step = plan[cursor.step]
        if isinstance(step, _Forced):
            chances[step.tokens[cursor.tokens]] = 0
            return chances
        scores = scores.nan_to_num(-LOWEST, LOWEST, -LOWEST)
        if isinstance(step, _Slot):
            allowed = step.rules.needed[cursor.state].to(scores.device) < step.max_tokens - cursor.tokens
            if step.first is not None and not cursor.tokens:
                allowed &= step.first.to(scores.device)
            chances = scores.where(allowed, chances)
        elif cursor.node:
            children = list(cursor.node.children)
            chances[children] = scores[children]
        close = _closing(plan, cursor)
        if close is not None:
            chances[close] = scores[self._wish(close).to(scores.device)].logsumexp(0).clamp(-LOWEST, LOWEST)
        return chances - chances.max()  # so that no temperature makes all of it vanish

    def _wish(self, close: int) -> torch.Tensor:
        """Return (V,) bool, the tokens that say: I have finished."""
        if close not in self._wishes:
            text = self._vocabulary.texts[close]
            wish = self._vocabulary.beginning(text[0]) if text else torch.zeros(self._vocabulary.size, dtype=torch.bool)
            wish[[close, *self.ends]] = True
            self._wishes[close] = wish
        return self._wishes[close]

    def _plan(self, grammar: Sequence[Part]) -> list[Step]:
        return [*map(self._step, grammar), _Forced((self.ends[0],))]

    def _step(self, part: Part) -> Step:
        if isinstance(part, Literal):
            return _Forced(self._vocabulary.encode(part.text))
        if isinstance(part, Choice):
            return _trie([self._vocabulary.encode(option) for option in part.options])
        return self._slot(part)

    def _slot(self, part: Free) -> _Slot:
        rules = self._vocabulary.rules(part.forbidden)
        first = self._vocabulary.beginning(ord(part.begins)) if part.begins else None
        fitting = rules.needed[0] < part.max_tokens
        if not (fitting if first is None else fitting & first).any():
            raise SettingsError(f"no token fits a slot of {part.max_tokens} tokens that begins with {part.begins!r}")
        return _Slot(rules, part.max_tokens, first)


def _trie(options: Sequence[tuple[int, ...]]) -> _Node:
    root = _Node()
    for option in options:
        node = root
        for token in option:
            node = node.children.setdefault(token, _Node())
        node.ends = True
    return root


def _longest(step: Step) -> int:
    if isinstance(step, _Forced):
        return len(step.tokens)
    return step.max_tokens if isinstance(step, _Slot) else step.longest


def _enter(plan: list[Step], number: int) -> _Cursor:
    step = plan[number] if number < len(plan) else None
    return _Cursor(number, node=step if isinstance(step, _Node) else None)


def _closing(plan: list[Step], cursor: _Cursor) -> int | None:
    """Return the token that leaves a slot or choice here; None where it cannot be left."""
    step, after = plan[cursor.step], plan[cursor.step + 1]
    assert isinstance(after, _Forced)  # `checked` has seen to it
    whole = cursor.node.ends if cursor.node else isinstance(step, _Slot) and cursor.tokens > 0 and cursor.state == 0
    return after.tokens[0] if whole else None


def _advance(plan: list[Step], cursor: _Cursor, token: int) -> _Cursor:
    """Return where a row stands after one more token."""
    if cursor.step == len(plan):
        return cursor  # it has ended; what comes is padding
    step, tokens = plan[cursor.step], cursor.tokens + 1
    if isinstance(step, _Forced):
        if token == step.tokens[cursor.tokens]:
            return _enter(plan, cursor.step + 1) if tokens == len(step.tokens) else _Cursor(cursor.step, tokens)
    elif cursor.node and token in cursor.node.children:
        child = cursor.node.children[token]
        return _Cursor(cursor.step, tokens, node=child) if child.children else _enter(plan, cursor.step + 1)
    elif token == _closing(plan, cursor):
        return _advance(plan, _enter(plan, cursor.step + 1), token)
    elif isinstance(step, _Slot) and (state := int(step.rules.after[cursor.state, token])) >= 0:
        full = tokens == step.max_tokens
        return _enter(plan, cursor.step + 1) if full else _Cursor(cursor.step, tokens, state)
    raise SettingsError(f"token {token} does not fit the grammar; nothing may change the scores behind this processor")
