"""The page of learned expressions says what the figures say."""

from __future__ import annotations

import json
from pathlib import Path

from emotion_qwen.express.track import EMOTIONS
from recipes.express.page import PARTS, page, percent, read_figures, runs_of

RESULTS = Path(__file__).parents[3] / "docs" / "results"


def test_the_committed_page_is_made_of_the_committed_figures() -> None:
    assert (RESULTS / "express.md").read_text(encoding="utf-8") == page(read_figures(RESULTS))


def test_the_figures_keep_what_the_page_states_about_them() -> None:
    figures = json.loads((RESULTS / "express.json").read_text(encoding="utf-8"))
    for run in runs_of(figures, "gaussian"):
        limits, chosen = figures["limits"], run["chosen"]
        assert chosen["diversity"] >= limits["diversity"] and round(chosen["distance"], 2) <= limits["distance"]
    every = [entry for run in figures["generators"].values() for entry in run["recognised"].values()]
    assert all(0 <= entry["value"] <= 1 and entry["low"] <= entry["high"] for entry in every)
    assert set(figures["lost_without"]) <= set(PARTS)
    assert {name for run in figures["generators"].values() for name in run["recognised"]} == {"all", *EMOTIONS}


def test_a_share_is_written_in_percent_with_its_interval() -> None:
    assert percent({"value": 0.6237, "low": 0.5, "high": 0.7004}) == "62.4 (50.0–70.0)"
    assert [
        run["n"] for run in runs_of({"generators": {"full-0": {"n": 1}, "full-1": {"n": 2}, "table": {"n": 3}}}, "full")
    ] == [1, 2]
