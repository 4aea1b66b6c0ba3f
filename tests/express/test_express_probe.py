"""The probe: a model whose thresholds are known is measured, stored, shown and compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emotion_qwen.cli import main
from emotion_qwen.errors import SettingsError
from emotion_qwen.evaluation.probe.measures import (
    changes,
    confusion_counts,
    detection_rate,
    dose_responses,
    threshold_of,
)
from emotion_qwen.evaluation.probe.run import read_probe, run_probe, write_probe
from emotion_qwen.evaluation.probe.stimuli import CONDITIONS, ProbeGrid, Stimulus, rendered, stimuli_of
from emotion_qwen.express.mesh import HeadMesh
from emotion_qwen.express.track import EMOTIONS, PLACE

GRID = ProbeGrid(emotions=("happiness", "fear"), intensities=(0.25, 0.5, 1.0), identities=("amber", "dune"))


class PlainRig:
    """A picture whose brightness tells the smile."""

    name = "plain"
    mesh: HeadMesh | None = None

    def render(self, frame, head, identity="amber", size=512, fine=2) -> np.ndarray:
        return np.full((32, 32, 3), round(200 * frame[PLACE["mouthSmileLeft"]]), np.uint8)

    def box(self, head, size=512) -> np.ndarray:
        return np.array([8.0, 8.0, 24.0, 24.0])


class SmileReader:
    """Reads happiness from a brightness on, and otherwise nothing."""

    def __init__(self, level: float, name: str = "smile reader") -> None:
        self.level, self.name = level, name

    def __call__(self, pictures, boxes) -> list[dict[str, float]]:
        shares = [min(picture.mean() / 400, 1) if picture.mean() >= self.level else 0.0 for picture in pictures]
        rest = dict.fromkeys(EMOTIONS, 0.0)
        return [{**rest, "happiness": 0.4 + 0.6 * s, "neutral": 0.6 - 0.6 * s} if s else {**rest, "neutral": 1.0}
                for s in shares]  # fmt: skip


def nobody(frame: np.ndarray):
    from emotion_qwen.faces.detect import Detections

    return Detections.none()


def test_a_grid_has_every_combination_and_each_face_at_rest_once() -> None:
    stimuli = list(stimuli_of(GRID))
    assert len(stimuli) == len(set(stimuli)) == 2 * (1 + 2 * 3)
    assert [s.intensity for s in stimuli if s.emotion == "neutral"] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"emotions": ["neutral"]}, "unknown emotions 'neutral'"),
        ({"identities": ["mona"]}, "unknown identities 'mona'"),
        ({"conditions": ["fog"]}, "unknown conditions 'fog'"),
        ({"intensities": [1, 0.5]}, "expected ascending numbers above 0, at most 1.5"),
        ({"intensities": [0, 0.5]}, "expected ascending numbers above 0"),
        ({"intensities": [0.5]}, "at least 2 items"),
    ],
)
def test_a_grid_that_does_not_fit_is_refused(values: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ProbeGrid.of(values, "probe")


def test_thresholds_are_interpolated_and_must_last() -> None:
    assert threshold_of((0, 0.5, 1), (0, 0.25, 0.75)) == 0.75
    assert threshold_of((0, 0.5, 1), (0, 1, 0.25)) is None
    assert threshold_of((0, 0.5, 1), (1, 0, 1)) == 0.75
    assert threshold_of((0, 0.5, 1), (1, 1, 1)) == 0


def test_a_model_that_reads_smiles_is_measured_as_one() -> None:
    result = run_probe(GRID, PlainRig(), SmileReader(75), nobody)
    smile, fear = dose_responses(result)
    assert smile.rates[-1] == 1 and smile.rates[:2] == (0, 0) and smile.threshold == 0.375
    assert smile.correlation is not None and smile.correlation > 0.9 and smile.slope > 0 and smile.faces == 2
    assert fear.threshold is None and fear.correlation is None and fear.low == 0
    counts = confusion_counts(result, "plain")
    assert counts[EMOTIONS.index("happiness"), EMOTIONS.index("happiness")] == 2
    assert counts[EMOTIONS.index("fear"), EMOTIONS.index("neutral")] == 2 and counts.sum() == 6
    assert detection_rate(result, "plain") == (0, 14)


def test_a_probe_is_stored_and_compared(tmp_path: Path, capsys) -> None:
    for name, level in (("good", 75), ("poor", 1000)):
        write_probe(run_probe(GRID, PlainRig(), SmileReader(level, name), nobody), {}, tmp_path / f"{name}.json")
    good, poor = (read_probe(tmp_path / f"{name}.json") for name in ("good", "poor"))
    assert good.model == "good" and good.grid == GRID and good.answers[3].shares is not None
    assert json.loads((tmp_path / "good.json").read_text())["synthetic"] is True
    assert [change.loss for change in changes(good, poor)] == [1.0, 0.0]
    arguments = ["probe", "compare", str(tmp_path / "good.json"), str(tmp_path / "poor.json")]
    assert main(arguments) == 0
    assert main([*arguments, "--largest-loss", "0.5"]) == 1
    text = capsys.readouterr()
    assert "happiness  0.38" in text.out and "lost: happiness (plain) by 100 points" in text.err
    (tmp_path / "bad.json").write_text("{}")
    assert main(["probe", "compare", str(tmp_path / "bad.json"), str(tmp_path / "poor.json")]) == 2
    assert "is no stored probe" in capsys.readouterr().err


def test_probes_of_other_grids_are_not_compared(tmp_path: Path, capsys) -> None:
    other = ProbeGrid(emotions=("fear",), intensities=(0.5, 1.0), identities=("amber",))
    for name, grid in (("a", GRID), ("b", other)):
        write_probe(run_probe(grid, PlainRig(), SmileReader(75), nobody), {}, tmp_path / f"{name}.json")
    assert main(["probe", "compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 2
    assert "the grids of the two probes differ" in capsys.readouterr().err


def test_conditions_change_the_picture_and_keep_the_box_on_the_face() -> None:
    from emotion_qwen.express.rigs import DrawnRig

    rig, plain = DrawnRig(), None
    for name in CONDITIONS:
        picture, box = rendered(Stimulus("happiness", 1.0, "amber", name), rig, 96)
        assert box.min() >= 0 and box.max() <= len(picture) and box[2] - box[0] > 20
        if name == "plain":
            plain = picture
        else:
            assert picture.shape != plain.shape or np.abs(picture.astype(int) - plain).mean() > 0.5, name


def test_the_command_measures_a_function_of_the_user(tmp_path: Path, capsys) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "probe_judge.py").write_text(
        "def read(picture):\n    return {'happy': float(picture.std()), 'neutral': 40.0}\n"
    )
    outputs = ["--output", str(tmp_path / "p.json"), "--output", str(tmp_path / "p.html")]
    grid = ["--emotions", "happiness", "--intensities", "0.5,1", "--identities", "amber", "--model"]
    assert main(["probe", *grid, f"{tmp_path}/probe_judge.py:read", *outputs]) == 0
    out = capsys.readouterr().out
    assert out.startswith("condition  emotion") and "plain      happiness" in out
    stored = json.loads((tmp_path / "p.json").read_text())
    assert len(stored["answers"]) == 3 and stored["summary"]["detected"]["plain"] == {"found": 3, "pictures": 3}
    page = (tmp_path / "p.html").read_text()
    assert "All faces are synthetic" in page and page.count("data:image/png;base64,") == 3
    assert main(["probe", "--output", "p.txt"]) == 2 and "expected .json or .html" in capsys.readouterr().err
    assert main(["probe", "--intensities", "low"]) == 2 and "expected numbers such as" in capsys.readouterr().err
