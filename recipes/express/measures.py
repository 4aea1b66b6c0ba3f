"""Measures of generators of facial actions; each can fail, and each has an interval.

The names M1 to M10 are those of the design. A generator is any function that draws actions for shares of emotions and
an intensity; none is measured while it sees the faces that it should produce.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from emotion_qwen.express.track import EMOTIONS
from recipes.express.faces import NEUTRAL, TAUGHT, MeasuredFaces
from recipes.express.judges import LinearJudge, fit_judge

SLOW = 3.0
"""Frequency below which variation between takes of one expression should be, Hz."""
DIVERSE = 0.8
"""Share of the diversity of real faces that a generator must keep."""
Interval = tuple[float, float]


class Draw(Protocol):
    """Draws facial actions."""

    def __call__(self, shares: np.ndarray, seed: int) -> np.ndarray:
        """Return actions (B, 52), 0 to 1, for shares (B, 7) in sum 1."""
        ...


def one_emotion(count: int, emotions: Sequence[int] = range(len(EMOTIONS))) -> tuple[np.ndarray, np.ndarray]:
    """Return shares (N, 7) and labels (N,) of `count` faces for each emotion, none blended."""
    labels = np.repeat(np.array(emotions), count)
    return np.eye(len(EMOTIONS))[labels], labels


def recall(shares: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the share of faces that are recognised, for each emotion (7,); NaN where none is shown.

    Args:
        shares: (N, 7) as a judge gives them.
        labels: (N,) the shown emotions.
    """
    right = shares.argmax(axis=1) == labels
    return np.array([right[labels == place].mean() if (labels == place).any() else np.nan for place in range(7)])


def diversity(frames: np.ndarray, labels: np.ndarray, deviation: np.ndarray) -> float:
    """Return the diversity of faces of one emotion: root mean square over all pairs and measured channels.

    Args:
        frames: (N, 52).
        labels: (N,).
        deviation: (52,) of each channel in real faces, the unit.

    Returns:
        The mean over the emotions; 1.41 if the faces of one emotion vary as much as all faces.
    """
    values = (frames / deviation)[:, TAUGHT]
    parts = [2 * values[labels == place].var(axis=0).mean() for place in np.unique(labels)]
    return float(np.sqrt(parts).mean())


def bootstrap_judges(faces: MeasuredFaces, rounds: int, seed: int = 0) -> list[LinearJudge]:
    """Train judges on resampled people, so that an interval covers the judge's dependence on its training people.

    Every emotion is resampled separately, because disgust is rare and must not vanish.
    """
    random, judges = np.random.default_rng(seed), []
    for _ in range(rounds):
        rows = [np.flatnonzero(faces.labels == place) for place in np.unique(faces.labels)]
        judges.append(fit_judge(faces.rows(np.concatenate([random.choice(each, len(each)) for each in rows]))))
    return judges


def interval(values: Sequence[float] | np.ndarray) -> Interval:
    """Return the central 95 % of bootstrapped values."""
    low, high = np.percentile(np.asarray(values), [2.5, 97.5])
    return float(low), float(high)


def recognised(
    frames: np.ndarray, labels: np.ndarray, judge: LinearJudge, judges: Sequence[LinearJudge], seed: int = 0
) -> dict[str, tuple[float, Interval]]:
    """Return M1 and M2: the share recognised, on average over the emotions ("all") and for each, with intervals.

    Args:
        frames: (N, 52) generated faces.
        labels: (N,) the intended emotions.
        judge: gives the value.
        judges: of `bootstrap_judges`; give the interval, each on resampled faces.
        seed: of the resampling.
    """
    random = np.random.default_rng(seed)
    value, rounds = recall(judge(frames), labels), []
    for each in judges:
        rows = random.choice(len(frames), len(frames))
        rounds.append(recall(each(frames[rows]), labels[rows]))
    table = np.array(rounds)
    result = {"all": (float(np.nanmean(value)), interval(np.nanmean(table, axis=1)))}
    for place in np.unique(labels):
        result[EMOTIONS[place]] = (float(value[place]), interval(table[:, place]))
    return result


