"""The examples by which the guides show tasks and data of one's own do what the guides say."""

from __future__ import annotations

import re
import sys

import pytest
import yaml
from tests.documents import ROOT

from emotion_qwen.cli import main
from emotion_qwen.training.plan import make_mixture, read_settings


def block(guide: str, heading: str, language: str) -> str:
    """Return the first fenced block of a language under a heading of a guide."""
    text = (ROOT / "docs" / "guides" / guide).read_text(encoding="utf-8")
    section = text[text.index(f"{heading}\n") :]
    found = re.search(rf"^```{language}\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert found, f"{guide}, {heading}: no {language}"
    return found.group(1)


@pytest.fixture
def place(tmp_path, monkeypatch, tasks_as_before):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("my_tasks", "my_parts"):
        sys.modules.pop(name, None)


def test_a_task_of_ones_own_is_answered_and_scored_again(place, capsys):
    (place / "my_tasks.py").write_text(block("own_tasks.md", "# Tasks of your own", "python"))
    asked = [
        "eval",
        "--tasks",
        "my_tasks.py:sums",
        "--model",
        "nano",
        "--limit",
        "2",
        "--output",
        "own",
        "--device",
        "cpu",
    ]
    assert main(asked) == 0, capsys.readouterr().err
    assert main(["eval", "score", "own", "--tasks", "my_tasks.py"]) == 0
    assert "Sums" in (place / "own" / "report.md").read_text(encoding="utf-8")


def test_data_of_ones_own_kind_are_a_part_of_a_mixture(place):
    (place / "my_parts.py").write_text(block("training.md", "### Data of your own kind", "python"))
    data = yaml.safe_load(block("training.md", "### Data of your own kind", "yaml"))
    run = {"stage": "general", "start": "nano", "output": "run", "optim": {"steps": 3}, **data}
    (place / "run.yaml").write_text(yaml.safe_dump(run))
    mixture = make_mixture(read_settings(place / "run.yaml"), 1)
    assert len(mixture.parts[0]) == 9 and mixture[0].sample.messages[0]["content"].startswith("What is 1 plus")
