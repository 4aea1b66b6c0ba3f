"""Where labels stand: a table of cases, each with what must hold, and the same rule in the page's script."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import subprocess
from importlib.resources import files

import pytest

from emotion_qwen.views import tags
from emotion_qwen.views.tags import place_tags

PICTURE, SIZE, GAP = (640.0, 360.0), (90.0, 20.0), 4.0
FIVE = [(60.0, 90.0, 130.0, 180.0), (140.0, 60.0, 210.0, 150.0), (215.0, 100.0, 285.0, 190.0),
        (300.0, 70.0, 370.0, 160.0), (380.0, 95.0, 450.0, 185.0)]  # fmt: skip
"""Five people side by side, closer than their labels are wide."""
# boxes -> where the first label stands relative to its box, and whether it has a leader
TABLE = {
    "alone": ([(200, 100, 300, 220)], "above"),
    "at the upper edge": ([(200, 0, 300, 120)], "below"),
    "at the upper left corner": ([(0, 2, 80, 90)], "below"),
    "at the lower right corner": ([(590, 270, 640, 360)], "above"),
    "fills the height": ([(250, 0, 400, 360)], "beside"),
    "fills the picture": ([(0, 0, 640, 360)], "inside"),
    "a face right above": ([(200, 160, 300, 250), (200, 60, 300, 156)], "below"),
    "faces above and below": ([(200, 140, 300, 220), (195, 40, 305, 138), (195, 242, 305, 340)], "beside"),
}


def shared(a, b) -> float:
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)


def side(area, box) -> str:
    if area[3] <= box[1]:
        return "above"
    if area[1] >= box[3]:
        return "below"
    return "beside" if area[2] <= box[0] or area[0] >= box[2] else "inside"


@pytest.mark.parametrize("case", TABLE)
def test_a_label_stands_where_it_covers_least(case):
    boxes, expected = TABLE[case]
    placed = place_tags(boxes, [SIZE] * len(boxes), PICTURE, GAP)
    assert side(placed[0].area, boxes[0]) == expected and placed[0].leader is None
    for tag, box in zip(placed, boxes, strict=True):
        assert min(tag.area[:2]) >= 0 and tag.area[2] <= PICTURE[0] and tag.area[3] <= PICTURE[1]
        assert not any(shared(tag.area, other) for other in boxes if other is not box)


def test_five_people_side_by_side_keep_their_faces_and_labels():
    placed = place_tags(FIVE, [SIZE] * 5, PICTURE, GAP)
    for first, second in itertools.combinations(placed, 2):
        assert not shared(first.area, second.area)
    for tag in placed:
        assert not any(shared(tag.area, box) for box in FIVE)


def test_a_displaced_label_is_joined_to_its_box():
    """Fifteen labels of 90 pixels beside faces 40 pixels apart need more than two rows."""
    boxes = [(float(x), 150.0, x + 36.0, 200.0) for x in range(4, 604, 40)]
    placed = place_tags(boxes, [SIZE] * len(boxes), PICTURE, GAP)
    leaders = [(tag, box) for tag, box in zip(placed, boxes, strict=True) if tag.leader]
    assert leaders and not any(shared(a.area, b.area) for a, b in itertools.combinations(placed, 2))
    for tag, box in leaders:
        x1, y1, x2, y2 = tag.leader
        assert tag.area[0] <= x1 <= tag.area[2] and y1 in (tag.area[1], tag.area[3])
        assert box[0] <= x2 <= box[2] and y2 in (box[1], box[3])


def test_a_label_stays_where_it_was_as_long_as_that_is_about_as_good():
    box = [(200.0, 100.0, 300.0, 220.0)]
    below = 3
    assert place_tags(box, [SIZE], PICTURE, GAP)[0].place == 0
    assert place_tags(box, [SIZE], PICTURE, GAP, [below])[0].place == below
    blocked = [*box, (195.0, 220.0, 305.0, 330.0)]
    assert place_tags(blocked, [SIZE] * 2, PICTURE, GAP, [below, None])[0].place != below


def test_placing_again_moves_nothing():
    draw = random.Random(3)
    for _ in range(20):
        corners = [(draw.uniform(0, 560), draw.uniform(0, 280)) for _ in range(6)]
        boxes = [(x, y, x + draw.uniform(20, 120), y + draw.uniform(20, 140)) for x, y in corners]
        first = place_tags(boxes, [SIZE] * 6, PICTURE, GAP)
        again = place_tags(boxes, [SIZE] * 6, PICTURE, GAP, [tag.place for tag in first])
        more = place_tags(boxes, [SIZE] * 6, PICTURE, GAP, [tag.place for tag in again])
        assert again == more


def test_a_label_wider_than_the_picture_and_no_box_at_all():
    assert place_tags([], [], PICTURE, GAP) == []
    (tag,) = place_tags([(2.0, 2.0, 30.0, 40.0)], [(90.0, 60.0)], (32.0, 48.0), GAP)
    assert tag.area == (0.0, 0.0, 90.0, 60.0) and tag.leader is None


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js, to run the page's script")
def test_the_page_places_labels_by_the_same_rule():
    script = (files("emotion_qwen.views") / "tags.js").read_text(encoding="utf-8")
    draw = random.Random(7)
    cases = []
    for count in (1, 2, 3, 5, 8) * 4:
        corners = [(draw.uniform(0, 560), draw.uniform(0, 280)) for _ in range(count)]
        boxes = [(x, y, x + draw.uniform(20, 120), y + draw.uniform(20, 140)) for x, y in corners]
        sizes = [(draw.uniform(40, 130), 20.0) for _ in boxes]
        cases.append((boxes, sizes, PICTURE, GAP, [draw.choice([None, 3, 10]) for _ in boxes]))
    code = f"{script}\nconsole.log(JSON.stringify({json.dumps(cases)}.map((c) => placeTags(...c))))"
    done = subprocess.run(["node", "-e", code], capture_output=True, text=True, check=True, timeout=60)
    for case, by_script in zip(cases, json.loads(done.stdout), strict=True):
        for tag, other in zip(place_tags(*case), by_script, strict=True):
            assert tag.place == other["place"] and tag.area == pytest.approx(other["area"])
            assert (tag.leader is None) == (other["leader"] is None)
            assert tag.leader is None or tag.leader == pytest.approx(other["leader"])


def test_the_script_has_the_same_constants():
    script = (files("emotion_qwen.views") / "tags.js").read_text(encoding="utf-8")
    for name, value in {
        "overTag": tags.OVER_TAG, "overFace": tags.OVER_FACE, "overSelf": tags.OVER_SELF, "away": tags.AWAY,
        "steps": tags.STEPS, "kept": tags.KEPT, "hair": tags.HAIR, "order": tags.ORDER,
    }.items():  # fmt: skip
        assert f"{name}: {value:g}," in script or f"{name}: {value:g} " in script
