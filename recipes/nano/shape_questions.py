"""Questions about the drawn shapes of `shapes`, in English and Chinese, each with exactly one correct short answer.

An item plans its answer before its scene: the answers of a kind follow in shuffled order, each equally often, and the
scene is drawn so that the planned one is correct. Hence no constant answer is better than chance. Both languages ask
about the same `Fact`; the wording is drawn from paraphrases. A question whose shapes could be confused, or whose answer
is debatable (nearly the middle, nearly the same size), is never asked.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

from emotion_qwen.errors import DataError, unknown_choice
from emotion_qwen.questions import LANGUAGES
from emotion_qwen.records import Sample
from recipes.nano.shapes import (
    COLOUR_NAMES,
    KINDS,
    MOST_SHAPES,
    Reference,
    Scene,
    clearly_larger,
    draw_scene,
    group,
    paint,
    render,
    tell_apart,
)

KINDS_ASKED = ("colour", "kind", "count", "position", "comparison", "existence", "yes_no", "choice")
SPLITS = ("train", "validation", "test")

COUNTS = tuple(str(number) for number in range(1, MOST_SHAPES + 1))
LETTERS = ("A", "B", "C", "D")
YES_NO = ("yes", "no")

_CHINESE = {
    "red": "红色", "orange": "橙色", "yellow": "黄色", "green": "绿色",
    "blue": "蓝色", "purple": "紫色", "pink": "粉色", "white": "白色",
    "circle": "圆形", "square": "方形", "triangle": "三角形", "star": "星形", "cross": "十字形", "ring": "圆环",
    "left": "左", "right": "右", "top": "上", "bottom": "下", "above": "上", "below": "下",
    "yes": "是的", "no": "不是",  # not 是 and 否, which are adjacent in every question of that kind
}  # fmt: skip
_RANKS = {"largest": "最大的", "smallest": "最小的"}
RANKED_SHARE = 0.3
CLEARLY_ASIDE = 0.14
CLEARLY_APART = 0.2
UNEQUAL = ((2, 1), (3, 1), (3, 2), (4, 1))

WORDS: dict[str, tuple[str, ...]] = {
    "en": (*_CHINESE, *COUNTS, *LETTERS),
    "zh": (*dict.fromkeys(_CHINESE.values()), *COUNTS, *LETTERS),
}
"""Every word that can be an answer, by language; the tokenizer must not split them."""

_FORMS = {
    "en": {
        "colour": ("What colour is {first}?", "Which colour does {first} have?", "Name the colour of {first}."),
        "kind": ("What shape is {first}?", "Which shape does {first} have?", "Name the shape of {first}."),
        "count": ("How many {firsts} are there?", "Count the {firsts}.", "What is the number of {firsts}?"),
        "side": ("Is {first} on the left or the right?", "Which half holds {first}, left or right?",
                 "Where is {first}: left or right?"),
        "height": ("Is {first} at the top or the bottom?", "Which half holds {first}, top or bottom?",
                   "Where is {first}: top or bottom?"),
        "beside": ("Is {first} left or right of {second}?", "Where is {first}, left or right of {second}?",
                   "Seen from {second}, is {first} to the left or right?"),
        "level": ("Is {first} above or below {second}?", "Where is {first}, above or below {second}?",
                  "Seen from {second}, is {first} above or below?"),
        "larger": ("Which is larger, {first} or {second}?", "Which one is bigger, {first} or {second}?",
                   "Of {first} and {second}, which is larger?"),
        "smaller": ("Which is smaller, {first} or {second}?", "Which has the lesser size, {first} or {second}?",
                    "Of {first} and {second}, which is smaller?"),
        "more": ("Are there more {firsts} or {seconds}?", "Which are more: {firsts} or {seconds}?",
                 "Do you see more {firsts} or more {seconds}?"),
        "outnumber": ("Are there more {firsts} than {seconds}?", "Do you see more {firsts} than {seconds}?",
                      "Do the {firsts} outnumber the {seconds}?"),
        "existence": ("Is there {a_first}?", "Can you see {a_first}?", "Does the picture show {a_first}?"),
    },
    "zh": {
        "colour": ("{first}是什么颜色？", "{first}的颜色是什么？", "说出{first}的颜色。"),
        "kind": ("{first}是什么形状？", "{first}的形状是什么？", "说出{first}的形状。"),
        "count": ("有几个{first}？", "数一数{first}。", "{first}的数量是多少？"),
        "side": ("{first}在左边还是右边？", "{first}位于哪一半，左还是右？", "{first}在哪里：左还是右？"),
        "height": ("{first}在上边还是下边？", "{first}位于哪一半，上还是下？", "{first}在哪里：上还是下？"),
        "beside": ("{first}在{second}的左边还是右边？", "{first}在{second}的哪一侧，左还是右？",
                   "与{second}相比，{first}在左还是右？"),
        "level": ("{first}在{second}的上边还是下边？", "{first}在{second}的哪一方，上还是下？",
                  "与{second}相比，{first}在上还是下？"),
        "larger": ("{first}和{second}哪个更大？", "哪个比较大：{first}还是{second}？",
                   "{first}与{second}中较大的是哪个？"),
        "smaller": ("{first}和{second}哪个更小？", "哪个比较小：{first}还是{second}？",
                    "{first}与{second}中较小的是哪个？"),
        "more": ("{first}和{second}哪种更多？", "哪种比较多：{first}还是{second}？",
                 "{first}与{second}中较多的是哪种？"),
        "outnumber": ("{first}是否比{second}多？", "{first}是否多于{second}？", "与{second}相比，{first}是否更多？"),
        "existence": ("是否有{first}？", "图中是否有{first}？", "能否看到{first}？"),
    },
}  # fmt: skip
_STATEMENTS = {
    "en": {
        "colour": ("Is {first} {value}?", "Does {first} have the colour {value}?", "Is {value} the colour of {first}?"),
        "kind": ("Is {first} {a_value}?", "Is {first} in the shape of {a_value}?", "Is {a_value} what {first} is?"),
        "count": ("Is the number of {firsts} {value}?", "Is {value} the number of {firsts}?",
                  "Does counting the {firsts} give {value}?"),
        "side": ("Is {first} in the {value} half?", "Does the {value} half hold {first}?",
                 "Is {first} found in the {value} half?"),
        "beside": ("Is {first} {value} of {second}?", "Is {first} to the {value} of {second}?",
                   "Does {first} lie {value} of {second}?"),
        "level": ("Is {first} {value} {second}?", "Does {first} lie {value} {second}?",
                  "Can {first} be seen {value} {second}?"),
    },
    "zh": {
        "colour": ("{first}是否是{value}？", "{first}的颜色是否为{value}？", "{value}是否是{first}的颜色？"),
        "kind": ("{first}是否是{value}？", "{first}的形状是否为{value}？", "{value}是否是{first}的形状？"),
        "count": ("{first}的数量是否为{value}？", "是否恰好有{value}个{first}？", "{first}是否有{value}个？"),
        "side": ("{first}是否在{value}边？", "{first}是否位于{value}半边？", "{value}半边是否有{first}？"),
        "beside": ("{first}是否在{second}的{value}边？", "{first}是否位于{second}的{value}侧？",
                   "与{second}相比，{first}是否在{value}边？"),
        "level": ("{first}是否在{second}的{value}边？", "{first}是否位于{second}的{value}方？",
                  "与{second}相比，{first}是否在{value}边？"),
    },
}  # fmt: skip
for _table in _STATEMENTS.values():
    _table["height"] = _table["side"]

CHANCE: dict[str, float] = {
    "colour": 100 / len(COLOUR_NAMES),
    "kind": 100 / len(KINDS),
    "count": 100 / len(COUNTS),
    **dict.fromkeys(("position", "comparison", "existence", "yes_no"), 50.0),
    "choice": 100 / len(LETTERS),
}
"""Accuracy in percent of guessing among the choices of a question, by kind."""


@dataclass(frozen=True)
class Fact:
    """The content of a question and its correct answer, independent of language; words are the English ones of `WORDS`.

    Attributes:
        form: row of the table of wordings.
        references: the shapes it refers to, first and second.
        answer: one of `choices`.
        choices: every possible answer.
        value: what a statement claims; empty for an open question.
        options: meanings of the letters, in order; empty unless letters are the choices.
    """

    form: str
    references: tuple[Reference, ...]
    answer: str
    choices: tuple[str, ...]
    value: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class ShapesQuestion:
    """A fact worded in one language. `kind` is one of `KINDS_ASKED`; `answer` is the correct one of `choices`."""

    kind: str
    language: str
    text: str
    answer: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class ShapesItem:
    """A scene and the question about it: the same `fact` in every language."""

    scene: Scene
    fact: Fact
    questions: dict[str, ShapesQuestion]


def shapes_item(index: int, split: str, seed: int = 0) -> ShapesItem:
    """Make one item, a pure function of seed, split and index; any index is valid.

    Args:
        index: 0 or more; the kinds of `KINDS_ASKED` alternate with it.
        split: one of `SPLITS`; no two share a random stream.
        seed: seed of all items.

    Raises:
        DataError: the split is unknown or the index is negative.
    """
    if split not in SPLITS:
        raise DataError(unknown_choice("split", split, SPLITS))
    if index < 0:
        raise DataError(f"item {index} of the shapes does not exist; count from 0")
    turn, place = divmod(index, len(KINDS_ASKED))
    kind = KINDS_ASKED[place]
    make, answers = _MAKERS[kind]
    # Answers follow in shuffled order: evenly distributed over the items, but not periodic in the index.
    order = list(range(answers))
    random.Random(f"shapes answers/{seed}/{split}/{kind}/{turn // answers}").shuffle(order)
    rng = random.Random(f"shapes/{seed}/{split}/{index}")
    scene, fact = make(rng, order[turn % answers])
    return ShapesItem(scene, fact, {language: word_fact(fact, kind, language, rng) for language in LANGUAGES})


def shapes_sample(index: int, split: str, language: str, side: int = 64, seed: int = 0) -> Sample:
    """Make one item in one language as a conversation about its picture, (side, side, 3) uint8.

    Raises:
        DataError: the split or language is unknown, the index is negative, or the side is too small for shapes.
    """
    if language not in LANGUAGES:
        raise DataError(unknown_choice("language", language, LANGUAGES))
    item = shapes_item(index, split, seed)
    question = item.questions[language]
    content = [{"type": "image", "image": render(item.scene, side)}, {"type": "text", "text": question.text}]
    return Sample(
        id=f"shapes/{split}/{index}/{language}",
        messages=({"role": "user", "content": content}, {"role": "assistant", "content": question.answer}),
        labels={"shapes": question.kind, "answer": question.answer},
        split=split,
        source="shapes",
        license="Apache-2.0",
    )


def word_fact(fact: Fact, kind: str, language: str, rng: random.Random) -> ShapesQuestion:
    """Word a fact with a random paraphrase."""
    table = _STATEMENTS if fact.value else _FORMS
    fields = {"value": translated(fact.value, language), "a_value": _with_article(fact.value, language)}
    for name, reference in zip(("first", "second"), fact.references, strict=False):
        named = phrase(reference, language)
        fields[name] = f"the {named}" if language == "en" else named
        fields[f"a_{name}"] = _with_article(named, language)
        fields[f"{name}s"] = named + ("es" if named.endswith("s") else "s")
    text = rng.choice(table[language][fact.form]).format(**fields)
    if fact.options:
        options = zip(LETTERS, fact.options, strict=True)
        text += "".join(f" {letter}. {translated(option, language)}" for letter, option in options)
    choices = tuple(translated(choice, language) for choice in fact.choices)
    return ShapesQuestion(kind, language, text, translated(fact.answer, language), choices)


def translated(word: str, language: str) -> str:
    """Return an English word of `WORDS` in a language."""
    return word if language == "en" else _CHINESE.get(word, word)


def phrase(reference: Reference, language: str) -> str:
    """Name the shape or group of a reference, without an article."""
    if language == "en":
        return " ".join(filter(None, (reference.rank, reference.colour, reference.kind or "object")))
    colour = f"{_CHINESE[reference.colour]}的" if reference.colour else ""
    rank = _RANKS[reference.rank] if reference.rank else ""
    return rank + colour + (_CHINESE[reference.kind] if reference.kind else "图形")


def _with_article(phrase: str, language: str) -> str:
    if language != "en":
        return translated(phrase, language)
    return f"{'an' if phrase[:1] in tuple('aeiou') else 'a'} {phrase}"


def _point_out(rng: random.Random, manner: str) -> tuple[Scene, int, Reference]:
    """Draw a scene and one of its shapes: sometimes named by its size if that is clear, else in the given manner."""
    scene = draw_scene(rng)
    if rng.random() < RANKED_SHARE:
        for rank, order in (
            ("largest", clearly_larger),
            ("smallest", lambda first, other: clearly_larger(other, first)),
        ):
            for place, shape in enumerate(scene.shapes):
                others = [other for other in scene.shapes if other is not shape]
                if others and all(order(shape, other) for other in others):
                    return scene, place, Reference(rank=rank)
    place = rng.randrange(len(scene.shapes))
    scene, (reference,) = tell_apart(rng, scene, [place], manner)
    return scene, place, reference


def _ask_colour(rng: random.Random, planned: int) -> tuple[Scene, Fact]:
    scene, place, reference = _point_out(rng, "kind")
    answer = COLOUR_NAMES[planned]
    return paint(scene, place, colour=answer), Fact("colour", (reference,), answer, COLOUR_NAMES)


def _ask_kind(rng: random.Random, planned: int) -> tuple[Scene, Fact]:
    scene, place, reference = _point_out(rng, "colour")
    return paint(scene, place, kind=KINDS[planned]), Fact("kind", (reference,), KINDS[planned], KINDS)


def _ask_count(rng: random.Random, planned: int) -> tuple[Scene, Fact]:
    number = planned + 1
    manner = rng.choice(("all", "kind", "colour"))
    if manner == "all":
        return draw_scene(rng, number), Fact("count", (Reference(),), COUNTS[planned], COUNTS)
    scene, references = group(rng, draw_scene(rng, rng.randint(number, MOST_SHAPES)), manner, (number,))
    return scene, Fact("count", references, COUNTS[planned], COUNTS)


def _ask_position(rng: random.Random, planned: int) -> tuple[Scene, Fact]:
    """Plan left, right, top or bottom; half of the questions ask for the position relative to another shape."""
    axis, towards = ("x", "y")[planned // 2], planned % 2
    between = rng.random() < 0.5
    while True:
        scene = draw_scene(rng)
        at = [getattr(shape, axis) * (1 if towards else -1) for shape in scene.shapes]
        middle = 0.5 if towards else -0.5
        if between:
            pairs = [[i, j] for i, j in permutations(range(len(at)), 2) if at[i] - at[j] >= CLEARLY_APART]
        else:
            pairs = [[i] for i in range(len(at)) if at[i] - middle >= CLEARLY_ASIDE]
        if pairs:
            break
    manner = rng.choice(("kind", "colour", "both"))
    scene, references = tell_apart(rng, scene, rng.choice(pairs), manner)
    form, choices = DIRECTIONS[axis, between]
    return scene, Fact(form, references, choices[towards], choices)


def _ask_comparison(rng: random.Random, planned: int) -> tuple[Scene, Fact]:
    form = rng.choice(("larger", "smaller", "more", "outnumber"))
    manner = "colour" if form == "more" else rng.choice(("kind", "colour"))
    if form in ("more", "outnumber"):
        sizes = rng.choice(UNEQUAL)
        scene, references = group(rng, draw_scene(rng, rng.randint(sum(sizes), MOST_SHAPES)), manner, sizes)
    else:
        scene, pair = _unlike_in_size(rng)
        scene, references = tell_apart(rng, scene, pair if form == "larger" else pair[::-1], manner)
    if planned:  # until here, the correct answer was named first
        references = references[::-1]
    words = tuple(getattr(reference, manner) for reference in references)
    choices = YES_NO if form == "outnumber" else words
    return scene, Fact(form, references, choices[planned], choices)


def _unlike_in_size(rng: random.Random) -> tuple[Scene, list[int]]:
    while True:
        scene = draw_scene(rng)
        pairs = permutations(range(len(scene.shapes)), 2)
        unlike = [[i, j] for i, j in pairs if clearly_larger(scene.shapes[i], scene.shapes[j])]
        if unlike:
            return scene, rng.choice(unlike)


def _ask_existence(rng: random.Random, planned: int) -> tuple[Scene, Fact]:
    """Ask about an existing shape, or about one that shares only kind or colour with an existing shape."""
    scene = draw_scene(rng)
    shape = rng.choice(scene.shapes)
    kind, colour = shape.kind, shape.colour
    manner = rng.choice(("kind", "colour", "both", "both"))
    if YES_NO[planned] == "no":
        change_kind = manner == "kind" or (manner == "both" and rng.random() < 0.5)
        if change_kind:
            taken = {shape.kind for shape in scene.shapes if manner == "kind" or shape.colour == colour}
            kind = rng.choice([name for name in KINDS if name not in taken])
        else:
            taken = {shape.colour for shape in scene.shapes if manner == "colour" or shape.kind == kind}
            colour = rng.choice([name for name in COLOUR_NAMES if name not in taken])
    reference = Reference("" if manner == "colour" else kind, "" if manner == "kind" else colour)
    return scene, Fact("existence", (reference,), YES_NO[planned], YES_NO)


def _ask_yes_no(rng: random.Random, planned: int) -> tuple[Scene, Fact]:
    scene, fact = _ask_any(rng, ("colour", "kind", "count", "position"))
    value = fact.answer if YES_NO[planned] == "yes" else wrong_answers(rng, scene, fact)[0]
    return scene, replace(fact, value=value, answer=YES_NO[planned], choices=YES_NO)


def _ask_choice(rng: random.Random, planned: int) -> tuple[Scene, Fact]:
    scene, fact = _ask_any(rng, ("colour", "kind", "count"))
    options = wrong_answers(rng, scene, fact)[: len(LETTERS) - 1]
    rng.shuffle(options)
    options.insert(planned, fact.answer)
    return scene, replace(fact, answer=LETTERS[planned], choices=LETTERS, options=tuple(options))


def _ask_any(rng: random.Random, kinds: Sequence[str]) -> tuple[Scene, Fact]:
    make, answers = _MAKERS[rng.choice(kinds)]
    return make(rng, rng.randrange(answers))


def wrong_answers(rng: random.Random, scene: Scene, fact: Fact) -> list[str]:
    """Shuffle the wrong answers; half of the time those that the picture also shows come first, as hard negatives."""
    wrong = [choice for choice in fact.choices if choice != fact.answer]
    rng.shuffle(wrong)
    if rng.random() < 0.5:
        seen = {name for shape in scene.shapes for name in (shape.kind, shape.colour)}
        wrong.sort(key=lambda choice: choice not in seen)
    return wrong


DIRECTIONS = {
    ("x", False): ("side", ("left", "right")),
    ("y", False): ("height", ("top", "bottom")),
    ("x", True): ("beside", ("left", "right")),
    ("y", True): ("level", ("above", "below")),
}
_MAKERS: dict[str, tuple[Callable[[random.Random, int], tuple[Scene, Fact]], int]] = {
    "colour": (_ask_colour, len(COLOUR_NAMES)),
    "kind": (_ask_kind, len(KINDS)),
    "count": (_ask_count, len(COUNTS)),
    "position": (_ask_position, 4),
    "comparison": (_ask_comparison, 2),
    "existence": (_ask_existence, 2),
    "yes_no": (_ask_yes_no, 2),
    "choice": (_ask_choice, len(LETTERS)),
}
"""Kind -> function that makes an item, and the number of answers to plan for."""
