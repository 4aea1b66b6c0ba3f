"""Pairs of emotion and cause: precision, recall and F1, and F1 weighted by emotion, as ECF counts them.

A dialogue without a pair counts: any pair given for it is wrong. An answer that cannot be read gives no pair and is
counted. The baseline names every utterance with an emotion as its own cause.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emotion_qwen.data.dialogues import CausePair, Dialogue, emotion_name, read_pairs
from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring.bootstrap import DRAWS, SURE, IntervalEstimate

UNCOUNTED = "neutral"


@dataclass(frozen=True)
class CauseScores:
    """Scores of pairs over D dialogues.

    Attributes:
        f1: of all pairs together, with its interval over dialogues.
        weighted: mean of the F1 per emotion, weighted by the number of correct pairs.
        precision: of all pairs.
        recall: of all pairs.
        by_emotion: emotion -> F1.
        dialogues: D.
        pairs: number of correct pairs.
        given: number of given pairs.
        unread: number of answers that could not be read.
    """

    f1: IntervalEstimate
    weighted: float
    precision: float
    recall: float
    by_emotion: dict[str, float]
    dialogues: int
    pairs: int
    given: int
    unread: int


def score_causes(
    answers: Sequence[str | frozenset[CausePair]], right: Sequence[Dialogue], seed: int = 0
) -> CauseScores:
    """Score answers about D dialogues.

    Args:
        answers: D texts, or sets of pairs.
        right: D dialogues with their correct pairs.
        seed: of the bootstrap over dialogues.

    Raises:
        DataError: the numbers differ, or no dialogue has a pair.
    """
    if len(answers) != len(right):
        raise DataError(f"{len(answers)} answers for {len(right)} dialogues; expected one for each")
    read = [read_pairs(answer) if isinstance(answer, str) else answer for answer in answers]
    hits, given, wanted = (Counter[str]() for _ in range(3))
    rows = np.zeros((len(right), 3))
    for row, (pairs, whole) in enumerate(zip(read, right, strict=True)):
        got, gold = _counted(pairs or ()), _counted(whole.pairs)
        rows[row] = len(got & gold), len(got), len(gold)
        for counter, counted in ((hits, got & gold), (given, got), (wanted, gold)):
            counter.update(pair.emotion for pair in counted)
    hit, got_all, gold_all = (int(total) for total in rows.sum(axis=0))
    if not gold_all:
        raise DataError("no dialogue has a pair of emotion and cause; there is nothing to score")
    by_emotion = {name: _f1(hits[name], given[name], wanted[name]) for name in sorted(wanted)}
    drawn = np.random.default_rng(seed).multinomial(len(right), np.full(len(right), 1 / len(right)), size=DRAWS) @ rows
    low, high = np.quantile(2 * drawn[:, 0] / np.maximum(drawn[:, 1] + drawn[:, 2], 1), SURE)
    return CauseScores(
        f1=IntervalEstimate(_f1(hit, got_all, gold_all), float(low), float(high)),
        weighted=sum(by_emotion[name] * count for name, count in wanted.items()) / gold_all,
        precision=hit / got_all if got_all else 0.0,
        recall=hit / gold_all,
        by_emotion=by_emotion,
        dialogues=len(right),
        pairs=gold_all,
        given=got_all,
        unread=sum(pairs is None for pairs in read),
    )


def target_itself(whole: Dialogue) -> frozenset[CausePair]:
    """Return the baseline: every utterance with an emotion is its own cause."""
    return frozenset(
        CausePair(number, emotion_name(line.emotion), number)
        for number, line in enumerate(whole.lines, 1)
        if line.emotion and emotion_name(line.emotion) != UNCOUNTED
    )


def _counted(pairs: Sequence[CausePair] | frozenset[CausePair] | tuple[()]) -> frozenset[CausePair]:
    named = (CausePair(pair.target, emotion_name(pair.emotion), pair.cause) for pair in pairs)
    return frozenset(pair for pair in named if pair.emotion != UNCOUNTED)


def _f1(hits: int, given: int, wanted: int) -> float:
    return 2 * hits / (given + wanted) if given + wanted else 0.0
