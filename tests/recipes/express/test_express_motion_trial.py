"""Learned motion is compared with a clip by a model that was trained without it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emotion_qwen.console import run_command
from emotion_qwen.express.track import EMOTIONS, PLACE
from recipes.express import motion, motion_trial
from recipes.express.page import page, read_figures

RESULTS = Path(__file__).parents[3] / "docs" / "results"
PERSON = SimpleNamespace(
    timeline=[
        SimpleNamespace(start=0.0, end=1.0, distribution={"happy": 0.8, "neutral": 0.2}),
        SimpleNamespace(start=1.0, end=2.0, distribution={"angry": 1.0}),
    ]
)


def clip(path: Path, seconds: float, hertz: float) -> Path:
    """Write what a landmarker would measure at 24 frames per second: a moving jaw, brows that blink, a turning head."""
    names = ["_neutral", "jawOpen", *(name for name in PLACE if name not in ("jawOpen", "tongueOut"))]
    rows = []
    for number in range(int(24 * seconds)):
        wave = 0.5 + 0.3 * np.sin(2 * np.pi * hertz * number / 24)
        shapes = [0.0, wave, *[0.1 * wave] * (len(names) - 2)]
        rows.append({"time": number / 24, "detected": number != 3, "shapes": shapes, "angles": [10 * wave, 0.0, -wave]})
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"shapes": ",".join(names)})
    pq.write_table(table, path)
    return path


def test_a_clip_is_a_track_with_the_emotions_of_its_report(tmp_path: Path) -> None:
    track = motion.clip_track(clip(tmp_path / "a.parquet", 2.0, 0.5), PERSON)
    assert track.fps == 30 and len(track.frames) == 59
    wave = 0.5 + 0.3 * np.sin(2 * np.pi * 0.5 * track.times)
    np.testing.assert_allclose(track.frames[:, PLACE["jawOpen"]], wave, atol=0.02)
    np.testing.assert_allclose(track.head[:, 0], 10 * wave, atol=0.2)
    happy, angry = (track.emotions[:, EMOTIONS.index(name)] for name in ("happiness", "anger"))
    assert happy[15] == pytest.approx(0.8) and angry[45] == pytest.approx(1.0) and angry[30] == pytest.approx(0.5)
    assert not track.frames[:, PLACE["tongueOut"]].any()


def test_a_trial_leaves_each_clip_out_and_its_model_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(motion_trial, "read_person", lambda report: PERSON)
    monkeypatch.setattr(motion, "read_person", lambda report: PERSON)
    monkeypatch.setattr(motion, "SEEDS", 2)
    arguments = ["--models", str(tmp_path / "models"), "--steps", "1", "--size", "1"]
    for name, seconds, hertz in (("a", 2.0, 0.5), ("b", 1.5, 1.0), ("short", 1.0, 1.0)):
        arguments += ["--clip", str(clip(tmp_path / f"{name}.parquet", seconds, hertz)), "report.json"]
    assert run_command(motion_trial.trial, arguments) == 0
    assert capsys.readouterr().err.startswith("short: 29 frames at 30 per second; expected at least 32, 1.1 s")
    for name, other in (("a", "b"), ("b", "a")):
        assert json.loads((tmp_path / "models" / name / "training.json").read_text())["recordings"] == [other]
    figures = motion.learned(tmp_path / "models" / "a", tmp_path / "a.parquet", Path("report.json"))
    assert (figures["clips"], figures["steps"], figures["trained_seconds"]) == (1, 1, 1.5)
    by_rule = motion.compared(tmp_path / "a.parquet", Path("report.json"))
    speed = [each["figures"]["jaw, speed"] for each in (figures, by_rule)]
    assert speed[0]["real"] == speed[1]["real"] and speed[0]["ratio"] != speed[1]["ratio"]


def test_the_page_counts_what_is_within_the_bar() -> None:
    figures = copy.deepcopy(read_figures(RESULTS))
    assert figures["motion"]
    for stored in figures["motion"].values():
        stored.pop("learned", None)
    assert "### Learned motion" not in page(figures)
    name, stored = next(iter(figures["motion"].items()))
    rows = copy.deepcopy(stored["figures"])
    for number, row in enumerate(rows.values()):
        row["ratio"] = (0.5, 2.0, 2.01)[min(number, 2)]
    stored["learned"] = {"clips": 3, "trained_seconds": 6.4, "steps": 90, "seconds": 1.0, "seeds": 2, "figures": rows}
    text = page(figures)
    assert f"| | {name}, {stored['seconds']} s |" in text and "trained on the 3 other clips (6.4 to 6.4 s" in text
    by_rule = sum(0.5 <= row["ratio"] <= 2 for row in stored["figures"].values())
    assert f"Within the bar are 2 of {len(rows)} figures of learned motion, and {by_rule} of {len(rows)} by" in text
    assert f"| smile, speed | 0.5 ({stored['figures']['smile, speed']['ratio']}) |" in text
