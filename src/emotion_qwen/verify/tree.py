"""Compare trees of attributes, such as {"attributes": {"mouth": "smile"}, "expression": "smiling", "emotion": "happy"}.

A tree counts as its set of leaves, each with the path to it. The similarity of two trees is that of these sets (F1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emotion_qwen.errors import DataError

Leaf = tuple[tuple[str, ...], str]
"""The path to a value, and the value, in lower case."""


@dataclass(frozen=True)
class Overlap:
    """Agreement of a predicted and a correct tree; all between 0 and 1.

    Attributes:
        precision: share of the predicted leaves that are correct.
        recall: share of the correct leaves that were predicted.
    """

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """Their harmonic mean; 0 if both are."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def leaves_of(tree: Any) -> set[Leaf]:
    """Return the leaves of a tree of mappings, lists and plain values; empty texts, None and False are no leaves.

    The order in a list does not matter. True is the leaf "true".
    """
    return set(_leaves(tree, ()))


def steps_tree(steps: Mapping[str, Any]) -> dict[str, Any]:
    """Return steps of reasoning as a tree: a text that lists things, separated by semicolons, becomes a list."""
    return {step: re.split("[;；]", text) if isinstance(text, str) else text for step, text in steps.items()}


def tree_overlap(predicted: Any, right: Any, level: str = "") -> Overlap:
    """Compare two trees leaf by leaf.

    Args:
        predicted: a tree; anything without leaves scores 0.
        right: the correct tree.
        level: compare only the leaves under this first key, such as "attributes"; "" compares all.

    Raises:
        DataError: the correct tree has no leaf (at that level), so nothing can be scored.
    """
    given, wanted = ({leaf for leaf in leaves_of(tree) if not level or leaf[0][:1] == (level,)}
                     for tree in (predicted, right))  # fmt: skip
    if not wanted:
        raise DataError(f"the correct tree has no leaf{f' at level {level!r}' if level else ''}; leave it out")
    shared = len(given & wanted)
    return Overlap(shared / len(given) if given else 0.0, shared / len(wanted))


def _leaves(tree: Any, path: tuple[str, ...]) -> Iterator[Leaf]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _leaves(value, (*path, _plain(key)))
    elif isinstance(tree, Sequence) and not isinstance(tree, str | bytes):
        for value in tree:
            yield from _leaves(value, path)
    elif tree is not None and tree is not False and _plain(tree):
        yield path, _plain(tree)


def _plain(value: Any) -> str:
    return " ".join(str(value).lower().split())
