"""Measures of explanations over many clips, each with its floor and with a constant explanation.

With the emotion that the verifier reads in an explanation (`explanations`):

- EEA, explanation emotion accuracy: the share of explanations that express the correct emotion;
- EPC, explanation prediction consistency: the share that express the model's own answer;
- FCR, faithful and correct rate: the share of answers that are correct and have an explanation that expresses them.

Names and meaning as in ERV (2025). There, a large model judges; here, it is the verifier, which anybody can rerun. An
explanation without words, and an answer that cannot be read, count as wrong.

The floor is the same measure with every explanation moved to another clip, as the mean over several draws. A measure
that does not exceed its floor says nothing about the explanations. The constant is the largest value that a single
explanation for all clips can reach.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from emotion_qwen.errors import DataError
from emotion_qwen.verify.explanations import read_explanations
from emotion_qwen.verify.verifier import Verifier, emotion_of

DRAWS = 20
"""Number of times that explanations are moved to other clips."""
EEA, EPC, FCR = "EEA", "EPC", "FCR"
Compare = Callable[[Sequence[int]], Sequence[float]]
"""Gets for each of N clips the row whose text is to be used, and returns N values."""


@dataclass(frozen=True)
class Explained:
    """An answer with its explanation.

    Attributes:
        clip: name of the clip; explanations are never moved within a clip.
        explanation: without the answer; may be empty.
        answer: label that the model gave; None if it gave none.
        truth: the correct label; None if it is unknown.
    """

    clip: str
    explanation: str
    answer: str | None
    truth: str | None = None


@dataclass(frozen=True, eq=False)
class Measured:
    """One measure over N clips.

    Attributes:
        name: of the measure.
        values: (N,) 0 to 1.
        floors: (N,) means over the draws with explanations of other clips.
        constant: the best that one explanation for all clips can reach; None where that is not defined.
        clips: (N,) names of the clips.
    """

    name: str
    values: np.ndarray
    floors: np.ndarray
    constant: float | None = None
    clips: Sequence[str] = ()

    @property
    def gain(self) -> float:
        """Difference between the mean and its floor."""
        return float(np.mean(self.values - self.floors))


def measure_agreement(
    items: Sequence[Explained], verifier: Verifier, draws: int = DRAWS, seed: int = 0
) -> tuple[list[Measured], Counter[str]]:
    """Measure EEA, EPC and FCR.

    Args:
        items: at least two clips. If any of them has a `truth`, those without are left out of EEA and FCR.
        verifier: reads the explanations.
        draws: see `DRAWS`.
        seed: of the draws.

    Returns:
        The measures (EPC alone without truths), and the labels that a verifier does not know, such as "contempt", with
        the number of items left out for each.

    Raises:
        DataError: fewer than two clips remain, or one clip has more than half of the items.
        CheckpointError: see `Verifier.shares`.
    """
    unknown: Counter[str] = Counter()
    kept = []
    for item in items:
        outside = [label for label in (item.answer, item.truth) if label is not None and emotion_of(label) is None]
        unknown.update(outside[:1])
        kept += [] if outside else [item]
    readings = [reading.emotion for reading in read_explanations([item.explanation for item in kept], verifier)]
    answers = [None if item.answer is None else emotion_of(item.answer) for item in kept]
    truths = [None if item.truth is None else emotion_of(item.truth) for item in kept]
    clips = [item.clip for item in kept]
    measures = [_measured(EPC, readings, answers, clips, draws, seed)]
    rows = [row for row, truth in enumerate(truths) if truth is not None]
    if rows:
        read, right = ([values[row] for row in rows] for values in (readings, truths))
        places = [clips[row] for row in rows]
        correct = [right[at] if answers[row] == right[at] else None for at, row in enumerate(rows)]
        measures.insert(0, _measured(EEA, read, right, places, draws, seed))
        measures.append(_measured(FCR, read, correct, places, draws, seed))
    return measures, unknown


def measure_with_floor(
    name: str, clips: Sequence[str], compare: Compare, draws: int = DRAWS,
    seed: int = 0,
) -> Measured:  # fmt: skip
    """Measure anything that compares the text of a clip with something of the same clip, and its floor.

    Args:
        name: of the measure.
        clips: N names.
        compare: see `Compare`.
        draws: see `DRAWS`.
        seed: of the draws.

    Raises:
        DataError: see `moved_apart`.
    """
    floors = np.mean([compare(rows.tolist()) for rows in moved_apart(clips, draws, seed)], axis=0)
    return Measured(name, np.asarray(compare(range(len(clips))), dtype=float), floors, clips=clips)


def moved_apart(clips: Sequence[Hashable], draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Return random arrangements in which every row gets something of another clip.

    The rows are arranged by clip, the clips in random order, and turned by a random number of places.

    Args:
        clips: N names.
        draws: number of arrangements.
        seed: of the arrangements.

    Returns:
        (draws, N) row that each row gets; every row is given once per draw.

    Raises:
        DataError: fewer than two clips, or one clip has more than half of the rows.
    """
    rows_of: dict[Hashable, list[int]] = {}
    for row, clip in enumerate(clips):
        rows_of.setdefault(clip, []).append(row)
    largest = max(map(len, rows_of.values()), default=0)
    if len(rows_of) < 2 or 2 * largest > len(clips):
        raise DataError(
            f"{len(clips)} explanation(s) of {len(rows_of)} clip(s), at most {largest} of one clip; expected at least "
            "two clips, none with more than half of the explanations, because the floor moves them to other clips"
        )
    generator = np.random.default_rng(seed)
    groups, arrangements = list(rows_of.values()), np.empty((draws, len(clips)), dtype=np.int64)
    for draw in range(draws):
        order = np.concatenate([generator.permutation(groups[k]) for k in generator.permutation(len(groups))])
        shift = int(generator.integers(largest, len(clips) - largest + 1))
        arrangements[draw, order] = np.roll(order, -shift)
    return arrangements


def _measured(
    name: str, read: Sequence[str | None], wanted: Sequence[str | None], clips: Sequence[str], draws: int, seed: int
) -> Measured:
    def compare(rows: Sequence[int]) -> list[float]:
        return [float(read[row] is not None and read[row] == label) for row, label in zip(rows, wanted, strict=True)]

    commonest = max(Counter(label for label in wanted if label is not None).values(), default=0)
    measured = measure_with_floor(name, clips, compare, draws, seed)
    return replace(measured, constant=commonest / len(wanted))
