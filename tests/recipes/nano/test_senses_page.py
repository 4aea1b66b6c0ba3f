"""The page of what a model hears and reads tells gains, losses and disagreement from the figures alone."""

from __future__ import annotations

import json

import pytest

from recipes.nano.senses_page import ALONE, conflicts, measure, write_results
from recipes.nano.tasks import BY_NAME, CHANNELS, CHOICES, moments_name


def figures() -> dict:
    """Invent figures: a moment with n channels is right in 40 + 10 n percent, less one for every choice before it."""
    found = {}
    for place, (name, channels) in enumerate([(n, ()) for n in ALONE] + [(moments_name(c), c) for c in CHOICES]):
        right = 40.0 + 10 * len(channels) - place * 0.1
        row = {"accuracy": right, "interval": [right - 3, right + 3], "macro_f1": right - 5, "uar": right - 6}
        found[name] = {"title": BY_NAME[name].title, "items": 100, "en": row, "zh": row}
    return found


def test_every_choice_of_channels_is_a_task():
    assert [moments_name(channels) in BY_NAME for channels in CHOICES] == [True] * 7
    assert moments_name(CHANNELS) == "moments" and moments_name(("sound",)) == "moments_sound"


def test_the_page_says_what_channels_add(tmp_path):
    counts = {"moments": 30, "named": 20, "read_as_meant": 10, "named_of_these": 9, "others_named": 2}
    write_results(figures(), counts, tmp_path)
    page = (tmp_path / "senses.md").read_text(encoding="utf-8")
    assert "All channels together are +20.4 points above the best one (picture)." in page
    assert "Without words: -10.1 points; alone, it is 34.9 above chance." in page
    assert "| picture + sound + words | 100 | 69.8 % | 66.8–72.8 | 64.8 % |" in page
    assert "In 10, every channel alone was read as intended" in page and "in 20." in page
    assert json.loads((tmp_path / "senses.json").read_text())["conflicts"] == counts
    assert (tmp_path / "senses.png").stat().st_size > 5000


@pytest.mark.slow
def test_real_moments_are_measured_and_the_odd_channel_is_looked_for(nano, shared_data, tmp_path):
    found = measure(nano, shared_data, tmp_path, limit=2)
    assert all(row["items"] == 2 and 0 <= row["en"]["accuracy"] <= 100 for row in found.values())
    told = conflicts(nano, shared_data, 3)
    assert told["moments"] == 3 and told["named_of_these"] <= told["read_as_meant"] <= 6
