"""The figures of the guide to generated faces are those of the committed results."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
MODELS = ("nano", "mini", "fer", "face-api", "human-models emotion")
RIGS = {"drawn face": "drawn", "ICT head": "ict"}


def rows_of(pattern: str) -> list[tuple[str, ...]]:
    text = (DOCS / "guides" / "express.md").read_text(encoding="utf-8")
    return [tuple(cell.strip() for cell in row.split("|")[1:-1]) for row in re.findall(pattern, text, re.MULTILINE)]


def test_quoted_thresholds_are_the_measured_ones() -> None:
    results = json.loads((DOCS / "results" / "probe.json").read_text(encoding="utf-8"))
    rows = rows_of(r"^\| (?:nano|mini|fer|face-api|human-models emotion) \|.*$")
    assert [(row[0], row[1]) for row in rows] == [(m, r) for m in MODELS for r in RIGS]
    for model, rig, *cells in rows:
        for emotion, cell in zip(EMOTIONS, cells, strict=True):
            measured = results[model][RIGS[rig]]["plain"][emotion]
            threshold = "never" if measured["threshold"] is None else f"{measured['threshold']:.2f}"
            assert cell == f"{threshold} ({measured['read_at_full']:.0%})", (model, rig, emotion)


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_the_readme_quotes_thresholds_of_the_drawn_face(name: str) -> None:
    results = json.loads((DOCS / "results" / "probe.json").read_text(encoding="utf-8"))
    text = (DOCS.parent / name).read_text(encoding="utf-8").replace("从不", "never")
    rows = re.findall(r"^\| (nano|mini|`fer`[^|]*) \|(.*)\|$", text, re.MULTILINE)
    assert len(rows) == 3
    for model, cells in rows:
        plain = results[model.split()[0].strip("`")]["drawn"]["plain"]
        for emotion, cell in zip(EMOTIONS, cells.split("|"), strict=True):
            measured = plain[emotion]
            threshold = "never" if measured["threshold"] is None else f"{measured['threshold']:.2f}"
            assert cell.strip() == f"{threshold} ({measured['read_at_full']:.0%})", (model, emotion)


def test_quoted_conditions_are_the_measured_ones() -> None:
    conditions = json.loads((DOCS / "results" / "probe.json").read_text(encoding="utf-8"))["nano"]["drawn"]
    rows = {row[0].strip("`"): row[1:] for row in rows_of(r"^\| `\w+` \|(?: \d+% \|)+.*$")}
    assert set(rows) == set(conditions)
    for name, cells in rows.items():
        expected = [f"{conditions[name][emotion]['read_at_full']:.0%}" for emotion in EMOTIONS]
        assert list(cells) == [*expected, conditions[name]["detected"]]


def test_quoted_agreement_of_the_replay_is_the_measured_one() -> None:
    results = json.loads((DOCS / "results" / "replay.json").read_text(encoding="utf-8"))
    faces = {"mini's facial actions": "track", "drawn face": "drawn", "ICT head": "ict"}
    rows = {row[0]: row[1:] for row in rows_of(r"^\| (?:mini's facial actions|drawn face|ICT head) \|.*$")}
    assert set(rows) == set(faces)
    for name, cells in rows.items():
        for group, cell in zip(("smile", "jaw", "brow raised", "brow lowered"), cells, strict=True):
            measured = results[faces[name]][group]
            low, high = measured["interval"]
            assert cell == f"{measured['r']:.2f} ({low:.2f} to {high:.2f})", (name, group)


def test_the_chinese_guide_quotes_the_same_figures() -> None:
    figures = [
        re.findall(
            r"(?:never|从不|\d\.\d\d) \(\d+%\)|\| \d+% |\d+ of \d+|-?\d\.\d\d to -?\d\.\d\d",
            text.replace("从不", "never"),
        )
        for text in ((DOCS / "guides" / name).read_text(encoding="utf-8") for name in ("express.md", "express.zh.md"))
    ]
    assert figures[0] == figures[1] and len(figures[0]) > 100
