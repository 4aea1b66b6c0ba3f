"""The temperature is found, measured on items it did not see, and kept without harm to what stood there."""

from __future__ import annotations

import json

import numpy as np
import pytest

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.calibrate import (
    Calibration,
    calibrate,
    expected_calibration_error,
    fit_temperature,
    keep,
    tempered,
)
from emotion_qwen.evaluation.predict import Prediction
from emotion_qwen.inference.engine import Engine

NAMES = ("sad", "happy", "fear")


def drawn(count: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw shares that are overconfident by `temperature`, and answers from the honest ones."""
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 1.5, (count, 3))
    honest = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    answers = np.array([rng.choice(3, p=row) for row in honest])
    return tempered(honest, 1 / temperature), answers


def lines(shares: np.ndarray, answers: np.ndarray, languages: tuple[str, ...] = ("en",)) -> list[Prediction]:
    return [
        Prediction(
            f"item/{n}", language, NAMES[a], NAMES[a], NAMES[int(row.argmax())],
            dict(zip(NAMES, row.tolist(), strict=True)), (0.5, 0.5), 3, "x",
        )
        for n, (row, a) in enumerate(zip(shares, answers, strict=True))
        for language in languages
    ]  # fmt: skip


def test_the_error_is_the_mean_gap_of_confidence_and_accuracy():
    shares, right = np.array([0.9, 0.9, 0.9, 0.9, 0.5, 0.5]), np.array([1.0, 1, 0, 0, 1, 0])
    assert expected_calibration_error(shares, right) == pytest.approx(4 / 6 * 0.4)
    assert expected_calibration_error(np.ones(3), np.ones(3)) == 0.0


def test_the_temperature_is_found():
    shares, answers = drawn(4000, 2.0)
    assert fit_temperature(shares, answers) == pytest.approx(2.0, rel=0.08)
    assert tempered(shares, 1.0) == pytest.approx(shares, abs=1e-5)
    assert tempered(shares, 2.0).argmax(1).tolist() == shares.argmax(1).tolist()


def test_calibration_helps_on_items_it_did_not_see():
    found = calibrate(lines(*drawn(3000, 2.5), languages=("en", "zh")), "fer")
    assert found.items == 3000 and found.before > 0.12 and found.after < 0.03
    assert found.temperature == pytest.approx(2.5, rel=0.1)


def test_what_cannot_be_calibrated_is_refused():
    with pytest.raises(DataError, match=r"1 item\(s\) of 'fer' with 1 numbers of choices; expected two items or more"):
        calibrate(lines(*drawn(1, 1.0)), "fer")
    with pytest.raises(DataError, match=r"0 item\(s\) of 'fer'"):
        calibrate([], "fer")


def test_a_calibration_is_kept_beside_those_of_other_sets_and_found_again(tmp_path, nano):
    (tmp_path / "calibration.json").write_text(json.dumps({"mer6": {"temperature": 3.0}}))
    keep(Calibration(1.7, 0.1, 0.02, 9, "fer"), ("dfew7", "fer7"), tmp_path)
    engine = Engine(nano.model, nano.processor, str(tmp_path))
    assert [engine.temperature(name) for name in ("dfew7", "fer7", "mer6", "ekman")] == [1.7, 1.7, 3.0, None]
    assert not list(tmp_path.glob("*.part"))
