"""nano reads generated faces at least as well as when `nano_probe.json` was made: a gate for new weights and renderers.

After a change that is meant to move its answers, compare, and store the new ones:

    emotion-qwen probe --model nano --device cpu --emotions anger,happiness,sadness,surprise --intensities 0.5,1 \\
        --identities amber,dune --output new.json
    emotion-qwen probe compare tests/express/nano_probe.json new.json
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emotion_qwen.cli import main
from emotion_qwen.evaluation.probe.measures import changes
from emotion_qwen.evaluation.probe.run import read_probe, run_probe, write_probe
from emotion_qwen.express.readers import reader_of
from emotion_qwen.express.rigs import DrawnRig
from emotion_qwen.faces.detect import Detections

STORED = Path(__file__).with_name("nano_probe.json")
LARGEST_LOSS = 0.25
"""Share of faces at full intensity; with two faces per cell, none may be lost."""
TOLERANCE = 0.05
"""Of a mean share. Processors differ by less than a thousandth, in the network and in a level of a few pixels."""


def nobody(frame: np.ndarray) -> Detections:
    return Detections.none()


def test_nano_loses_no_emotion_in_generated_faces(tmp_path: Path, capsys) -> None:
    before = read_probe(STORED)
    after = run_probe(before.grid, DrawnRig(), reader_of("nano", "cpu"), nobody)
    write_probe(after, {}, tmp_path / "after.json")
    arguments = ["probe", "compare", str(STORED), str(tmp_path / "after.json"), "--largest-loss", str(LARGEST_LOSS)]
    assert main(arguments) == 0, capsys.readouterr().err
    for pair in changes(before, after):
        name = pair.before.emotion
        assert np.abs(np.subtract(pair.before.shares, pair.after.shares)).max() < TOLERANCE, name


def test_the_gate_closes_for_a_model_that_takes_all_faces_for_neutral(tmp_path: Path, capsys) -> None:
    before = read_probe(STORED)

    class Blind:
        name = "blind"

        def __call__(self, pictures, boxes) -> list[dict[str, float]]:
            shares = {**dict.fromkeys(before.answers[0].shares or {}, 0.0), "neutral": 1.0}
            return [shares for _ in pictures]

    class Grey(DrawnRig):
        def render(self, frame, head, identity="amber", size=512, fine=2) -> np.ndarray:
            return np.full((8, 8, 3), 128, np.uint8)

    write_probe(run_probe(before.grid, Grey(), Blind(), nobody), {}, tmp_path / "blind.json")
    arguments = ["probe", "compare", str(STORED), str(tmp_path / "blind.json"), "--largest-loss", str(LARGEST_LOSS)]
    assert main(arguments) == 1
    assert "lost: happiness (plain) by 100 points" in capsys.readouterr().err
