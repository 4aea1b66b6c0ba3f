"""Labelled comments as a part of a mixture, with questions about the emotion of the writer."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emotion_qwen.errors import DataError
from emotion_qwen.records import Sample
from recipes.nano.questions import ask_text, ask_texts


@dataclass(frozen=True, eq=False)
class TextsPart:
    """Labelled comments without a picture, with questions about the emotion of the writer.

    Args:
        name: of the part.
        domain: "emotion" or "general".
        texts: the comments.
        labels: one per comment.
        seed: seed of the questions.
        turns: number of comments per conversation; with several, only the first has a question, which teaches more per
            token.
    """

    name: str
    domain: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    seed: int = 0
    turns: int = 1

    @property
    def identity(self) -> str:
        """A hash of the texts and labels, and of the turns if there are several."""
        more = (str(self.turns),) if self.turns > 1 else ()
        return hashlib.sha256("\n".join((*self.texts, *self.labels, *more)).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return -(-len(self.texts) // self.turns)

    def sample(self, index: int, turn: int) -> Sample:
        """Return comment `index`, or a conversation about several, with the questions of this turn."""
        rng = random.Random(f"{self.seed}/{index}/{turn}")
        if self.turns == 1:
            exchanges, labels = [ask_text(self.texts[index], self.labels[index], rng)], {"emotion": self.labels[index]}
        else:
            rows = [rng.randrange(len(self.texts)) for _ in range(self.turns)]
            exchanges, labels = ask_texts([(self.texts[row], self.labels[row]) for row in rows], rng), {}
        messages: list[dict[str, Any]] = []
        for exchange in exchanges:
            messages.append({"role": "user", "content": exchange.question})
            messages.append({"role": "assistant", "content": exchange.answer})
        return Sample(f"{self.name}/{index}/{turn}", tuple(messages), labels)


def balanced(rows: Sequence[tuple[Any, str]], power: float) -> list[tuple[Any, str]]:
    """Repeat the rows of rarer labels: 0 leaves the rows unchanged, 1 gives every label as many as the most common one.

    Args:
        rows: (content, label) pairs.
        power: a label with n rows gets n (N / n)^power rows, where N is the number of the most common one.

    Raises:
        DataError: the power is not between 0 and 1.
    """
    if not 0 <= power <= 1:
        raise DataError(f"balance {power}; expected 0 (original frequencies) to 1 (equal frequencies)")
    by_label: dict[str, list[tuple[Any, str]]] = {}
    for row in rows:
        by_label.setdefault(row[1], []).append(row)
    most = max(map(len, by_label.values()))
    wanted = {label: round(len(rows) * (most / len(rows)) ** power) for label, rows in by_label.items()}
    return [rows[place % len(rows)] for label, rows in by_label.items() for place in range(wanted[label])]
