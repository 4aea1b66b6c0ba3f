"""`emotion-qwen calibrate`: fit a temperature for each channel of a model, stored with the weights.

Temperature scaling (Guo et al., ICML 2017) divides the scores before the softmax by one number; the order of the labels
is unchanged. Here every channel has its own temperature, fitted by likelihood on validation items of several tasks that
have this channel alone, each task with the same weight. A temperature is only as good as its tasks: recordings similar
to those in training make a channel look better than it is, so the default tasks for sound and words are from sources
that nano was not trained on. The calibration error is that of either half of the items under a temperature fitted on
the other half.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
from scipy.optimize import minimize, minimize_scalar

from emotion_qwen.console import run_command
from emotion_qwen.engine.calibration import Calibration, ChannelFit
from emotion_qwen.engine.engine import Engine
from emotion_qwen.errors import CheckpointError, DataError, SettingsError, unknown_choice
from emotion_qwen.evaluation.run.answerers.local import LocalModel
from emotion_qwen.evaluation.run.predictions import Prediction
from emotion_qwen.evaluation.run.runner import answer_task
from emotion_qwen.evaluation.tasks import load_tasks
from emotion_qwen.questions import LANGUAGES
from emotion_qwen.taxonomy import LABEL_SETS, concept_of_word

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
DECAY = 0.01
"""Of the squared biases, against chance in few items."""


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


def fit_biases(tasks: Sequence[Scored], concepts: Sequence[Sequence[str]]) -> dict[str, float]:
    """Find the bias of each concept under which the answers are likeliest, together with a temperature.

    Args:
        tasks: see `Scored`; every task has the same weight.
        concepts: per task the concepts of its K labels.
    """
    names = sorted({name for each in concepts for name in each})
    places = [np.array([names.index(name) for name in each]) for each in concepts]

    def loss(values: np.ndarray) -> float:
        surprises = [
            _surprise(tempered(biased(shares, values[:-1][place]), np.exp(values[-1])), right)
            for (shares, right), place in zip(tasks, places, strict=True)
        ]
        return float(np.mean(surprises) + DECAY * np.square(values).sum())

    biases = minimize(loss, np.zeros(len(names) + 1), method="L-BFGS-B").x[:-1]
    return {name: round(float(bias - biases.mean()), 4) for name, bias in zip(names, biases, strict=True)}


def biased(shares: np.ndarray, biases: np.ndarray) -> np.ndarray:
    """Return (..., K) shares with (K,) biases added to their logarithms, normalised again."""
    return tempered(np.maximum(shares, _SMALLEST) * np.exp(biases), 1.0)


def fit_channel(predictions: Mapping[str, Sequence[Prediction]], with_biases: bool = False) -> ChannelFit:
    """Fit one channel to predictions of tasks that have it alone, made by a model without calibration.

    Items asked in two languages stay on one side when the fit is measured.

    Args:
        predictions: by name of the task.
        with_biases: also fit a bias for each concept; accuracy is then that with biases fitted on the other half.

    Raises:
        DataError: a task has fewer than two answered items, or its choices differ.
    """
    tasks = {name: _scored(name, lines) for name, lines in predictions.items()}
    halves = {name: _half(lines) for name, lines in predictions.items()}
    concepts = {name: _concepts(lines) for name, lines in predictions.items()}

    def fit(chosen: Mapping[str, np.ndarray]) -> tuple[dict[str, float], float]:
        parts = {name: (tasks[name][0][rows], tasks[name][1][rows]) for name, rows in chosen.items()}
        biases = fit_biases(list(parts.values()), list(concepts.values())) if with_biases else {}
        shifted = [(biased(s, _row(biases, concepts[name])), right) for name, (s, right) in parts.items()]
        return biases, fit_temperature(shifted if with_biases else list(parts.values()))

    fits = {side: fit({name: halves[name] == side for name in tasks}) for side in (False, True)}
    before, after, accuracies = [], [], []
    for name, (shares, right) in tasks.items():
        cross_fitted = np.empty_like(shares)
        for side in (False, True):
            biases, temperature = fits[not side]
            rows = halves[name] == side
            moved = biased(shares[rows], _row(biases, concepts[name])) if with_biases else shares[rows]
            cross_fitted[rows] = tempered(moved, temperature)
        before.append(_calibration_error(shares, right))
        after.append(_calibration_error(cross_fitted, right))
        accuracies.append(float((cross_fitted.argmax(1) == right).mean()))
    biases, temperature = fit({name: np.ones(len(right), dtype=bool) for name, (_, right) in tasks.items()})
    return ChannelFit(
        temperature=round(temperature, 4),
        accuracy=round(float(np.mean(accuracies)), 4),
        before=round(float(np.mean(before)), 4),
        after=round(float(np.mean(after)), 4),
        items=sum(len({line.id for line in _answered(lines)}) for lines in predictions.values()),
        tasks=tuple(tasks),
        biases=biases,
    )


def _concepts(lines: Sequence[Prediction]) -> list[str]:
    """Return the concept of every label of a task; a label that has none is returned unchanged."""
    known = concept_of_word()
    return [known.get(label.lower(), label) for label in _answered(lines)[0].scores or {}]


def _row(biases: Mapping[str, float], concepts: Sequence[str]) -> np.ndarray:
    return np.array([biases.get(name, 0.0) for name in concepts])


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
    with_biases: bool = False,
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
        with_biases: see `fit_channel`.

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
        fits[channel] = fit_channel(lines, with_biases)
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
@click.option("--biases", "with_biases", is_flag=True, help="Also fit a bias for each emotion.")
@click.option("--predictions", type=click.Path(path_type=Path), default=None, help="Keep answers, to continue later.")
def command(
    model: str, data: Path | None, chosen: Sequence[str], sets: str, split: str, limit: int | None,
    with_biases: bool, predictions: Path | None,
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
        fits = calibrate(engine, tasks, data, folder, split=split, limit=limit, with_biases=with_biases)
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
