"""Multiple choice: accuracy overall and by group (ScienceQA, SEED-Bench, MMBench), and CircularEval.

References are the capital letter of the correct option; `allowed` contains the texts of the options in order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring import records
from emotion_qwen.evaluation.scoring.replies import LETTERS, read_option


def score_choices(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], *, seed: int = 0
) -> records.Result:
    """Score single passes: accuracy over all items, accuracy of every group, and the mean over groups.

    Raises:
        DataError: a reference is not the letter of an option, or see `records.judge`.
    """
    judged, tally = _judge(items, answers)
    table = means_by_group(judged, [answer.points for answer in judged], "accuracy")
    return records.Result(records.bootstrap_scores(table, seed=seed), tally, judged, table)


def score_circular(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], *, seed: int = 0
) -> records.Result:
    """Score MMBench's CircularEval: a question is correct only if it is answered correctly in every rotation of its
    options.

    Args:
        items: all rotations, made by `rotations`; `cluster` names the question, and the first item of a cluster is the
            question as published.
        answers: of the rotations.
        seed: of the draws.

    Returns:
        "CircularEval" over questions, "plain accuracy" over the published order alone, and "accuracy of passes" over
        all passes; with several groups (MMBench's abilities), also CircularEval of each and the mean over them.

    Raises:
        DataError: a question does not have as many passes as options, or see `score_choices`.
    """
    for item in items:
        if not item.cluster:
            raise DataError(f"item {item.id!r} names no cluster; expected that of its question, see `rotations`")
    options = {item.cluster: len(item.allowed) for item in items}
    for name, passes in Counter(item.cluster for item in items).items():
        if passes != options[name]:
            raise DataError(
                f"question {name!r} has {passes} passes; expected one for each of its {options[name]} options"
            )
    judged, tally = _judge(items, answers)
    first: dict[str, int] = {}
    all_right: dict[str, bool] = {}
    for place, answer in enumerate(judged):
        first.setdefault(answer.item.cluster, place)
        all_right[answer.item.cluster] = all_right.get(answer.item.cluster, True) and answer.points == 1
    groups = list(dict.fromkeys(judged[place].item.group for place in first.values()))
    groups = groups if len(groups) > 1 else []
    rows = np.zeros((len(judged), 5 + 2 * len(groups)))  # question, all, plain, passes, correct passes; per group
    rows[:, 3], rows[:, 4] = 1, [answer.points for answer in judged]
    for name, place in first.items():
        rows[place, :3] = 1, all_right[name], judged[place].points
        if groups:
            at = 5 + 2 * groups.index(judged[place].item.group)
            rows[place, at : at + 2] = 1, all_right[name]

    def statistic(sums: np.ndarray) -> np.ndarray:
        whole = np.column_stack([records.ratio(sums[:, k], sums[:, n]) for k, n in ((1, 0), (2, 0), (4, 3))])
        if not groups:
            return whole
        return np.concatenate([whole, shares_of_groups(sums[:, 5::2], sums[:, 6::2])], axis=1)

    names, sizes = ["CircularEval", "plain accuracy", "accuracy of passes"], [len(first), len(first), len(judged)]
    if groups:
        names += ["CircularEval, mean of groups", *(f"CircularEval of {group}" for group in groups)]
        sizes += [len(first), *(int(count) for count in rows[:, 5::2].sum(axis=0))]
    table = records.ScoreTable(
        tuple(names), tuple(sizes), rows, records.clusters_of(judged), statistic, shares=(True,) * len(names)
    )
    return records.Result(records.bootstrap_scores(table, seed=seed), tally, judged, table)


def rotations(item: records.ScoredItem) -> list[records.ScoredItem]:
    """Return the passes of CircularEval: the options rotated by one position each time, the reference with them."""
    count, right = len(item.allowed), LETTERS.index(item.references[0])
    return [
        replace(
            item,
            id=f"{item.id}#{turn}",
            cluster=item.cluster or item.id,
            allowed=item.allowed[turn:] + item.allowed[:turn],
            references=(LETTERS[(right - turn) % count],),
        )
        for turn in range(count)
    ]


def _judge(items: Sequence[records.ScoredItem], answers: Iterable[records.Response]) -> tuple:
    for item in items:
        letters = LETTERS[: len(item.allowed)]
        if len(item.references) != 1 or item.references[0] not in tuple(letters):
            raise DataError(
                f"item {item.id!r} has the references {item.references} and {len(item.allowed)} options; "
                f"expected one letter of {letters!r}"
            )
    return records.judge(items, answers, read_lettered, lambda item, letter: float(letter == item.references[0]))


def read_lettered(item: records.ScoredItem, answer: records.Response) -> records.Read:
    """Read the letter of the option that an answer chooses, from its text or its scores by option or letter."""
    if answer.scores is None:
        return read_option(answer.text, item.allowed)
    if set(item.allowed) & set(answer.scores):
        chosen = records.likeliest(item, answer)
    else:
        chosen = records.likeliest(replace(item, allowed=tuple(LETTERS[: len(item.allowed)])), answer)
    assert chosen is not None
    if chosen.value in item.allowed:
        return records.Read(LETTERS[item.allowed.index(chosen.value)])
    return chosen


def shares_of_groups(counts: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return (D, 1 + G): the mean share over groups and the share of each, from counts and points (D, G) of D draws.

    A small group may be missing from a draw; in that draw it has no share (nan) and is left out of the mean.
    """
    shares = np.where(counts > 0, records.ratio(points, counts), np.nan)
    return np.concatenate([np.nanmean(shares, axis=1, keepdims=True), shares], axis=1)


def means_by_group(judged: Sequence[records.Judged], points: Sequence[float], name: str) -> records.ScoreTable:
    """Compose the table of the mean over all items, the mean over groups, and the mean of every group.

    The group scores are left out if there is only one group.
    """
    groups = list(dict.fromkeys(answer.item.group for answer in judged))
    rows = np.zeros((len(judged), len(groups), 2))
    at = [groups.index(answer.item.group) for answer in judged]
    rows[np.arange(len(judged)), at, 0] = 1
    rows[np.arange(len(judged)), at, 1] = points
    several = len(groups) > 1
    names, sizes = [name], [len(judged)]
    if several:
        names += [f"{name}, mean of groups", *(f"{name} of {group}" for group in groups)]
        sizes += [len(judged), *(at.count(place) for place in range(len(groups)))]

    def statistic(sums: np.ndarray) -> np.ndarray:
        each = sums.reshape(len(sums), len(groups), 2)
        whole = records.ratio(each[:, :, 1].sum(axis=1), each[:, :, 0].sum(axis=1))[:, None]
        if not several:
            return whole
        return np.concatenate([whole, shares_of_groups(each[:, :, 0], each[:, :, 1])], axis=1)

    flat = rows.reshape(len(judged), -1)
    return records.ScoreTable(
        tuple(names), tuple(sizes), flat, records.clusters_of(judged), statistic, shares=(True,) * len(names)
    )
