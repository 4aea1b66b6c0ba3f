"""Several prompts about one visual, and their answers, as one sequence: the tree of their common beginnings.

The visual has been processed by the language model and is in a cache. The rest (the words, the context, the question
and the answers) differs between prompts, but often begins alike. Every token of the tree attends to the
cache and to the tokens before it on its own branch only (SpecInfer, Miao et al., 2024, arXiv:2305.09781, section 4). A
common token is thus processed once, no row is padded to the length of another, and the cache is not copied per prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

SPARE = 64
"""Maximum number of padding tokens in a group of trees."""
ROOT = -1
Tokens = Sequence[int]


@dataclass(eq=False)
class PromptTree:
    """The tokens after one cached visual.

    Attributes:
        tokens: (Q,) ids.
        parents: (Q,) the token before each on its branch; `ROOT` for the cache.
        positions: (Q,) three-dimensional positions.
        sounds: token -> its encoded sound (hidden,), instead of an embedding.
        ends: per prompt, its row in the batch and its last token.
        answers: per prompt and answer, the tokens whose states predict the second and later tokens of the answer.
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    positions: list[tuple[int, ...]] = field(default_factory=list)
    sounds: dict[int, torch.Tensor] = field(default_factory=dict)
    ends: list[tuple[int, int]] = field(default_factory=list)
    answers: list[list[list[int]]] = field(default_factory=list)
    _children: dict[tuple, int] = field(default_factory=dict)

    def add(self, row: int, prompt: PromptRest, answers: Sequence[Tokens]) -> None:
        """Add a prompt, which is a row of the batch, with its answers."""
        place = ROOT
        for number, (token, position) in enumerate(zip(prompt.tokens, prompt.positions, strict=True)):
            place = self._next(place, token, position, prompt.sounds.get(number))
        self.ends.append((row, place))
        self.answers.append([self._follow(place, answer[:-1], prompt.following) for answer in answers])

    def _follow(self, place: int, tokens: Tokens, following: int) -> list[int]:
        path = []
        for depth, token in enumerate(tokens):
            place = self._next(place, token, (following + depth,) * 3, None)
            path.append(place)
        return path

    def _next(self, parent: int, token: int, position: tuple[int, ...], sound: tuple[torch.Tensor, int] | None) -> int:
        # Placeholders of different sounds are the same token.
        key = parent, token, position, sound and (id(sound[0]), sound[1])
        if key not in self._children:
            self._children[key] = len(self.tokens)
            if sound is not None:
                self.sounds[len(self.tokens)] = sound[0][sound[1]]
            self.tokens.append(token)
            self.parents.append(parent)
            self.positions.append(position)
        return self._children[key]

    def visible(self, length: int) -> np.ndarray:
        """Return (length, length) bool, which tokens each token attends to; padding attends to itself."""
        seen = np.eye(length, dtype=bool)
        for place, parent in enumerate(self.parents):
            if parent != ROOT:
                seen[place] |= seen[parent]
        return seen


@dataclass(frozen=True, eq=False)
class PromptRest:
    """The part of a prompt after the cached visual.

    Attributes:
        tokens: ids.
        positions: three-dimensional position of each.
        sounds: token -> the encoded sound that it belongs to (n, hidden), and its row there.
        following: position of the first token of an answer.
    """

    tokens: list[int]
    positions: list[tuple[int, ...]]
    sounds: dict[int, tuple[torch.Tensor, int]]
    following: int


def prompt_rests(
    ids: torch.Tensor, starts: torch.Tensor, positions: torch.Tensor, following: torch.Tensor,
    audio: tuple[int | None, Sequence[torch.Tensor]],
) -> Iterator[PromptRest]:  # fmt: skip
    """Extract the uncached part of prompts that are padded on the left.

    Args:
        ids: (B, L).
        starts: (B,) first column that is not in the cache.
        positions: (3, B, L).
        following: (B, 1) position of the first token of an answer.
        audio: the id of a sound's placeholder, and the encoded sounds of all prompts in order.
    """
    pad, encoded = audio
    sounds = iter([(sound, number) for sound in encoded for number in range(len(sound))])
    first = int(starts.min())
    columns = (ids[:, first:], starts - first, positions[:, :, first:].permute(1, 2, 0), following[:, 0])
    for tokens, start, places, after in zip(*(column.tolist() for column in columns), strict=True):
        rest = tokens[start:]
        heard = {number: next(sounds) for number, token in enumerate(rest) if token == pad}
        yield PromptRest(rest, [tuple(place) for place in places[start:]], heard, after)


def alike(trees: Sequence[PromptTree]) -> Iterator[list[int]]:
    """Divide trees into groups of similar size, which are processed together."""
    order = sorted(range(len(trees)), key=lambda place: len(trees[place].tokens))
    group: list[int] = []
    for place in order:
        size = len(trees[place].tokens)
        if group and sum(size - len(trees[other].tokens) for other in group) > SPARE:
            yield group
            group = []
        group.append(place)
    if group:
        yield group


@dataclass(frozen=True, eq=False)
class TreeBatch:
    """Trees of similar size as tensors: T trees, at most Q tokens each.

    Attributes:
        ids: (T, Q), padded on the right.
        positions: (3, T, Q).
        visible: (T, Q, Q) bool, which tokens of the tree each token attends to.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    visible: torch.Tensor

    @classmethod
    def of(cls, trees: Sequence[PromptTree], device: torch.device) -> TreeBatch:
        """Join trees."""
        length = max(len(tree.tokens) for tree in trees)
        ids = np.zeros((len(trees), length), dtype=np.int64)
        positions = np.zeros((3, len(trees), length), dtype=np.int64)
        for row, tree in enumerate(trees):
            ids[row, : len(tree.tokens)] = tree.tokens
            positions[:, row, : len(tree.tokens)] = np.array(tree.positions).T
        visible = np.stack([tree.visible(length) for tree in trees])
        return cls(*(torch.from_numpy(values).to(device) for values in (ids, positions, visible)))
