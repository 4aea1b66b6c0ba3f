"""Conversations about drawn scenes for training: the question, and a description of the whole scene beside it.

A question teaches one or two words, a description every shape with its size, colour and place. Measured on nano, the
questions alone are learned many times more slowly. Held-out questions are asked alone.
"""

from __future__ import annotations

import random

from emotion_qwen.data.shape_questions import shapes_item, translated
from emotion_qwen.data.shapes import LARGE, SMALL, Scene, Shape, render
from emotion_qwen.errors import DataError, unknown_choice
from emotion_qwen.records import Sample

DESCRIBE = {
    "en": ("Describe the picture.", "List all objects.", "What can be seen, and where?"),
    "zh": ("描述这张图片。", "列出所有物体。", "图中有什么，在哪里？"),
}
SIZES = {"en": ("small", "big"), "zh": ("小", "大")}
ACROSS = {"en": ("left", "centre", "right"), "zh": ("左", "中", "右")}
DOWN = {"en": ("top", "middle", "bottom"), "zh": ("上", "中", "下")}
ORDERS = ("question, description", "description, question", "question")
WEIGHTS = (0.6, 0.2, 0.2)
_LARGE_FROM = (SMALL[1] + LARGE[0]) / 2


def describe(scene: Scene, language: str) -> str:
    """Describe a scene: how many shapes, then each from left to right with size, colour, kind and place."""
    ordered = sorted(scene.shapes, key=lambda shape: (shape.x, shape.y))
    told = [_describe_shape(shape, language) for shape in ordered]
    return f"{len(told)}: {', '.join(told)}." if language == "en" else f"{len(told)}：{'，'.join(told)}。"


def _describe_shape(shape: Shape, language: str) -> str:
    size = SIZES[language][shape.radius >= _LARGE_FROM]
    column, row = ACROSS[language][min(int(shape.x * 3), 2)], DOWN[language][min(int(shape.y * 3), 2)]
    colour, kind = translated(shape.colour, language), translated(shape.kind, language)
    if language == "en":
        return f"{size} {colour} {kind} {row} {column}"
    return f"{size}{colour}{kind}{row}{column}"


def shapes_conversation(index: int, split: str, language: str, side: int = 64, seed: int = 0) -> Sample:
    """Make one item in one language as a conversation: its question, the description of the scene, or both.

    Args:
        index: of the item, as for `shapes_item`.
        split: "train", "validation" or "test".
        language: "en" or "zh".
        side: of the picture, pixels.
        seed: of the world.

    Raises:
        DataError: an unknown split or language, a negative index, or a side too small for shapes.
    """
    if language not in DESCRIBE:
        raise DataError(unknown_choice("language", language, DESCRIBE))
    item = shapes_item(index, split, seed)
    rng = random.Random(f"conversation/{seed}/{split}/{index}/{language}")
    question = item.questions[language]
    turns = {
        "question": (question.text, question.answer),
        "description": (rng.choice(DESCRIBE[language]), describe(item.scene, language)),
    }
    messages: list[dict] = []
    for name in rng.choices(ORDERS, WEIGHTS)[0].split(", "):
        asked, answer = turns[name]
        content: list[dict] = [{"type": "text", "text": asked}]
        if not messages:
            content.insert(0, {"type": "image", "image": render(item.scene, side)})
        messages += [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
    labels = {"shapes": question.kind, "answer": question.answer}
    name = f"shapes/{split}/{index}/{language}"
    return Sample(name, tuple(messages), labels, split, "shapes", "Apache-2.0")
