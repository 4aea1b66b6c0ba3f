"""Answers that are numbers: sentiment as MMSA scores it, valence, arousal and dominance.

An answer without the numbers that were asked for counts as the end of the scale that is farther from the reference, so
that leaving an answer out is never better than giving one. The figures over readable answers alone are also given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring import records
from emotion_qwen.evaluation.scoring.combined import (
    LEFT_OUT,
    UNREAD_CLASS,
    Figures,
    class_figures,
    joined,
    number_figures,
    result_of,
    with_mixtures,
)
from emotion_qwen.matching.answer import EMPTY, answer_part

READ_ONLY = ", readable answers only"
NO_NUMBERS, OUTSIDE = "not the numbers asked for", "number outside the scale"
CHINESE = {"valence": "效价", "arousal": "唤醒度", "dominance": "支配度", "sentiment": "情感"}
"""Chinese names of dimensions, as in the prompts."""
_NUMBER = r"[-+−]?(?:\d+(?:\.\d+)?|\.\d+)"


@dataclass(frozen=True)
class Scale:
    """The numbers that are asked for.

    Attributes:
        dimensions: their names, in order.
        low: lower end of each.
        high: upper end of each.
    """

    dimensions: tuple[str, ...]
    low: float
    high: float


VALENCE_AROUSAL = Scale(("valence", "arousal"), -1, 1)
EMOBANK = Scale(("valence", "arousal", "dominance"), 1, 5)
MOSI, SIMS = Scale(("sentiment",), -3, 3), Scale(("sentiment",), -1, 1)


def read_numbers(text: str, scale: Scale) -> records.Read:
    """Read one number per dimension: by their names (JSON, "valence: 0.3"), or exactly that many numbers in order.

    A number with a slash or percent sign is not read: "3/5" is not a value on the scale.
    """
    part, why = answer_part(text)
    written = part if re.search(r"\d", part) else text  # one key of several is no answer to several dimensions
    if why or not written.strip():
        return records.Read(None, why or EMPTY)
    named = []
    for name in scale.dimensions:
        words = "|".join(map(re.escape, filter(None, (name, CHINESE.get(name)))))
        mark = rf"(?:{words})[^\d\n.+−-]{{0,20}}?({_NUMBER})(?![\d/%])"
        named.append([match[1] for match in re.finditer(mark, text, re.IGNORECASE)])
    if all(len(set(numbers)) == 1 for numbers in named):
        numbers = [given[0] for given in named]
    else:
        numbers = re.findall(rf"(?<![\d./])({_NUMBER})(?![\d/%])", written)
    if len(numbers) != len(scale.dimensions):
        return records.Read(None, NO_NUMBERS)
    values = [float(number.replace("−", "-")) for number in numbers]
    if not all(scale.low <= value <= scale.high for value in values):
        return records.Read(None, OUTSIDE)
    return records.Read(" ".join(f"{value:g}" for value in values))


def score_numbers(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], scale: Scale, *, seed: int = 0
) -> records.Result:
    """Score MAE, RMSE, PCC, CCC and SAGR of every dimension, and the mean CCC over dimensions.

    The mean of valence and arousal over all frames of a split is the score of the ABAW challenge (Kollias 2022).

    Args:
        items: `references` hold one number per dimension.
        answers: texts.
        scale: what is asked.
        seed: of the draws.

    Raises:
        DataError: a reference is not a number, or see `records.judge`.
    """
    judged, tally, truth, given, read = _numbers(items, answers, scale)
    parts = []
    for place, name in enumerate(scale.dimensions):
        ending = f" of {name}" if len(scale.dimensions) > 1 else ""
        parts.append(number_figures(truth[:, place], given[:, place]).named(ending))
    if not read.all():
        parts += [
            number_figures(truth[:, place], given[:, place], read).named(f"{part_ending}{READ_ONLY}")
            for place, part_ending in enumerate(_endings(scale))
        ]
    figures = joined(parts)
    if len(scale.dimensions) > 1:
        at = [figures.names.index(f"CCC{ending}") for ending in _endings(scale)]
        figures = with_mixtures(("CCC, mean",), figures, lambda values: values[:, at].mean(axis=1))
    return result_of(judged, tally, figures, seed=seed)


def _endings(scale: Scale) -> list[str]:
    return [f" of {name}" if len(scale.dimensions) > 1 else "" for name in scale.dimensions]


def _numbers(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], scale: Scale
) -> tuple[tuple[records.Judged, ...], records.Tally, np.ndarray, np.ndarray, np.ndarray]:
    """Return items with their answers, the tally, (N, K) references, (N, K) answers, and (N,) whether one was read."""
    truth = np.array([_references(item, scale) for item in items]).reshape(len(items), -1)
    wanted = dict(zip((item.id for item in items), truth, strict=True))
    width = scale.high - scale.low

    def points(item: records.ScoredItem, numbers: str) -> float:
        apart = np.abs(np.array(numbers.split(), dtype=float) - wanted[item.id]).mean()
        return float(max(0.0, 1 - apart / width))

    judged, tally = records.judge(items, answers, lambda item, answer: read_numbers(answer.text, scale), points)
    worst = np.where(truth > (scale.low + scale.high) / 2, scale.low, scale.high)
    read = np.array([answer.read is not None for answer in judged])
    rows = [np.array(a.read.split(), dtype=float) if a.read else end for a, end in zip(judged, worst, strict=True)]
    return judged, tally, truth, np.array(rows).reshape(truth.shape), read


def _references(item: records.ScoredItem, scale: Scale) -> list[float]:
    try:
        values = [float(reference) for reference in item.references]
    except ValueError as error:
        raise DataError(f"item {item.id!r} has the references {item.references}; expected numbers") from error
    if len(values) != len(scale.dimensions) or not np.isfinite(values).all():
        raise DataError(
            f"item {item.id!r} has the references {item.references}; expected one number for each of "
            f"{', '.join(scale.dimensions)}"
        )
    return values


def score_mosi(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], *, seed: int = 0
) -> records.Result:
    """Score CMU-MOSI and CMU-MOSEI as MMSA does (github.com/thuiar/MMSA, metricsTop.py).

    Acc-7, Acc-5 and Acc-3: equal after clipping to -3 to 3, -2 to 2 and -1 to 1 and rounding (numpy: half to even).
    Acc-2 with its weighted F1: non-negative against negative over all items, and positive against negative without the
    items whose reference is 0; there, a prediction of 0 counts as negative. An unread answer is in no class.

    Raises:
        DataError: see `score_numbers`.
    """
    judged, tally, truth, given, read = _numbers(items, answers, MOSI)
    x, y = truth[:, 0], given[:, 0]
    parts = [
        _two((x >= 0).astype(int), y >= 0, read, "non-negative"),
        _two(np.where(x == 0, LEFT_OUT, x > 0), y > 0, read, "positive"),
    ]
    for classes, edge in ((7, 3), (5, 2), (3, 1)):
        rounded = [np.round(np.clip(side, -edge, edge)).astype(int) + edge for side in (x, y)]
        parts.append(_accuracy(rounded[0], rounded[1], read, classes))
    return _with_numbers(judged, tally, x, y, read, parts, seed)


def score_sims(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], *, seed: int = 0
) -> records.Result:
    """Score CH-SIMS and CH-SIMS v2 as MMSA does: all numbers clipped to -1 to 1.

    Two classes are separated at 0, which is negative; three at -0.1 and 0.1; five also at -0.7 and 0.7; the upper edge
    belongs to the lower class. The weighted F1 is that of two classes.

    Raises:
        DataError: see `score_numbers`.
    """
    judged, tally, truth, given, read = _numbers(items, answers, SIMS)
    x, y = np.clip(truth[:, 0], -1, 1), np.clip(given[:, 0], -1, 1)
    parts = []
    for edges in ([0.0], [-0.1, 0.1], [-0.7, -0.1, 0.1, 0.7]):
        first, second = np.digitize(x, edges, right=True), np.digitize(y, edges, right=True)
        two = len(edges) == 1
        parts.append(_two(first, second > 0, read, "") if two else _accuracy(first, second, read, len(edges) + 1))
    return _with_numbers(judged, tally, x, y, read, parts, seed)


def _two(truth: np.ndarray, given: np.ndarray, read: np.ndarray, ending: str) -> Figures:
    figures = class_figures(truth, np.where(read, given, UNREAD_CLASS), 2).only("accuracy", "WAF")
    return _renamed(figures, ("Acc-2", "F1"), f", {ending}" if ending else "")


def _accuracy(truth: np.ndarray, given: np.ndarray, read: np.ndarray, classes: int) -> Figures:
    figures = class_figures(truth, np.where(read, given, UNREAD_CLASS), classes).only("accuracy")
    return _renamed(figures, (f"Acc-{classes}",), "")


def _renamed(figures: Figures, names: Sequence[str], ending: str) -> Figures:
    return Figures(
        tuple(f"{name}{ending}" for name in names), figures.items, figures.rows, figures.statistic, figures.shares
    )


def _with_numbers(
    judged: tuple[records.Judged, ...],
    tally: records.Tally,
    truth: np.ndarray,
    given: np.ndarray,
    read: np.ndarray,
    parts: list[Figures],
    seed: int,
) -> records.Result:
    parts.append(number_figures(truth, given).only("MAE", "PCC"))
    if not read.all():
        parts.append(number_figures(truth, given, read).only("MAE", "PCC").named(READ_ONLY))
    return result_of(judged, tally, joined(parts), seed=seed)
