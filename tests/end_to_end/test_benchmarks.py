"""Every benchmark runs from its files to its page with a small model, is interrupted somewhere, and ends the same."""

import json
import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emotion_qwen.evaluation.pages.score_page import write_report
from emotion_qwen.evaluation.run.answerers.local import LocalModel
from emotion_qwen.evaluation.run.predictions import LINES
from emotion_qwen.evaluation.run.runner import answer_task
from emotion_qwen.evaluation.run.score import score_run
from emotion_qwen.evaluation.tasks import TASKS
from emotion_qwen.faces import Detections
from evaluation import benchmark_files as files
from evaluation.prediction_files import without_seconds


def nobody(frame: np.ndarray) -> Detections:
    return Detections.none()


@pytest.mark.parametrize("name", list(files.WRITERS))
def test_a_benchmark_from_files_to_page(shallow, tmp_path, monkeypatch, name):
    options = {"wheels": str(files.write_wheels(tmp_path / "wheels"))} if name == "mer_unibench" else {}
    task = replace(TASKS[name].with_options(**options), max_new_tokens=6)
    data, language = files.WRITERS[name](tmp_path / "set"), task.languages[:1]
    folder = tmp_path / "run" / "nano" / name
    first = answer_task(LocalModel(shallow, 3, nobody), task, folder, data=data, languages=language, options=options)
    assert len(first.predictions) == len(first.items) > 0
    lines = folder / LINES
    whole, page = without_seconds(lines), _scores(tmp_path / "run")
    cut = random.Random().randrange(lines.stat().st_size)
    os.truncate(lines, cut)
    answer_task(LocalModel(shallow, 3, nobody), task, folder, data=data, languages=language, options=options)
    assert without_seconds(lines) == whole, f"cut at byte {cut}"
    assert _scores(tmp_path / "run") == page


def _scores(run: Path) -> list[dict]:
    scored = score_run(run)
    assert scored.columns and not scored.unscored
    write_report(run, scored)
    return json.loads((run / "scores.json").read_text(encoding="utf-8"))["columns"]
