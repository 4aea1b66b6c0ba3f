import math
import random
from itertools import combinations

import numpy as np
import pytest
from skimage.color import rgb2lab
from skimage.measure import label, regionprops

from emotion_qwen.errors import DataError
from recipes.nano.shapes import (
    BACKGROUNDS,
    CLEARLY_LARGER,
    COLOUR_NAMES,
    COLOURS,
    GRADIENT,
    KINDS,
    LARGE,
    SMALL,
    Background,
    Reference,
    Scene,
    Shape,
    clearly_larger,
    draw_scene,
    group,
    render,
    tell_apart,
)

FLAT = Background((46, 46, 46), (46, 46, 46), 0.0)


def scenes(count, seed=0):
    rng = random.Random(seed)
    return [draw_scene(rng) for _ in range(count)]


def alone(kind, radius=0.22, turn=0.0, colour="white"):
    return Scene((Shape(kind, colour, 0.5, 0.5, radius, turn),), FLAT)


def covered(scene, side):
    """Read which pixels a single white shape covers, wholly or by more than half."""
    return render(scene, side)[..., 0] > 149


def test_the_same_generator_draws_and_paints_the_same():
    first, second = scenes(20), scenes(20)
    assert first == second and first != scenes(20, seed=1)
    assert all(np.array_equal(render(a, 64), render(b, 64)) for a, b in zip(first, second, strict=True))


def test_shapes_stay_inside_and_apart():
    for scene in scenes(2000):
        assert 1 <= len(scene.shapes) <= 5
        for shape in scene.shapes:
            assert 0.1 <= shape.radius <= min(shape.x, shape.y, 1 - shape.x, 1 - shape.y)
        for one, other in combinations(scene.shapes, 2):
            assert math.hypot(one.x - other.x, one.y - other.y) > one.radius + other.radius + 0.03


def test_every_shape_is_one_region_of_its_own_colour():
    for scene in scenes(150, seed=2):
        picture = render(scene, 64).astype(int)
        for name in COLOUR_NAMES:
            regions = regionprops(label(np.abs(picture - COLOURS[name]).max(axis=2) <= 25))
            assert sum(region.area >= 20 for region in regions) == sum(
                shape.colour == name for shape in scene.shapes
            ), (name, scene)


def test_a_picture_without_shapes_would_be_background():
    for scene in scenes(60, seed=3):
        picture = render(scene, 64).astype(int)
        rows, columns = np.mgrid[:64, :64] / 64 + 1 / 128
        free = np.ones((64, 64), bool)
        for shape in scene.shapes:
            free &= np.hypot(columns - shape.x, rows - shape.y) > shape.radius + 0.09
        ends = np.array([scene.background.first, scene.background.second])
        assert free.any() and (picture[free] >= ends.min(0) - 1).all() and (picture[free] <= ends.max(0) + 1).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [64, 256])
def test_a_shape_lies_where_it_should_and_fills_its_disc(kind, side):
    mask = covered(alone(kind, turn=0.5), side)
    rows, columns = np.nonzero(mask)
    reach = np.hypot(columns + 0.5 - side / 2, rows + 0.5 - side / 2).max() / side
    assert 0.22 * 0.88 < reach < 0.22 + 0.5 / side
    assert abs(columns.mean() + 0.5 - side / 2) < 0.02 * side and abs(rows.mean() + 0.5 - side / 2) < 0.02 * side
    assert mask[side // 2, side // 2] == (kind != "ring")


def test_the_kinds_differ_in_outline():
    masks = {kind: covered(alone(kind), 128) for kind in KINDS}
    for one, other in combinations(KINDS, 2):
        shared = (masks[one] & masks[other]).sum() / (masks[one] | masks[other]).sum()
        assert shared < 0.82, (one, other, shared)


@pytest.mark.parametrize("large", KINDS)
@pytest.mark.parametrize("small", KINDS)
def test_larger_is_larger_in_area_too_whatever_the_kinds(large, small):
    much, little = Shape(large, "red", 0.5, 0.5, LARGE[0], 0.0), Shape(small, "red", 0.5, 0.5, SMALL[1], 0.0)
    assert clearly_larger(much, little) and not clearly_larger(little, much)
    areas = [covered(alone(shape.kind, shape.radius), 256).sum() for shape in (much, little)]
    assert areas[0] > 1.25 * areas[1]


def test_sizes_of_one_class_are_not_compared():
    assert LARGE[1] / LARGE[0] < CLEARLY_LARGER and SMALL[1] / SMALL[0] < CLEARLY_LARGER
    assert min(SMALL) >= 0.1


def test_colours_are_told_apart_from_each_other_and_from_every_background():
    def lab(colours):
        return rgb2lab(np.array(colours, float)[None] / 255)[0]

    colours = lab(list(COLOURS.values()))
    behind = lab([[level + step for level in tone] for tone in BACKGROUNDS for step in (-GRADIENT, 0, GRADIENT)])
    among = [np.linalg.norm(one - other) for one, other in combinations(colours, 2)]
    assert min(among) > 30
    assert np.linalg.norm(colours[:, None] - behind[None], axis=2).min() > 25


def test_squares_never_stand_on_a_corner_even_when_repainted():
    rng = random.Random(4)
    for _ in range(200):
        scene, _ = group(rng, draw_scene(rng), "kind", ())
        assert all(abs(shape.angle) <= 18 for shape in scene.shapes if shape.kind in ("square", "cross"))


@pytest.mark.parametrize("manner", ["kind", "colour", "both"])
def test_a_name_fits_its_shape_and_no_other(manner):
    rng = random.Random(5)
    for _ in range(300):
        before = draw_scene(rng, rng.randint(2, 5))
        places = rng.sample(range(len(before.shapes)), 2)
        scene, references = tell_apart(rng, before, places, manner)
        for place, reference in zip(places, references, strict=True):
            assert [place] == [i for i, shape in enumerate(scene.shapes) if reference.fits(shape)]
        assert [(s.x, s.y, s.radius) for s in scene.shapes] == [(s.x, s.y, s.radius) for s in before.shapes]


def test_groups_have_exactly_the_sizes_asked_for():
    rng = random.Random(6)
    for manner in ("kind", "colour"):
        for _ in range(100):
            scene, references = group(rng, draw_scene(rng, 5), manner, (3, 1))
            assert [sum(map(reference.fits, scene.shapes)) for reference in references] == [3, 1]
    assert all(map(Reference().fits, scene.shapes))


@pytest.mark.parametrize("count", [0, 6])
def test_a_scene_of_too_many_or_no_shapes_is_refused(count):
    with pytest.raises(DataError, match=f"a scene cannot have {count} shapes; ask for 1 to 5"):
        draw_scene(random.Random(0), count)


def test_a_picture_too_small_for_shapes_is_refused():
    with pytest.raises(DataError, match="a side of 31 pixels is too small for shapes; use 32 or more"):
        render(scenes(1)[0], 31)


def test_a_picture_has_the_side_asked_for():
    for side in (32, 64, 100):
        picture = render(scenes(1)[0], side)
        assert picture.shape == (side, side, 3) and picture.dtype == np.uint8 and picture.flags.writeable
