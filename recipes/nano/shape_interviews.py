"""Many questions about one drawn scene, for training: every question about a picture teaches, but the picture is
encoded once.

Besides the kinds used for measuring skill there are others, `BRIDGES`, with answers that contain more information than
a choice of two words: where a shape is, what is red, which letter stands for a word, what is correct instead. Measured
on nano, answers such as yes, no, left, right and letters stay at chance for a thousand steps; the longer answers lead
to them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from recipes.nano.shape_facts import FACTS, name_shape, point_out
from recipes.nano.shape_questions import (
    CLEARLY_APART,
    KINDS_ASKED,
    LETTERS,
    YES_NO,
    ShapesQuestion,
    phrase,
    translated,
    word_fact,
    wrong_answers,
)
from recipes.nano.shapes import COLOUR_NAMES, KINDS, LARGE, SMALL, Reference, Scene, Shape

TRIES = 8
SIZES = {"en": ("small", "big"), "zh": ("小", "大")}
ACROSS = {"en": ("left", "centre", "right"), "zh": ("左", "中", "右")}
DOWN = {"en": ("top", "middle", "bottom"), "zh": ("上", "中", "下")}
JOINT = {"en": ", ", "zh": "、"}
_LARGE_FROM = (SMALL[1] + LARGE[0]) / 2
_ASKED = {
    "en": {
        "place": "Where is {first}?",
        "size": "How big is {first}?",
        "coloured": "Which objects are {value}?",
        "colours": "What colours do the {value} objects have?",
        "direction": "Where is {first}, seen from {second}?",
        "letter": "Which letter stands for {value}?{options}",
        "word": "Which word stands at {value}?{options}",
        "repeat": "Repeat: {value}.",
        "recite": "Repeat: {value}.",
        "legend": "Say the letters: {value}.{options}",
        "tally": "Count and name: {value} objects.",
    },
    "zh": {
        "place": "{first}在哪里？",
        "size": "{first}有多大？",
        "coloured": "哪些图形是{value}？",
        "colours": "{value}有哪些颜色？",
        "direction": "从{second}看，{first}在哪边？",
        "letter": "{value}对应哪个字母？{options}",
        "word": "{value}对应哪个词？{options}",
        "repeat": "请重复：{value}。",
        "recite": "请重复：{value}。",
        "legend": "请说出字母：{value}。{options}",
        "tally": "数一数并说出：{value}的图形。",
    },
}
_MORE = {
    "en": {"correct": " Say what is right.", "choose": " Say the word too."},
    "zh": {"correct": "请说出正确的。", "choose": "请同时说出这个词。"},
}
_NONE = {"en": "none", "zh": "没有"}
_TOWARDS = {"en": (("left", "right"), ("above", "below")), "zh": (("左", "右"), ("上", "下"))}
Exchange = tuple[str, str]
"""A question and its answer."""


def interview(
    scene: Scene, language: str, count: int, rng: random.Random, kinds: Sequence[str] = KINDS_ASKED
) -> list[Exchange]:
    """Ask different questions about a scene.

    Args:
        scene: the scene.
        language: "en" or "zh".
        count: maximum number of questions; a scene with one shape allows fewer.
        rng: draws questions and wordings.
        kinds: kinds of `KINDS_ASKED` and `BRIDGES`, with equal shares.
    """
    questions: dict[str, str] = {}
    for _ in range(2 * count):
        if len(questions) == count:
            break
        kind = rng.choice(kinds)
        # Some kinds fit few scenes or pairs; a single try would leave them out more often than others.
        drawn = (ask(kind, scene, language, rng) for _ in range(TRIES))
        pair = next((candidate for candidate in drawn if candidate is not None and candidate[0] not in questions), None)
        if pair is not None:
            questions[pair[0]] = pair[1]
    return list(questions.items())


def ask(kind: str, scene: Scene, language: str, rng: random.Random) -> Exchange | None:
    """Draw one question of a kind; return None if it does not fit the scene."""
    if kind in BRIDGES:
        return BRIDGES[kind](scene, language, rng)
    fact = FACTS[kind](scene, rng)
    return None if fact is None else _exchange(word_fact(fact, kind, language, rng))


def place_words(shape: Shape, language: str) -> tuple[str, str]:
    """Return row and column of a shape on a grid of three by three, in words."""
    return DOWN[language][min(int(shape.y * 3), 2)], ACROSS[language][min(int(shape.x * 3), 2)]


def size_word(shape: Shape, language: str) -> str:
    """Return "small" or "big"."""
    return SIZES[language][shape.radius >= _LARGE_FROM]


def _exchange(question: ShapesQuestion) -> Exchange:
    return question.text, question.answer


def _the(reference: Reference, language: str) -> str:
    described = phrase(reference, language)
    return f"the {described}" if language == "en" else described


def _pointed(scene: Scene, rng: random.Random) -> tuple[Shape, Reference] | None:
    return point_out(scene, rng, rng.choice(("kind", "colour", "both")))


def _ask_place(scene: Scene, language: str, rng: random.Random) -> Exchange | None:
    pointed = _pointed(scene, rng)
    if pointed is None:
        return None
    answer = (" " if language == "en" else "").join(place_words(pointed[0], language))
    return _ASKED[language]["place"].format(first=_the(pointed[1], language)), answer


def _ask_size(scene: Scene, language: str, rng: random.Random) -> Exchange | None:
    shape = rng.choice(scene.shapes)
    name = name_shape(scene, shape, rng.choice(("kind", "colour", "both")))
    if name is None:
        return None
    return _ASKED[language]["size"].format(first=_the(name, language)), size_word(shape, language)


def _listed(scene: Scene, language: str, fits: Callable[[Shape], bool], wording: str) -> str:
    """List the `wording` ("kind" or "colour") of the matching shapes, from left to right."""
    matching = [s for s in sorted(scene.shapes, key=lambda shape: shape.x) if fits(s)]
    return JOINT[language].join(translated(getattr(s, wording), language) for s in matching) or _NONE[language]


def _ask_coloured(scene: Scene, language: str, rng: random.Random) -> Exchange:
    colour = rng.choice(scene.shapes).colour if rng.random() < 0.7 else rng.choice(COLOUR_NAMES)
    question = _ASKED[language]["coloured"].format(value=translated(colour, language))
    return question, _listed(scene, language, lambda shape: shape.colour == colour, "kind")


def _ask_colours(scene: Scene, language: str, rng: random.Random) -> Exchange:
    kind = rng.choice(scene.shapes).kind if rng.random() < 0.7 else rng.choice(KINDS)
    question = _ASKED[language]["colours"].format(value=translated(kind, language))
    return question, _listed(scene, language, lambda shape: shape.kind == kind, "colour")


def _ask_direction(scene: Scene, language: str, rng: random.Random) -> Exchange | None:
    """Ask for the direction along both axes, leaving out an unclear one."""
    if len(scene.shapes) < 2:
        return None
    manner, (first, other) = rng.choice(("kind", "colour", "both")), rng.sample(scene.shapes, 2)
    names = name_shape(scene, first, manner), name_shape(scene, other, manner)
    if names[0] is None or names[1] is None:
        return None
    apart = (first.x - other.x, first.y - other.y)
    directions = [_TOWARDS[language][axis][way > 0] for axis, way in enumerate(apart) if abs(way) >= CLEARLY_APART]
    question = _ASKED[language]["direction"].format(first=_the(names[0], language), second=_the(names[1], language))
    return (question, JOINT[language].join(directions)) if directions else None


def _options(language: str, rng: random.Random) -> tuple[list[str], str]:
    """Draw four words and list them with their letters; the picture is not used."""
    words = rng.sample(rng.choice((COLOUR_NAMES, KINDS, ("1", "2", "3", "4", "5"))), len(LETTERS))
    words = [translated(word, language) for word in words]
    return words, "".join(f" {letter}. {word}" for letter, word in zip(LETTERS, words, strict=True))


def _ask_letter(scene: Scene, language: str, rng: random.Random) -> Exchange:
    (words, options), place = _options(language, rng), rng.randrange(len(LETTERS))
    return _ASKED[language]["letter"].format(value=words[place], options=options), LETTERS[place]


def _ask_word(scene: Scene, language: str, rng: random.Random) -> Exchange:
    (words, options), place = _options(language, rng), rng.randrange(len(LETTERS))
    return _ASKED[language]["word"].format(value=LETTERS[place], options=options), words[place]


def _ask_repeat(scene: Scene, language: str, rng: random.Random) -> Exchange:
    """Ask to repeat words; the picture is not used. Copying has to be learned before looking up."""
    words = [translated(word, language) for word in rng.sample((*COLOUR_NAMES, *KINDS), rng.randint(3, 6))]
    letters = JOINT[language].join([*words, *rng.sample(LETTERS, 2)])
    return _ASKED[language]["repeat"].format(value=letters), letters


def _ask_recite(scene: Scene, language: str, rng: random.Random) -> Exchange:
    """Ask to repeat a long list of words without separators: the simplest form of copying."""
    known = (*map(str, range(1, 6)), *LETTERS, *DOWN[language], *ACROSS[language], *SIZES[language])
    known += tuple(translated(word, language) for word in (*COLOUR_NAMES, *KINDS))
    text = " ".join(rng.sample(known, rng.randint(6, 24)))
    return _ASKED[language]["recite"].format(value=text), text


def _ask_legend(scene: Scene, language: str, rng: random.Random) -> Exchange:
    """Ask for the letters of several words, each after its word, so that the word immediately precedes its letter."""
    pool = [translated(word, language) for word in (*COLOUR_NAMES, *KINDS, *map(str, range(1, 6)))]
    words = rng.sample(pool, rng.randint(3, 6))
    letters = dict(zip(words, "ABCDEF", strict=False))
    options = "".join(f" {letter}. {word}" for word, letter in letters.items())
    rng.shuffle(words)
    answer = " ".join(f"{word} {letters[word]}" for word in words)
    return _ASKED[language]["legend"].format(value=" ".join(words), options=options), answer


def _ask_tally(scene: Scene, language: str, rng: random.Random) -> Exchange:
    manner = rng.choice(("kind", "colour"))
    value, property_name = getattr(rng.choice(scene.shapes), manner), "colour" if manner == "kind" else "kind"
    count = sum(getattr(shape, manner) == value for shape in scene.shapes)
    listed = _listed(scene, language, lambda shape: getattr(shape, manner) == value, property_name)
    return _ASKED[language]["tally"].format(value=translated(value, language)), f"{count}: {listed}"


def _ask_correct(scene: Scene, language: str, rng: random.Random) -> Exchange | None:
    """Make a true or false claim, and ask for the correct value."""
    fact = FACTS[rng.choice(("colour", "kind", "count", "position"))](scene, rng)
    if fact is None:
        return None
    right = rng.random() < 0.5
    value = fact.answer if right else wrong_answers(rng, scene, fact)[0]
    claim = word_fact(replace(fact, value=value, answer=YES_NO[not right], choices=YES_NO), "yes_no", language, rng)
    return claim.text + _MORE[language]["correct"], f"{claim.answer}: {translated(fact.answer, language)}"


def _ask_choose(scene: Scene, language: str, rng: random.Random) -> Exchange | None:
    """Ask for the letter and for the word that it stands for."""
    fact = FACTS["choice"](scene, rng)
    if fact is None:
        return None
    question = word_fact(fact, "choice", language, rng)
    word = translated(fact.options[LETTERS.index(fact.answer)], language)
    return question.text + _MORE[language]["choose"], f"{word}: {question.answer}"


BRIDGES: dict[str, Callable[[Scene, str, random.Random], Exchange | None]] = {
    "place": _ask_place,
    "size": _ask_size,
    "coloured": _ask_coloured,
    "colours": _ask_colours,
    "direction": _ask_direction,
    "letter": _ask_letter,
    "word": _ask_word,
    "repeat": _ask_repeat,
    "recite": _ask_recite,
    "legend": _ask_legend,
    "tally": _ask_tally,
    "correct": _ask_correct,
    "choose": _ask_choose,
}
"""Kind of question that is asked only in training -> function that draws one."""
KINDS_TRAINED = (*KINDS_ASKED, *(kind for kind in BRIDGES if kind not in ("recite", "legend")))
"""Kinds of questions about a drawn scene; long lists are trained separately."""
COPYING = ("letter", "word", "repeat", "recite", "legend")
"""Kinds that need no picture."""
