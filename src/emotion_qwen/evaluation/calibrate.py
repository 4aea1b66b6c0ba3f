"""`emotion-qwen calibrate`: fit a temperature for each channel of a model, stored with the weights.

Temperature scaling (Guo et al., ICML 2017) divides the scores before the softmax by one number; the order of the labels
is unchanged. Here every channel has its own temperature, fitted by likelihood on validation items of several tasks that
have this channel alone, each task with the same weight. A temperature is only as good as its tasks: recordings like
those in training make a channel look better than it is, so the default tasks for sound and words are from sources that
nano was not trained on. The calibration error is that of either half of the items under a temperature fitted on the
other half.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
from scipy.optimize import minimize_scalar

from emotion_qwen.console import run_command
from emotion_qwen.engine.calibration import Calibration, ChannelFit
from emotion_qwen.engine.engine import Engine
from emotion_qwen.errors import CheckpointError, DataError, SettingsError, unknown_choice
from emotion_qwen.evaluation.run.answerers.local import LocalModel
from emotion_qwen.evaluation.run.predictions import Prediction
from emotion_qwen.evaluation.run.runner import answer_task
from emotion_qwen.evaluation.tasks import load_tasks
from emotion_qwen.questions import LANGUAGES
from emotion_qwen.taxonomy import LABEL_SETS

BINS = 15
COLDEST, HOTTEST = 0.05, 100.0
CHANNEL_TASKS: dict[str, tuple[str, ...]] = {
    "picture": ("fer",),
    "sound": ("ravdess_voices", "nemo", "emotiontts"),
    "words": ("meld_lines", "dailydialog_lines", "emorynlp_lines", "cped_lines"),
}
"""Channel -> tasks whose items have this channel alone."""
LABEL_SETS_HELD = "dfew7,fer7,ekman"
_SMALLEST = 1e-6  # predictions keep five digits of a share
Scored = tuple[np.ndarray, np.ndarray]
"""(N, K) shares and (N,) columns of the right labels."""


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


def fit_temperature(tasks: Sequence[Scored]) -> float:
    """Find the temperature under which the answers are likeliest, every task with the same weight."""

    def loss(logarithm: float) -> float:
        return float(np.mean([_surprise(tempered(shares, np.exp(logarithm)), right) for shares, right in tasks]))

    fit = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(fit.x))


def fit_channel(predictions: Mapping[str, Sequence[Prediction]]) -> ChannelFit:
    """Fit one channel to predictions of tasks that have it alone, made by a model without calibration.

    Items asked in two languages stay on one side when the fit is measured.

    Args:
        predictions: by name of the task.

    Raises:
        DataError: a task has fewer than two answered items, or its choices differ.
    """
    tasks = {name: _scored(name, lines) for name, lines in predictions.items()}
    halves = {name: _half(lines) for name, lines in predictions.items()}
    fits = [
        fit_temperature([(s[halves[name] == side], r[halves[name] == side]) for name, (s, r) in tasks.items()])
        for side in (False, True)
    ]
    before, after = [], []
    for name, (shares, right) in tasks.items():
        cross_fitted = np.empty_like(shares)
        for side, temperature in zip((True, False), fits, strict=True):
            cross_fitted[halves[name] == side] = tempered(shares[halves[name] == side], temperature)
        before.append(_calibration_error(shares, right))
        after.append(_calibration_error(cross_fitted, right))
    accuracies = [float((shares.argmax(1) == right).mean()) for shares, right in tasks.values()]
    return ChannelFit(
        temperature=round(fit_temperature(list(tasks.values())), 4),
        accuracy=round(float(np.mean(accuracies)), 4),
        before=round(float(np.mean(before)), 4),
        after=round(float(np.mean(after)), 4),
        items=sum(len({line.id for line in _answered(lines)}) for lines in predictions.values()),
        tasks=tuple(tasks),
    )


def _answered(lines: Sequence[Prediction]) -> list[Prediction]:
    return [line for line in lines if line.scores]  # others failed, abstained, or were answered in words


def _scored(task: str, lines: Sequence[Prediction]) -> Scored:
    scores = [line.scores or {} for line in _answered(lines)]
    ids, counts = {line.id for line in _answered(lines)}, {len(shares) for shares in scores}
    if len(ids) < 2 or len(counts) > 1:
        raise DataError(
            f"{len(ids)} answered item(s) of {task!r} with {len(counts)} numbers of choices; "
            "expected two items or more, all with the same choices"
        )
    right = [list(shares).index(line.answer) for shares, line in zip(scores, _answered(lines), strict=True)]
    return np.array([list(shares.values()) for shares in scores]), np.array(right)


def _half(lines: Sequence[Prediction]) -> np.ndarray:
    ids = sorted({line.id for line in _answered(lines)})
    return np.isin([line.id for line in _answered(lines)], ids[1::2])


def _surprise(shares: np.ndarray, right: np.ndarray) -> float:
    return -float(np.log(np.maximum(shares[np.arange(len(right)), right], 1e-12)).mean())


def _calibration_error(shares: np.ndarray, right: np.ndarray) -> float:
    return expected_calibration_error(shares.max(1), (shares.argmax(1) == right).astype(float))


def calibrate(
    engine: Engine,
    tasks: Mapping[str, Sequence[str]],
    data: Path | None,
    predictions: Path,
    *,
    languages: Sequence[str] = LANGUAGES,
    split: str = "validation",
    limit: int | None = None,
) -> dict[str, ChannelFit]:
    """Have a model answer tasks with single channels without calibration, and fit every channel.

    Args:
        engine: the model; its own calibration is ignored.
        tasks: channel -> names of tasks whose items have this channel alone.
        data: folder of the tasks' data.
        predictions: folder of the answers; an interrupted run continues from them.
        languages: of the questions.
        split: "validation" or "test".
        limit: number of items of each task.

    Raises:
        SettingsError: an unknown task.
        DataError: see `answer_task` and `fit_channel`.
    """
    engine.calibration = Calibration()
    answerer, fits = LocalModel(engine), {}
    for channel, names in tasks.items():
        lines: dict[str, Sequence[Prediction]] = {}
        for task in load_tasks(names):
            folder = predictions / task.column
            done = answer_task(answerer, task, folder, data=data, languages=languages, split=split, limit=limit)
            lines[task.name] = done.predictions
        fits[channel] = fit_channel(lines)
    return fits


def _tasks(chosen: Sequence[str], hears: bool) -> dict[str, tuple[str, ...]]:
    """Read `--channel picture=fer,folder` options; none given means `CHANNEL_TASKS`, without sound if not `hears`."""
    tasks = {}
    for text in chosen:
        channel, equals, names = text.partition("=")
        if channel not in CHANNEL_TASKS:
            raise SettingsError(unknown_choice("channel", channel, CHANNEL_TASKS))
        if not equals or not names:
            raise SettingsError(f"--channel {text!r} names no task; expected for example picture=fer or sound=nemo")
        if channel == "sound" and not hears:
            raise SettingsError(f"--channel {text!r}: the model has no audio input; leave the channel out")
        tasks[channel] = tuple(names.split(","))
    return tasks or {channel: names for channel, names in CHANNEL_TASKS.items() if hears or channel != "sound"}


@click.command(name="calibrate")
@click.argument("model")
@click.option("--data", type=click.Path(path_type=Path), default=None, help="Folder of the tasks' data.")
@click.option(
    "--channel", "chosen", multiple=True, metavar="CHANNEL=TASKS",
    help="Fit this channel on these tasks, e.g. picture=folder; several times. Default: all that the model has.",
)  # fmt: skip
@click.option(
    "--sets", default=LABEL_SETS_HELD, show_default=True, help="Label sets whose shares become probabilities."
)
@click.option("--split", type=click.Choice(["validation", "test"]), default="validation", show_default=True)
@click.option("--limit", type=int, default=None, help="Number of items per task.")
@click.option("--predictions", type=click.Path(path_type=Path), default=None, help="Keep answers, to continue later.")
def command(
    model: str, data: Path | None, chosen: Sequence[str], sets: str, split: str, limit: int | None,
    predictions: Path | None,
) -> None:  # fmt: skip
    """Fit the channels of MODEL, so that shares are probabilities and unreliable channels have little weight.

    MODEL is nano, a model or adapter folder, or a hub name. Only the given channels change; the file
    calibration.json is written into the model folder.
    """
    label_sets = tuple(sets.split(","))
    for name in label_sets:
        if name not in LABEL_SETS:
            raise SettingsError(unknown_choice("label set", name, LABEL_SETS))
    engine = Engine.load(model)
    hears = engine.processor.hearing is not None
    tasks = _tasks(chosen, hears)
    previous = _kept(engine.folder)
    with tempfile.TemporaryDirectory(prefix="emotion-qwen-calibrate-") as scratch:
        folder = predictions or Path(scratch)
        fits = calibrate(engine, tasks, data, folder, split=split, limit=limit)
    calibration = Calibration({**previous.channels, **fits}, tuple(dict.fromkeys((*previous.label_sets, *label_sets))))
    path = calibration.write(engine.folder)
    for channel, fit in fits.items():
        click.echo(
            f"{channel}: temperature {fit.temperature:.2f} on {fit.items} items of {', '.join(fit.tasks)}; right in "
            f"{fit.accuracy:.1%}, expected calibration error {fit.before:.1%} before, {fit.after:.1%} after"
        )
    if not hears:
        click.echo("sound: not fitted, the model has no audio input")
    click.echo(f"written to {path}")


def _kept(model: Path) -> Calibration:
    try:
        return Calibration.read(model)
    except CheckpointError:  # from another version; it is replaced
        return Calibration()


if __name__ == "__main__":
    sys.exit(run_command(command))
