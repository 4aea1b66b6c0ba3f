"""The drawn shapes world as items of a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emotion_qwen.evaluation.task import Item

SHAPES_SIDE = 64
SHAPES_ITEMS = 5000


@dataclass(frozen=True)
class DrawnShapes:
    """Questions about drawn scenes, each with its own words and choices; drawn anew from their number every time."""

    count: int = SHAPES_ITEMS
    side: int = SHAPES_SIDE

    def check(self, data: Path | None) -> None:
        """See `Source`; scenes need no data."""

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """See `Source`; scenes keep their own side, on which the smallest shape is still to be seen.

        A limit takes the first ones: kinds of question follow each other with the number, so steps could skip some.
        """
        from emotion_qwen.data.shape_questions import shapes_item
        from emotion_qwen.data.shapes import render

        items = []
        for index in range(self.count if limit is None else min(limit, self.count)):
            drawn = shapes_item(index, split)
            part = {"type": "image", "image": render(drawn.scene, self.side)}
            for language in languages:
                asked = drawn.questions[language]
                name = f"shapes/{split}/{index}"
                items.append(Item(name, language, (part,), asked.text, asked.choices, asked.answer, asked.kind))
        return items
