"""Every figure of nano that a document quotes stands in the committed results."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = json.loads((ROOT / "docs" / "results" / "nano.json").read_text(encoding="utf-8"))
QUOTED = [ROOT / "README.md", ROOT / "README.zh.md", ROOT / "src" / "emotion_qwen" / "nano" / "README.md"]
ROWS = {"FER2013": "FER2013, 7 emotions", "LFW": "LFW, happiness or neutral", "CIFAR-10": "CIFAR-10, 10 objects"}
SENSES = json.loads((ROOT / "docs" / "results" / "senses.json").read_text(encoding="utf-8"))["tasks"]
HEARD = {"EmoDB": "emodb", "GoEmotions comments, 7": "goemotions", "Artificial": "moments"}
SHAPES = {"README.md": "Drawn shapes", "README.zh.md": "绘制的图形"}


@pytest.mark.parametrize("path", QUOTED, ids=lambda path: str(path.relative_to(ROOT)))
def test_quoted_accuracy_is_the_measured_one(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for start, name in {**ROWS, SHAPES[path.name]: "Drawn shapes"}.items():
        row = re.search(rf"^\| {start}.*$", text, re.MULTILINE)
        assert row, f"{path.name} has no table row for {start}"
        measured = RESULTS[name]["accuracy"]
        assert re.findall(r"([\d.]+) %", row.group()) == [str(measured["en"]), str(measured["zh"])]


@pytest.mark.parametrize("path", [QUOTED[0], QUOTED[2]], ids=lambda path: str(path.relative_to(ROOT)))
def test_quoted_figures_of_the_senses_are_the_measured_ones(path: Path) -> None:
    for start, name in HEARD.items():
        rows = re.findall(
            rf"^\| {start}[^|]*\| ([\d.]+) % \| ([\d.]+) % \|$", path.read_text(encoding="utf-8"), re.MULTILINE
        )
        assert rows == [tuple(str(SENSES[name][language]["accuracy"]) for language in ("en", "zh"))]


def test_nano_is_as_large_as_the_readme_says() -> None:
    from safetensors import safe_open

    with safe_open(ROOT / "src" / "emotion_qwen" / "nano" / "model.safetensors", "pt") as file:
        keys = file.keys()
        count = sum(file.get_tensor(key).numel() for key in keys)
    assert f"{count / 1e6:.1f}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert (ROOT / "src" / "emotion_qwen" / "nano" / "model.safetensors").stat().st_size <= 20e6


def test_the_guide_of_ver_quotes_its_results() -> None:
    text = (ROOT / "docs" / "guides" / "ver.md").read_text(encoding="utf-8")
    section = " ".join(text.partition("## Training on it")[2].partition("## Limits")[0].split())
    found = json.loads((ROOT / "docs" / "results" / "ver.json").read_text(encoding="utf-8"))
    loss, skill, built = found["training"]["held_out_loss_of_the_set"], found["skill_in_percent"], found["set"]
    assert f"{built['accepted']} clips were accepted" in section and f"the {built['validation']} held-out" in section
    assert f"from {loss['before']} to {loss['after']}:" in section
    for name in ("FER2013", "GoEmotions", "EmoDB", "drawn shapes"):
        row = next(row for task, row in skill.items() if task.lower().startswith(name.lower()))
        assert re.search(rf"{name}(?: goes)? from {row['before']} % to {row['after']} %", section), name
