import math

import pytest
import torch

from recipes.mini.actions import ACTIONS, MIRROR, mirrored
from recipes.nano.augment import Geometry, resample


def test_every_action_has_its_counterpart_on_the_other_side():
    assert len(set(ACTIONS)) == 45 and sorted(MIRROR) == list(range(45))
    pairs = {name: ACTIONS[place] for name, place in zip(ACTIONS, MIRROR, strict=True)}
    assert pairs["mouthSmileLeft"] == "mouthSmileRight" and pairs["jawRight"] == "jawLeft"
    assert pairs["eyeLookInLeft"] == "eyeLookInRight" and pairs["jawOpen"] == "jawOpen"
    assert all(pairs[other] == name for name, other in pairs.items())


@pytest.mark.parametrize(
    ("flip", "degrees", "angles"),
    [(1, 0, (7, 5, 3)), (-1, 0, (-7, 5, -3)), (1, 10, (7, 5, -7)), (-1, 10, (-7, 5, 7)), (-1, -4, (-7, 5, -7))],
)
def test_angles_and_sides_follow_the_picture(flip, degrees, angles):
    actions = torch.arange(45.0)[None]
    turn, sign = torch.tensor([math.radians(degrees)]), torch.tensor([float(flip)])
    swapped, turned = mirrored(actions, torch.tensor([[7.0, 5.0, 3.0]]), turn, sign)
    torch.testing.assert_close(turned, torch.tensor([angles], dtype=torch.float32))
    left, right = ACTIONS.index("eyeBlinkLeft"), ACTIONS.index("eyeBlinkRight")
    assert swapped[0, left] == (right if flip < 0 else left)
    assert swapped[0, ACTIONS.index("jawOpen")] == ACTIONS.index("jawOpen")


@pytest.mark.parametrize(("flip", "degrees"), [(1, 20), (-1, 20), (-1, -35)])
def test_the_roll_is_what_two_dots_in_the_picture_show(flip, degrees):
    picture = torch.zeros(1, 1, 101, 101)
    picture[0, 0, 44:47, 20:23], picture[0, 0, 54:57, 78:81] = 1.0, 0.5  # the right dot is lower: clockwise
    turn, sign = torch.tensor([math.radians(degrees)]), torch.tensor([float(flip)])
    moved = resample(picture, Geometry(turn, torch.ones(1), torch.zeros(1, 2), sign))[0, 0]

    def roll(pixels: torch.Tensor) -> float:
        halves = pixels[:, :50], pixels[:, 51:]
        centres = []
        for start, half in zip((0, 51), halves, strict=True):
            rows, columns = torch.meshgrid(*(torch.arange(n).float() for n in half.shape), indexing="ij")
            centres.append([((place * half).sum() / half.sum()).item() for place in (rows, columns + start)])
        (upper, left), (lower, right) = centres
        return math.degrees(math.atan2(lower - upper, right - left))

    _, angles = mirrored(torch.zeros(1, 45), torch.tensor([[0.0, 0.0, roll(picture[0, 0])]]), turn, sign)
    assert roll(moved) == pytest.approx(angles[0, 2].item(), abs=0.5)
