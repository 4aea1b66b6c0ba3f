"""Fit one temperature, so that a share of 70 % is right in 70 of 100 cases, and keep it beside the model's weights.

Temperature scaling (Guo et al., ICML 2017) divides the scores before the softmax by one number; the order of the labels
stays. It is fitted by likelihood on validation items. How well calibrated a model is afterwards is measured on the half
of the items that the temperature was not fitted on, both ways round.

python -m emotion_qwen.evaluation.calibrate --predictions FOLDER --model MODEL
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from scipy.optimize import minimize_scalar

from emotion_qwen.console import run_command
from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.predict import Prediction, read_header, read_predictions
from emotion_qwen.files import write_whole
from emotion_qwen.inference.engine import CALIBRATION

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0
_SMALLEST = 1e-6  # predictions keep five digits of a share


@dataclass(frozen=True)
class Calibration:
    """How one model is calibrated on one task.

    Attributes:
        temperature: fitted on all items; scores are divided by it.
        before: expected calibration error, share in 0..1, as the model came.
        after: the same with a temperature fitted on the other half of the items.
        items: how many there were.
        task: on which it was fitted.
    """

    temperature: float
    before: float
    after: float
    items: int
    task: str


def expected_calibration_error(shares: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Compute the mean distance of confidence and accuracy over bins of equal width, weighted by their items.

    Args:
        shares: (N,) of the leading label, 0..1.
        right: (N,) 1 where it is the answer.
        bins: of the confidence.
    """
    places = np.minimum((shares * bins).astype(int), bins - 1)
    gaps = [
        abs(shares[places == b].mean() - right[places == b].mean()) * (places == b).sum() for b in np.unique(places)
    ]
    return float(sum(gaps) / len(shares))


def tempered(shares: np.ndarray, temperature: float) -> np.ndarray:
    """Return (..., K) shares as if their scores had been divided by a temperature."""
    scores = np.log(np.maximum(shares, _SMALLEST)) / temperature
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    return scores / scores.sum(-1, keepdims=True)


def fit_temperature(shares: np.ndarray, answers: np.ndarray) -> float:
    """Find the temperature under which the answers are likeliest.

    Args:
        shares: (N, K).
        answers: (N,) columns of the right labels.
    """
    rows = np.arange(len(answers))

    def surprise(logarithm: float) -> float:
        return -float(np.log(np.maximum(tempered(shares, np.exp(logarithm))[rows, answers], 1e-12)).mean())

    found = minimize_scalar(surprise, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))


def calibrate(predictions: Sequence[Prediction], task: str) -> Calibration:
    """Fit a temperature to predictions, and measure what it does on items it was not fitted on.

    Items asked in two languages stay on one side.

    Raises:
        DataError: there are fewer than two items, or their choices differ.
    """
    predictions = [one for one in predictions if one.scores]  # others failed, or were answered in words
    scores = [one.scores or {} for one in predictions]
    ids, counts = sorted({one.id for one in predictions}), {len(one) for one in scores}
    if len(ids) < 2 or len(counts) > 1:
        raise DataError(
            f"{len(ids)} item(s) of {task!r} with {len(counts)} numbers of choices; "
            "expected two items or more, all with the same choices"
        )
    shares = np.array([list(one.values()) for one in scores])  # (N, K)
    answers = np.array([list(one).index(line.answer) for one, line in zip(scores, predictions, strict=True)])
    second = np.isin([one.id for one in predictions], ids[1::2])
    after = np.empty_like(shares)
    for half in (second, ~second):
        after[half] = tempered(shares[half], fit_temperature(shares[~half], answers[~half]))
    return Calibration(
        temperature=round(fit_temperature(shares, answers), 4),
        before=expected_calibration_error(shares.max(1), (shares.argmax(1) == answers).astype(float)),
        after=expected_calibration_error(after.max(1), (after.argmax(1) == answers).astype(float)),
        items=len(ids),
        task=task,
    )


def keep(calibration: Calibration, label_sets: Sequence[str], model: Path) -> Path:
    """Write a calibration beside a model's weights, for the label sets it holds for; others stay as they are."""
    path = model / CALIBRATION
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    known.update(dict.fromkeys(label_sets, asdict(calibration)))
    write_whole(path, json.dumps(known, indent=2) + "\n")
    return path


@click.command()
@click.option("--predictions", type=click.Path(path_type=Path), required=True, help="Folder of one task's predictions.")
@click.option("--model", type=click.Path(path_type=Path, exists=True), required=True, help="Folder of that model.")
@click.option(
    "--sets", default="dfew7,fer7,ekman", show_default=True, help="Label sets that the temperature holds for."
)
def main(predictions: Path, model: Path, sets: str) -> None:
    """Fit a temperature on a task's predictions and keep it beside the model."""
    found = calibrate(read_predictions(predictions), read_header(predictions)["task"])
    path = keep(found, sets.split(","), model)
    click.echo(
        f"temperature {found.temperature:.3f} on {found.items} items: expected calibration error "
        f"{found.before:.1%} before, {found.after:.1%} after; written to {path}"
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