def blends(draw: Draw, judge: LinearJudge, count: int, seed: int = 0) -> tuple[float, Interval, int]:
    """Return M6: how often the two most likely emotions are those of a blend of halves, its interval, and n.

    All 15 pairs of emotions other than neutral are drawn `count` times; neutral is left out of the judge's order.
    The interval resamples the pairs.
    """
    emotions = [place for place in range(len(EMOTIONS)) if place != NEUTRAL]
    pairs = [(a, b) for place, a in enumerate(emotions) for b in emotions[place + 1 :]]
    shares = np.zeros((len(pairs) * count, len(EMOTIONS)))
    for row, pair in enumerate(np.repeat(pairs, count, axis=0)):
        shares[row, pair] = 0.5
    answers = judge(draw(shares, seed))
    answers[:, NEUTRAL] = -1
    top = np.sort(np.argsort(answers, axis=1)[:, -2:], axis=1)
    right = (top == np.repeat(pairs, count, axis=0)).all(axis=1).reshape(len(pairs), count).mean(axis=1)
    random = np.random.default_rng(seed)
    rounds = [right[random.choice(len(right), len(right))].mean() for _ in range(1000)]
    return float(right.mean()), interval(rounds), len(shares)


def mutual_information(weights: np.ndarray, labels: np.ndarray) -> float:
    """Return the information of the choice of an expert about the emotion, in bits; all emotions have the same weight.

    Args:
        weights: (N, experts) of the global gate, each row in sum 1.
        labels: (N,).
    """
    given = np.stack([weights[labels == place].mean(axis=0) for place in np.unique(labels)])
    overall = given.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(given > 0, given * np.log2(given / overall), 0)
    return float(terms.sum(axis=1).mean())


def frechet(first: np.ndarray, second: np.ndarray, deviation: np.ndarray) -> float:
    """Return the Fréchet distance between two sets of actions, (N, 52) and (M, 52), as if they were normal.

    Measured channels only, in units of their `deviation` (52,).
    """
    first, second = ((frames / deviation)[:, TAUGHT] for frames in (first, second))
    covariances = [np.cov(values, rowvar=False) + 1e-6 * np.eye(values.shape[1]) for values in (first, second)]
    roots = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).real.clip(0))  # all real for covariances
    return float(((first.mean(0) - second.mean(0)) ** 2).sum() + np.trace(sum(covariances)) - 2 * roots.sum())


def frechet_of_labels(
    real: MeasuredFaces, frames: np.ndarray, labels: np.ndarray, deviation: np.ndarray, seed: int = 0
) -> tuple[float, float]:
    """Return the part of M9 about distributions: mean distance of each emotion to real faces, and with labels shuffled.

    Shuffled, the faces of each emotion are compared with real ones of the same number drawn from all emotions. An
    emotion with fewer than 100 real faces is left out: their covariance could not be estimated.
    """
    random, right, shuffled = np.random.default_rng(seed), [], []
    for place in np.unique(labels):
        rows = np.flatnonzero(real.labels == place)
        if len(rows) >= 100:
            drawn = frames[labels == place]
            right.append(frechet(real.frames[rows], drawn, deviation))
            shuffled.append(frechet(real.frames[random.choice(len(real), len(rows), replace=False)], drawn, deviation))
    return float(np.mean(right)), float(np.mean(shuffled))


def slow_share(takes: np.ndarray, fps: float) -> float:
    """Return the part of M9 about time: the share of the variance between takes that is slower than `SLOW`.

    Args:
        takes: (S, T, C) tracks of S seeds for the same keyframes.
        fps: frames per second.
    """
    power = (np.abs(np.fft.rfft(takes - takes.mean(axis=0), axis=1)) ** 2).sum(axis=(0, 2))
    return float(power[np.fft.rfftfreq(takes.shape[1], 1 / fps) < SLOW].sum() / power.sum())


