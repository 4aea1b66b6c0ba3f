"""Scoring runs where no torch is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import emotion_qwen.evaluation.scoring as scoring

CODE = """
import importlib, sys
class NotInstalled:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(f"No module named {{name}}", name=name)
sys.meta_path.insert(0, NotInstalled())
for name in {names!r}:
    importlib.import_module("emotion_qwen.evaluation.scoring." + name)
from emotion_qwen.evaluation.scoring.labels import score_labels
from emotion_qwen.evaluation.scoring.records import Response as Answer, ScoredItem
from emotion_qwen.taxonomy import label_set
found = score_labels([ScoredItem("1", ("sad",))], [Answer("1", "sad")], label_set("dfew7"))
print(found["WAR"].value)
"""


def test_every_scorer_imports_and_runs_without_torch():
    names = sorted(path.stem for path in Path(scoring.__file__).parent.glob("*.py") if path.stem != "__init__")
    code = CODE.format(names=names)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "1.0\n", done.stderr
