import random
from collections import Counter

import pytest

from recipes.nano.shape_facts import FACTS
from recipes.nano.shape_questions import KINDS_ASKED, LETTERS, YES_NO, shapes_item


def facts(kind, scenes=300, tries=6):
    rng = random.Random(3)
    for index in range(scenes):
        scene = shapes_item(index, "train").scene
        for _ in range(tries):
            fact = FACTS[kind](scene, rng)
            if fact is not None:
                yield scene, fact


def only(scene, reference):
    """The one shape a reference names, worked out here in another way: by its size, or by its name."""
    if reference.rank:
        order = sorted(scene.shapes, key=lambda shape: shape.radius)
        return order[-1] if reference.rank == "largest" else order[0]
    (found,) = [shape for shape in scene.shapes if reference.fits(shape)]
    return found


def truth(scene, fact):
    """What is right, from the scene alone."""
    named = fact.references
    if fact.form in ("colour", "kind"):
        return getattr(only(scene, named[0]), fact.form)
    counts = [sum(map(name.fits, scene.shapes)) for name in named]
    if fact.form == "count":
        return str(counts[0])
    if fact.form == "existence":
        return "yes" if counts[0] else "no"
    words = [name.kind or name.colour for name in named]
    if fact.form == "more":
        return words[counts[1] > counts[0]]
    if fact.form == "outnumber":
        return "yes" if counts[0] > counts[1] else "no"
    shapes = [only(scene, name) for name in named]
    if fact.form in ("larger", "smaller"):
        return words[(shapes[1].radius > shapes[0].radius) == (fact.form == "larger")]
    axis = "x" if fact.form in ("side", "beside") else "y"
    origin = getattr(shapes[1], axis) if len(shapes) == 2 else 0.5
    low, high = {"side": ("left", "right"), "beside": ("left", "right"), "height": ("top", "bottom")}.get(
        fact.form, ("above", "below")
    )
    return high if getattr(shapes[0], axis) > origin else low


@pytest.mark.parametrize("kind", [kind for kind in KINDS_ASKED if kind not in ("yes_no", "choice")])
def test_every_answer_is_right(kind):
    checked = Counter()
    for scene, fact in facts(kind):
        assert fact.answer == truth(scene, fact) and fact.answer in fact.choices
        checked[fact.form, fact.answer] += 1
    assert sum(checked.values()) > 150
    for form in {form for form, _ in checked}:
        share = [count for (f, _), count in checked.items() if f == form]
        assert len(share) > 1 and min(share) > 0.02 * sum(share)  # no form has one answer


def test_a_statement_is_right_when_it_says_what_is_right():
    said = Counter()
    for scene, fact in facts("yes_no"):
        right = truth(scene, fact)
        assert fact.answer == ("yes" if fact.value == right else "no") and fact.choices == YES_NO
        said[fact.answer] += 1
    assert 0.8 < said["yes"] / said["no"] < 1.25


def test_the_letter_names_the_right_option_among_four():
    letters = Counter()
    for scene, fact in facts("choice"):
        assert len(set(fact.options)) == 4 and fact.options[LETTERS.index(fact.answer)] == truth(scene, fact)
        letters[fact.answer] += 1
    assert set(letters) == set(LETTERS) and min(letters.values()) > 0.15 * sum(letters.values())
