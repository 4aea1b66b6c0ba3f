import itertools
import re

import numpy as np
import pytest

from emotion_qwen.taxonomy import CONCEPTS, LABEL_SETS, concept
from emotion_qwen.views.colours import COLOURS, DARK, LIGHT, colour_of, contrast, ink_on

# Machado, Oliveira and Fernandes 2009, severity 1: linear RGB as readers with one kind of cone missing see it.
VISION = {
    "full": np.eye(3),
    "no long cones": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no middle cones": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "no short cones": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
# Label set -> smallest distance in CIE L*a*b* of two of its colours, for every reader. A difference of about 2.3 is
# just noticeable (Mahy et al. 1994); thin bands and small dots need several times as much. The bounds are the measured
# minima (20.2 and 16.6), rounded down; the 28 labels of GoEmotions leave no room for one.
DISTANCES = {name: 20 for name, labels in LABEL_SETS.items() if len(labels.labels) <= 8} | {"mafw11": 16}
GROUNDS = ("#FFFFFF", "#1B1E25", "#ECEEF2", "#262A33")
"""Cards and empty parts of bars on the pages, light and dark."""


def lab(colour: str, vision: np.ndarray) -> np.ndarray:
    """Return CIE L*a*b* (D65) of a colour as some reader sees it."""
    shares = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    seen = np.clip(vision @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ seen
    f = np.cbrt(xyz / np.array([0.9505, 1.0, 1.0888]))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_every_concept_has_a_colour_of_its_own():
    assert set(COLOURS) == set(CONCEPTS) and len(set(COLOURS.values())) == len(COLOURS)
    assert colour_of("happy") == colour_of("joy") == colour_of("开心") == COLOURS["happiness"]
    assert colour_of("hunger") == colour_of("hunger") != colour_of("thirst")  # a user's own labels
    assert colour_of("hunger") not in COLOURS.values() and re.fullmatch("#[0-9A-F]{6}", colour_of("hunger"))


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("vision", VISION)
def test_the_colours_of_a_label_set_differ_for_every_reader(name, vision):
    seen = {label: lab(COLOURS[concept(label)], VISION[vision]) for label in LABEL_SETS[name].labels}
    near = min((float(np.linalg.norm(seen[a] - seen[b])), a, b) for a, b in itertools.combinations(seen, 2))
    assert near[0] > DISTANCES[name], near
    ground = min((float(np.linalg.norm(seen[a] - lab(b, VISION[vision]))), a, b) for a in seen for b in GROUNDS)
    assert ground[0] > 20, ground


def test_only_goemotions_has_no_bound():
    assert set(LABEL_SETS) - set(DISTANCES) == {"goemotions28"}


def test_the_simulation_finds_colours_that_fall_together():
    blue, purple = "#3A5FCD", "#7A4FCD"
    assert np.linalg.norm(lab(blue, VISION["full"]) - lab(purple, VISION["full"])) > 20
    assert np.linalg.norm(lab(blue, VISION["no long cones"]) - lab(purple, VISION["no long cones"])) < 10


def test_colours_show_on_light_and_dark_ground_and_carry_text():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    for colour in COLOURS.values():
        assert contrast(colour, "#FFFFFF") > 1.9 and contrast(colour, "#1B1E25") > 2
        assert contrast(colour, ink_on(colour)) >= 4.2
    assert ink_on("#FFFF00") == DARK and ink_on("#000080") == LIGHT
