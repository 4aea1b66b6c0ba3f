import numpy as np
import torch

from emotion_qwen.processing.patches import patchify
from recipes.nano.shape_questions import shapes_item
from recipes.nano.shapes import COLOUR_NAMES, COLOURS, KINDS, Background, Scene, Shape, render
from recipes.nano.sight import (
    NOTHING,
    SightRun,
    SightStream,
    SightStudent,
    draw_scenes,
    patch_accuracy,
    patch_features,
    run_sight,
    scene_classes,
)


class Pictures:
    """A line of pictures without a file."""

    def __len__(self):
        return 5

    def __getitem__(self, place):
        pixels = np.random.default_rng(place).integers(0, 255, (3, 48, 48), dtype=np.uint8)
        return {"place": place, "pixels": torch.from_numpy(pixels), "labels": torch.tensor(0)}


def test_a_patch_is_told_by_the_shape_that_covers_it():
    scene = Scene((Shape("star", "red", 0.25, 0.75, 0.2, 0),), Background((90, 90, 90), (90, 90, 90), 0))
    classes, geometry = scene_classes(scene, 8)
    star = KINDS.index("star") * len(COLOUR_NAMES) + COLOUR_NAMES.index("red")
    rows, columns = np.nonzero(classes == star)
    assert set(rows) <= {4, 5, 6, 7} and set(columns) <= {0, 1, 2, 3} and len(rows) >= 4
    assert (classes[:, 4:] == NOTHING).all() and (geometry[classes == NOTHING] == 0).all()
    assert geometry[..., 0].sum() == 1 and geometry[6, 2, 0] == 1
    assert np.allclose(geometry[classes == star, 1:3], (-0.5, 0.5))


def test_large_shapes_measure_more_than_small_ones():
    small, large = (
        Scene((Shape("ring", "blue", 0.5, 0.5, radius, 0),), Background((90, 90, 90), (90, 90, 90), 0))
        for radius in (0.12, 0.23)
    )
    measured = [scene_classes(scene, 8)[1][4, 4, 3] for scene in (small, large)]
    assert -1.5 < measured[0] < -0.3 and 0.3 < measured[1] < 1.5


def test_the_classes_stand_in_the_order_of_the_patches():
    drawn = draw_scenes(range(200), "train", 8, 2)
    pixels = torch.from_numpy(np.stack([render(shapes_item(i, "train").scene, 64) for i in range(200)]))
    patches = patchify(pixels.permute(0, 3, 1, 2)[:, None].float(), 8, 1, 2).view(-1, 3, 64)
    colours, even = patches.mean(-1), patches.std(-1).amax(-1) < 4  # no edge runs through the patch
    classes = drawn["classes"]
    solid = even & (classes // len(COLOUR_NAMES) == KINDS.index("circle")) & (classes != NOTHING)
    assert solid.sum() > 60
    wanted = torch.tensor([COLOURS[COLOUR_NAMES[c % len(COLOUR_NAMES)]] for c in classes[solid].tolist()]).float()
    palette = torch.tensor([COLOURS[name] for name in COLOUR_NAMES]).float()
    nearest = torch.cdist(colours[solid], palette).argmin(1)
    agree = (palette[nearest] == wanted).all(1).float().mean()
    assert agree == 1


def test_features_stand_in_the_order_of_the_patches(nano):
    vision = nano.model.model.visual
    picture = torch.full((1, 3, 64, 64), 0.5)
    with torch.no_grad():
        before = patch_features(vision, picture)
        picture[..., 56:, 56:] = 1.0  # the last patch of the last group
        moved = (patch_features(vision, picture) - before).norm(dim=1)
    assert moved.argmax() == 63


def test_a_step_is_the_same_whenever_it_comes(tmp_path):
    run = SightRun(tmp_path, tmp_path / "out", steps=3, scenes=2, pictures=2)
    one, other = (SightStream(run, Pictures(), 8, 2)[2] for _ in range(2))
    assert all(torch.equal(one[key], other[key]) for key in one) and one["scenes"].shape == (2, 3, 64, 64)


def test_pictures_are_held_and_scenes_are_learned(tiny, tmp_path):
    vision = tiny.model.visual
    torch.manual_seed(0)
    pixels = torch.rand(2, 3, 48, 48)
    student = SightStudent(vision)
    held = draw_scenes(range(2), "train", 8, 2)
    assert torch.allclose(student(**held)["loss"], student(**held, pixels=pixels)["loss"])  # nothing has moved yet
    with torch.no_grad():
        student.vision.blocks[0].mlp.down_proj.weight.add_(3.0)
    assert student(**held, pixels=pixels)["loss"] > student(**held)["loss"] + 0.01
    before = patch_accuracy(SightStudent(tiny.model.visual), 20)["every"]
    trained = run_sight(SightRun(tmp_path, tmp_path / "run", steps=25, scenes=8, pictures=2), vision, Pictures())
    after = patch_accuracy(trained, 20)
    assert after["every"] > before + 20 and 0 < after["x"] < 0.5 and 0 <= after["centres"] <= 100
