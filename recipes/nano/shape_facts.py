"""Questions about a given scene: the facts of `shape_questions`, found instead of planned.

`shape_questions` plans an answer and paints a scene that fits, so that held-out questions are balanced. Here the scene
is given, and any question with a clear answer may be asked. The criteria for clear answers are the same. Every function
returns None if the drawn question does not fit the scene.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations

from recipes.nano.shape_questions import (
    CLEARLY_APART,
    CLEARLY_ASIDE,
    COUNTS,
    DIRECTIONS,
    LETTERS,
    RANKED_SHARE,
    UNEQUAL,
    YES_NO,
    Fact,
    wrong_answers,
)
from recipes.nano.shapes import COLOUR_NAMES, KINDS, VALUES, Reference, Scene, Shape, clearly_larger

_MANNERS = ("kind", "colour", "both")


def name_shape(scene: Scene, shape: Shape, manner: str) -> Reference | None:
    """Name a shape by kind, colour or both, if the name fits no other shape."""
    name = Reference(shape.kind if manner != "colour" else "", shape.colour if manner != "kind" else "")
    return name if sum(map(name.fits, scene.shapes)) == 1 else None


def point_out(scene: Scene, rng: random.Random, manner: str) -> tuple[Shape, Reference] | None:
    """Choose a shape and a name for it: sometimes by its size if that is clear, else in the given manner."""
    shape = rng.choice(scene.shapes)
    if rng.random() < RANKED_SHARE and len(scene.shapes) > 1:
        others = [other for other in scene.shapes if other is not shape]
        if all(clearly_larger(shape, other) for other in others):
            return shape, Reference(rank="largest")
        if all(clearly_larger(other, shape) for other in others):
            return shape, Reference(rank="smallest")
    name = name_shape(scene, shape, manner)
    return None if name is None else (shape, name)


def _ask_colour(scene: Scene, rng: random.Random) -> Fact | None:
    reference = point_out(scene, rng, "kind")
    return reference and Fact("colour", (reference[1],), reference[0].colour, COLOUR_NAMES)


def _ask_kind(scene: Scene, rng: random.Random) -> Fact | None:
    reference = point_out(scene, rng, "colour")
    return reference and Fact("kind", (reference[1],), reference[0].kind, KINDS)


def _group(scene: Scene, manner: str, rng: random.Random) -> tuple[Reference, int]:
    """Choose a group of shapes with a common property, and count it."""
    shape = rng.choice(scene.shapes)
    group = Reference() if manner == "all" else Reference(**{manner: getattr(shape, manner)})
    return group, sum(map(group.fits, scene.shapes))


def _ask_count(scene: Scene, rng: random.Random) -> Fact:
    group, size = _group(scene, rng.choice(("all", "kind", "colour")), rng)
    return Fact("count", (group,), COUNTS[size - 1], COUNTS)


def _ask_position(scene: Scene, rng: random.Random) -> Fact | None:
    axis, towards, manner = rng.choice("xy"), rng.randrange(2), rng.choice(_MANNERS)
    sign = 1 if towards else -1
    between = rng.random() < 0.5
    pairs: Sequence[tuple[Shape, ...]]
    if between:
        pairs = [
            (a, b)
            for a, b in permutations(scene.shapes, 2)
            if sign * (getattr(a, axis) - getattr(b, axis)) >= CLEARLY_APART
        ]
    else:
        pairs = [(a,) for a in scene.shapes if sign * (getattr(a, axis) - 0.5) >= CLEARLY_ASIDE]
    if not pairs:
        return None
    names = [name_shape(scene, shape, manner) for shape in rng.choice(pairs)]
    if None in names:
        return None
    form, choices = DIRECTIONS[axis, between]
    return Fact(form, tuple(filter(None, names)), choices[towards], choices)


def _ask_comparison(scene: Scene, rng: random.Random) -> Fact | None:
    form = rng.choice(("larger", "smaller", "more", "outnumber"))
    manner = "colour" if form == "more" else rng.choice(("kind", "colour"))
    if form in ("more", "outnumber"):
        groups = [_group(scene, manner, rng) for _ in range(2)]
        if tuple(size for _, size in groups) not in UNEQUAL:
            return None
        names: list[Reference | None] = [group for group, _ in groups]
    else:
        pairs = [pair for pair in permutations(scene.shapes, 2) if clearly_larger(*pair)]
        if not pairs:
            return None
        first, second = rng.choice(pairs)
        names = [name_shape(scene, s, manner) for s in ((first, second) if form == "larger" else (second, first))]
    if None in names or names[0] == names[1]:
        return None
    planned = rng.randrange(2)
    references = tuple(filter(None, names[::-1] if planned else names))
    choices = YES_NO if form == "outnumber" else tuple(getattr(name, manner) for name in references)
    return Fact(form, references, choices[planned], choices)


def _ask_existence(scene: Scene, rng: random.Random) -> Fact:
    """Ask about an existing shape, or about one that shares only kind or colour with an existing shape."""
    shape, manner, there = rng.choice(scene.shapes), rng.choice((*_MANNERS, "both")), rng.random() < 0.5
    named = {"kind": shape.kind, "colour": shape.colour}
    if manner != "both":
        named = {manner: named[manner]}
    if not there:
        changed = rng.choice(list(named))
        fixed = Reference(**{key: value for key, value in named.items() if key != changed})
        taken = {getattr(shape, changed) for shape in scene.shapes if fixed.fits(shape)}
        named[changed] = rng.choice([value for value in VALUES[changed] if value not in taken])
    return Fact("existence", (Reference(**named),), YES_NO[not there], YES_NO)


def _ask_yes_no(scene: Scene, rng: random.Random) -> Fact | None:
    fact = FACTS[rng.choice(("colour", "kind", "count", "position"))](scene, rng)
    if fact is None:
        return None
    right = rng.random() < 0.5
    value = fact.answer if right else wrong_answers(rng, scene, fact)[0]
    return replace(fact, value=value, answer=YES_NO[not right], choices=YES_NO)


def _ask_choice(scene: Scene, rng: random.Random) -> Fact | None:
    fact = FACTS[rng.choice(("colour", "kind", "count"))](scene, rng)
    if fact is None:
        return None
    options = wrong_answers(rng, scene, fact)[: len(LETTERS) - 1]
    rng.shuffle(options)
    place = rng.randrange(len(LETTERS))
    options.insert(place, fact.answer)
    return replace(fact, answer=LETTERS[place], choices=LETTERS, options=tuple(options))


FACTS: dict[str, Callable[[Scene, random.Random], Fact | None]] = {
    "colour": _ask_colour,
    "kind": _ask_kind,
    "count": _ask_count,
    "position": _ask_position,
    "comparison": _ask_comparison,
    "existence": _ask_existence,
    "yes_no": _ask_yes_no,
    "choice": _ask_choice,
}
"""Kind of question of `KINDS_ASKED` -> function that finds a fact of that kind."""