def source_leak(
    train: MeasuredFaces, validation: MeasuredFaces, *, remove_neutral: bool
) -> tuple[float, Interval, int]:
    """Return M8: how well a linear classifier identifies the source of a picture from its actions, its interval, and n.

    Neutral and happy faces only, which both sources have, as many of each source and emotion; 0.5 is chance.

    Args:
        train: to train the classifier on.
        validation: to measure on.
        remove_neutral: subtract the mean neutral face of the same source and split from every face. One of training
            faces for both splits would leave its own error in all validation faces, which is a trace of the source.
    """
    from sklearn.linear_model import LogisticRegression

    kept = []
    for faces in (train, validation):
        cells = [
            np.flatnonzero((faces.sources == source) & (faces.labels == EMOTIONS.index(name)))
            for source in ("fer", "lfw")
            for name in ("neutral", "happiness")
        ]
        least = min(map(len, cells))
        kept.append(faces.rows(np.concatenate([cell[:least] for cell in cells])))
    values = [faces.frames.copy() for faces in kept]
    if remove_neutral:
        for source in ("fer", "lfw"):
            for faces, frames in zip(kept, values, strict=True):
                rows = faces.sources == source
                frames[rows] -= frames[rows & (faces.labels == NEUTRAL)].mean(axis=0)
    deviation = values[0].std(axis=0) + 1e-6
    model = LogisticRegression(C=0.1, max_iter=200).fit(values[0] / deviation, kept[0].sources)
    right = model.predict(values[1] / deviation) == kept[1].sources
    random = np.random.default_rng(0)
    rounds = [right[random.choice(len(right), len(right))].mean() for _ in range(1000)]
    return float(right.mean()), interval(rounds), len(right)


@dataclass(frozen=True)
class Trial:
    """A setting of a generator, and its results on faces of training people.

    Attributes:
        setting: fields of the generator.
        recognised: mean recall of a judge of training people.
        diversity: relative to real faces.
        distance: `frechet_of_labels` to real faces.
    """

    setting: dict[str, float]
    recognised: float
    diversity: float
    distance: float


def trials(
    draw: Callable[..., np.ndarray],
    settings: Sequence[dict[str, float]],
    judge: LinearJudge,
    real: MeasuredFaces,
    count: int,
) -> list[Trial]:
    """Try all settings of a generator on training people.

    Args:
        draw: takes shares, a seed and the fields of a setting.
        settings: to try.
        judge: trained on training people.
        real: faces of training people.
        count: faces per emotion.
    """
    (shares, labels), deviation = one_emotion(count), real.frames.std(axis=0) + 1e-6
    unit = diversity(real.frames, real.labels, deviation)
    results = []
    for setting in settings:
        frames = draw(shares, 0, **setting)
        spread = diversity(frames, labels, deviation) / unit
        distance = frechet_of_labels(real, frames, labels, deviation)[0]
        results.append(Trial(setting, float(np.nanmean(recall(judge(frames), labels))), spread, distance))
    return results


def best_trial(results: Sequence[Trial], farthest: float) -> Trial:
    """Return the trial that is recognised best among those diverse and near enough to real faces.

    Without a limit on the distance, guidance would win by drawing unrealistic faces. If no trial keeps both
    limits, the nearest of the diverse ones is returned, and if none is diverse, the most diverse one.

    Args:
        results: of `trials`.
        farthest: largest distance to real faces.
    """
    diverse = [trial for trial in results if trial.diversity >= DIVERSE]
    near = [trial for trial in diverse if trial.distance <= farthest]
    if near:
        return max(near, key=lambda trial: trial.recognised)
    if diverse:
        return min(diverse, key=lambda trial: trial.distance)
    return max(results, key=lambda trial: trial.diversity)
