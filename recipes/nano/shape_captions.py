"""Conversations about drawn scenes for training: several questions about one scene, often with a description of it.

A question teaches one or two words, a description every shape with its size, colour and position, and many questions
can be asked about one scene. Measured on nano, single questions are learned many times more slowly. Held-out questions
are asked alone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from emotion_qwen.errors import DataError, unknown_choice
from emotion_qwen.records import Sample
from recipes.nano.shape_interviews import COPYING, KINDS_TRAINED, ask, interview, place_words, size_word
from recipes.nano.shape_questions import shapes_item, translated
from recipes.nano.shapes import Background, Scene, Shape, render

DESCRIBE = {
    "en": ("Describe the picture.", "List all objects.", "What can be seen, and where?"),
    "zh": ("描述这张图片。", "列出所有物体。", "图中有什么，在哪里？"),
}
DESCRIBED = 0.5
"""Default share of the conversations that end with a description. It has more words than all short answers together,
which helps at first and hinders all later learning.
"""


def describe(scene: Scene, language: str) -> str:
    """Describe a scene: the number of shapes, then each from left to right with size, colour, kind and position."""
    ordered = sorted(scene.shapes, key=lambda shape: (shape.x, shape.y))
    descriptions = [_describe_shape(shape, language) for shape in ordered]
    return (
        f"{len(descriptions)}: {', '.join(descriptions)}."
        if language == "en"
        else f"{len(descriptions)}：{'，'.join(descriptions)}。"
    )


def _describe_shape(shape: Shape, language: str) -> str:
    size, (row, column) = size_word(shape, language), place_words(shape, language)
    colour, kind = translated(shape.colour, language), translated(shape.kind, language)
    if language == "en":
        return f"{size} {colour} {kind} {row} {column}"
    return f"{size}{colour}{kind}{row}{column}"


def shapes_conversation(
    index: int,
    split: str,
    language: str,
    questions: int,
    kinds: Sequence[str] = KINDS_TRAINED,
    side: int = 64,
    seed: int = 0,
    described: float = DESCRIBED,
) -> Sample:
    """Make one item in one language as a conversation: its own question among others, and sometimes a description.

    Args:
        index: of the item, as for `shapes_item`.
        split: "train", "validation" or "test".
        language: "en" or "zh".
        questions: maximum number of questions, including the item's own.
        kinds: kinds of the questions besides the item's own.
        side: side of the picture, in pixels.
        seed: seed of the scenes.
        described: share of the conversations that end with a description.

    Raises:
        DataError: the split or language is unknown, the index is negative, or the side is too small for shapes.
    """
    if language not in DESCRIBE:
        raise DataError(unknown_choice("language", language, DESCRIBE))
    item = shapes_item(index, split, seed)
    rng = random.Random(f"conversation/{seed}/{split}/{index}/{language}")
    drawn_question = item.questions[language]
    more = interview(item.scene, language, questions - 1, rng, kinds)
    turns = [(drawn_question.text, drawn_question.answer), *more]
    rng.shuffle(turns)
    if rng.random() < described:  # last: a question after a description could be answered without the picture
        turns.append((rng.choice(DESCRIBE[language]), describe(item.scene, language)))
    messages: list[dict] = []
    for question, answer in turns:
        content: list[dict] = [{"type": "text", "text": question}]
        if not messages:
            content.insert(0, {"type": "image", "image": render(item.scene, side)})
        messages += [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
    labels = {"shapes": drawn_question.kind, "answer": drawn_question.answer}
    name = f"shapes/{split}/{index}/{language}"
    return Sample(name, tuple(messages), labels, split, "shapes", "Apache-2.0")


def copying_conversation(
    index: int, split: str, language: str, questions: int, kinds: Sequence[str] = COPYING
) -> Sample:
    """Make a conversation without a picture, about words, lists and letters.

    Args:
        index: seed of the questions.
        split: "train", "validation" or "test".
        language: "en" or "zh".
        questions: number of questions.
        kinds: kinds of `COPYING`, with equal shares.
    """
    rng = random.Random(f"copying/{split}/{index}/{language}")
    scene = Scene((), Background((0, 0, 0), (0, 0, 0), 0.0))
    turns = [exchange for _ in range(questions) if (exchange := ask(rng.choice(kinds), scene, language, rng))]
    messages = [
        message
        for question, answer in turns
        for message in ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    ]
    return Sample(f"copying/{split}/{index}/{language}", tuple(messages), {}, split, "shapes", "Apache-2.0")
