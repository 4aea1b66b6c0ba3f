"""Documented commands that take seconds are run as printed; `make fresh` runs all of them in a new clone."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from tests.documents import ROOT, documented_calls
from tests.fresh.workplace import lay_out

from emotion_qwen.cli import main

QUICK = (
    "data check", "data import llava", "data import sharegpt", "data import folder", "doctor", "eval --list", "ask",
    "faces", "convert Qwen2.5-VL-7B-Instruct my-model --whisper", "analyze interview.mp4 --start",
    "analyze clips/ --output reports.jsonl", "export", "eval agree", "eval --tasks folder --option folder.tier",
)  # fmt: skip
SLOW = ("--replicas", "--engine", "--model openai:")
"""Parts of commands that start processes or need a service; `make fresh` runs these."""
TEXTS = {call: shlex.join(call) for call in documented_calls()}
CALLS = [
    call for call, text in TEXTS.items()
    if (text.startswith(QUICK) or "--dry-run" in call) and not any(part in text for part in SLOW)
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with everything that the commands name, and the configurations of the repository."""
    folder = tmp_path_factory.mktemp("new") / "a b" / "工"
    folder.mkdir(parents=True)
    lay_out(folder, None)
    for name in ("configs", "recipes"):
        (folder / name).symlink_to(ROOT / name, target_is_directory=True)
    return folder


def test_most_kinds_of_commands_are_run() -> None:
    assert {call[0] for call in CALLS} >= {"data", "doctor", "eval", "ask", "faces", "convert", "train", "analyze"}


@pytest.mark.parametrize("call", CALLS, ids=shlex.join)
def test_it_runs(place, nano_in_commands, monkeypatch, capsys, call) -> None:
    monkeypatch.chdir(place)
    assert main(list(call)) == 0, capsys.readouterr().err
    assert "Traceback" not in capsys.readouterr().err and os.listdir(place)
