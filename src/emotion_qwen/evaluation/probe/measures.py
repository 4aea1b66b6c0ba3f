"""Thresholds, slopes and confusions from the answers of a probe, each with the number of faces that it is based on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest, rankdata, spearmanr

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.probe.run import FaceAnswer, Probe
from emotion_qwen.evaluation.probe.stimuli import NEUTRAL
from emotion_qwen.evaluation.scoring.records import interval
from emotion_qwen.express.track import EMOTIONS

HALF = 0.5
"""Rate of faces read correctly that counts as detection."""
DRAWS = 2000
"""Number of bootstrap draws of identities."""


@dataclass(frozen=True)
class DoseResponse:
    """The response of a model to increasing intensity of one emotion under one condition.

    Attributes:
        emotion: the emotion shown.
        condition: the condition.
        intensities: of the faces, 0 first.
        rates: per intensity, share of faces whose emotion is read correctly.
        shares: per intensity, mean share of the emotion in the answer.
        faces: number of faces per intensity.
        threshold: smallest intensity, interpolated linearly, from which at least half of the faces are read correctly
            up to the strongest; None if there is none.
        slope: least-squares slope of the mean share over the intensity.
        correlation: rank correlation of intensity and mean share; None if the share is constant.
        correlation_interval: its 95 % percentile bootstrap interval, drawing identities; None with `correlation`.
        low: lower bound of the 95 % interval (Wilson) of the rate at the strongest intensity, `high` the upper one.
    """

    emotion: str
    condition: str
    intensities: tuple[float, ...]
    rates: tuple[float, ...]
    shares: tuple[float, ...]
    faces: int
    threshold: float | None
    slope: float
    correlation: float | None
    correlation_interval: tuple[float, float] | None
    low: float
    high: float


def dose_responses(probe: Probe) -> list[DoseResponse]:
    """Return the responses of a probe, by condition and emotion."""
    responses = []
    for condition in probe.grid.conditions:
        there = [answer for answer in probe.answers if answer.stimulus.condition == condition]
        rest = [answer for answer in there if answer.stimulus.emotion == NEUTRAL]
        for emotion in probe.grid.emotions:
            shown = [answer for answer in there if answer.stimulus.emotion == emotion]
            groups = [rest, *([a for a in shown if a.stimulus.intensity == i] for i in probe.grid.intensities)]
            responses.append(_response(emotion, condition, (0.0, *probe.grid.intensities), groups))
    return responses


def _response(
    emotion: str, condition: str, intensities: tuple[float, ...], groups: Sequence[Sequence[FaceAnswer]]
) -> DoseResponse:
    hits = [sum(answer.label == emotion for answer in group) for group in groups]
    faces = len(groups[-1])
    rates = tuple(round(hit / max(len(group), 1), 4) for hit, group in zip(hits, groups, strict=True))
    of_faces = np.array([[(answer.shares or {}).get(emotion, 0.0) for answer in group] for group in groups])
    shares = tuple(round(float(share), 4) for share in of_faces.mean(axis=1))
    interval = binomtest(hits[-1], faces).proportion_ci(method="wilson")
    constant = len(set(shares)) == 1
    return DoseResponse(
        emotion,
        condition,
        intensities,
        rates,
        shares,
        faces,
        threshold_of(intensities, rates),
        round(float(np.polyfit(intensities, shares, 1)[0]), 4),
        None if constant else round(float(spearmanr(intensities, shares).statistic), 3),
        None if constant else correlation_interval(of_faces),
        round(float(interval.low), 3),
        round(float(interval.high), 3),
    )


def correlation_interval(shares: np.ndarray, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the rank correlation of intensity and mean share.

    Args:
        shares: (I, N) at I ascending intensities of N identities; identities are drawn with replacement.
        draws: number of draws.
        seed: of the draws.
    """
    chosen = np.random.default_rng(seed).integers(shares.shape[1], size=(draws, shares.shape[1]))
    ranks = rankdata(shares[:, chosen].mean(axis=2), axis=0)
    ranks -= ranks.mean(axis=0)
    rising = np.arange(len(shares)) - (len(shares) - 1) / 2
    with np.errstate(invalid="ignore"):  # no correlation where all shares are equal
        drawn = rising @ ranks / np.sqrt((rising**2).sum() * (ranks**2).sum(axis=0))
    low, high = interval(drawn[:, None])
    return round(float(low[0]), 3), round(float(high[0]), 3)


def threshold_of(intensities: Sequence[float], rates: Sequence[float]) -> float | None:
    """Return the intensity from which the rate stays at or above one half; None if it is below it at the end.

    Between two intensities it is interpolated linearly.
    """
    if rates[-1] < HALF:
        return None
    row = len(rates) - 1
    while row and rates[row - 1] >= HALF:
        row -= 1
    if row == 0:
        return float(intensities[0])
    part = (HALF - rates[row - 1]) / (rates[row] - rates[row - 1])
    return round(float(intensities[row - 1] + part * (intensities[row] - intensities[row - 1])), 3)


def confusion_counts(probe: Probe, condition: str) -> np.ndarray:
    """Return the answers at the strongest intensity: (7, 8) counts, shown emotions in rows, the last is no answer."""
    counts = np.zeros((len(EMOTIONS), len(EMOTIONS) + 1), int)
    for answer in probe.answers:
        stimulus = answer.stimulus
        strongest = stimulus.emotion == NEUTRAL or stimulus.intensity == probe.grid.intensities[-1]
        if stimulus.condition == condition and strongest:
            column = len(EMOTIONS) if answer.label is None else EMOTIONS.index(answer.label)
            counts[EMOTIONS.index(stimulus.emotion), column] += 1
    return counts


def detection_rate(probe: Probe, condition: str) -> tuple[int, int]:
    """Return the numbers of pictures of a condition with a face found by the detector, and of all pictures."""
    there = [answer.detected for answer in probe.answers if answer.stimulus.condition == condition]
    return sum(there), len(there)


def summary_of(probe: Probe) -> dict[str, Any]:
    """Return all measures for JSON."""
    return {
        "responses": [asdict(response) for response in dose_responses(probe)],
        "confusion": {
            condition: {"names": list(EMOTIONS), "counts": confusion_counts(probe, condition).tolist()}
            for condition in probe.grid.conditions
        },
        "detected": {
            condition: dict(zip(("found", "pictures"), detection_rate(probe, condition), strict=True))
            for condition in probe.grid.conditions
        },
    }


@dataclass(frozen=True)
class ProbeChange:
    """How one response differs between two models.

    Attributes:
        before: of the first model.
        after: of the second.
    """

    before: DoseResponse
    after: DoseResponse

    @property
    def loss(self) -> float:
        """Decrease of the rate at the strongest intensity; negative if it rises."""
        return self.before.rates[-1] - self.after.rates[-1]


def changes(before: Probe, after: Probe) -> list[ProbeChange]:
    """Return the changes from one probe to another with the same stimuli.

    Raises:
        DataError: the rigs or the grids differ.
    """
    if before.rig != after.rig or before.grid != after.grid:
        different = "rigs" if before.rig != after.rig else "grids"
        raise DataError(f"the {different} of the two probes differ; run both with the same --rig and the same grid")
    pairs = zip(dose_responses(before), dose_responses(after), strict=True)
    return [ProbeChange(first, second) for first, second in pairs]
