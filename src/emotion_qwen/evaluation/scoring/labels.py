"""Closed label sets: WAR, UAR and F1 over the task's fixed set, pooled and as the mean over folds.

All are computed from counts, so that thousands of bootstrap draws take seconds rather than minutes. A test compares the
values with those of scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring import records
from emotion_qwen.evaluation.scoring.bootstrap import SURE
from emotion_qwen.matching.answer import read_label
from emotion_qwen.taxonomy import LabelSet

OF_CLASSES = ("UAR", "macro F1")
"""Scores that are means over classes."""
FEW = 10
"""A class with fewer items is named in the notes."""
UNREAD = ""
"""The column of the confusion matrix for items without a readable answer."""


def score_labels(
    items: Sequence[records.ScoredItem],
    answers: Iterable[records.Response],
    labels: LabelSet,
    *,
    language: str | None = None,
    folds: bool = False,
    seed: int = 0,
) -> records.Result:
    """Score a task whose reference is one label of a fixed set.

    WAR is the share of correct answers (recall weighted by support). UAR is the mean recall, macro F1 the mean F1 over
    the classes of the set that have items; the others are named in `notes`. WAF is F1 weighted by support.

    Args:
        items: references hold the English label. With folds, `group` names the fold.
        answers: text in any of the languages, or scores by English label.
        labels: the task's fixed set.
        language: of the replies; None reads both.
        folds: report the mean over the folds' WAR and UAR as well.
        seed: of the draws.

    Raises:
        DataError: a reference is not a label of the set, or see `records.judge`.
    """
    for item in items:
        if len(item.references) != 1 or item.references[0] not in labels.labels:
            raise DataError(
                f"item {item.id!r} has the references {item.references}; expected one of {', '.join(labels.labels)}"
            )

    def read(item: records.ScoredItem, answer: records.Response) -> records.Read:
        chosen = records.likeliest(
            item if item.allowed else records.ScoredItem(item.id, item.references, labels.labels), answer
        )
        if chosen is not None:
            return chosen
        reading = read_label(answer.text, labels, language)
        return records.Read(reading.label, reading.why)

    judged, tally = records.judge(items, answers, read, lambda item, label: float(label == item.references[0]))
    table = _table(judged, labels, folds)
    scores = _bounded_by_class(records.bootstrap_scores(table, seed=seed), judged, labels, table)
    support = confusion(judged, labels).sum(axis=1)
    absent = [name for name, number in zip(labels.labels, support, strict=True) if not number]
    few = [f"{name} {n}" for name, n in zip(labels.labels, support, strict=True) if 0 < n < FEW]
    notes = [f"no items of: {', '.join(absent)}; UAR and macro F1 are means over the other classes"] if absent else []
    notes += [f"few items of: {', '.join(few)}; UAR and macro F1 depend on each of them"] if few else []
    return records.Result(scores, tally, judged, table, (*notes, _commonest(support, labels)))


def _bounded_by_class(
    scores: tuple[records.Score, ...], judged: Sequence[records.Judged], labels: LabelSet, table: records.ScoreTable
) -> tuple[records.Score, ...]:
    """Widen the intervals of UAR and macro F1 for classes whose items are all correct or all wrong, which draws cannot
    vary.

    The recall of such a class may still be as low, or as high, as the exact binomial bound. The resulting change of the
    score is combined with the interval from the draws as the root of the sum of squares, because the variances of
    independent classes add up (Newcombe 1998; Zou and Donner 2008).
    """
    counts = confusion(judged, labels).astype(float)
    truth = [answer.item.references[0] for answer in judged]
    down, up = np.zeros(2), np.zeros(2)
    for place, name in enumerate(labels.labels):
        items, right = counts[place].sum(), counts[place, place]
        independent = len({c for c, label in zip(table.clusters, truth, strict=True) if label == name})
        if not independent or 0 < right < items:
            continue
        moved, unlikely = counts.copy(), SURE[0] ** (1 / independent)
        if right:
            moved[place, place], moved[place, -1] = items * unlikely, moved[place, -1] + items * (1 - unlikely)
            down += _of_classes(counts, moved) ** 2
        else:
            moved[place] *= unlikely
            moved[place, place] = items * (1 - unlikely)
            up += _of_classes(moved, counts) ** 2
    bounded = []
    for score in scores:
        if score.name in OF_CLASSES:
            at = OF_CLASSES.index(score.name)
            low = max(0.0, score.value - float(np.hypot(score.value - score.low, np.sqrt(down[at]))))
            high = min(1.0, score.value + float(np.hypot(score.high - score.value, np.sqrt(up[at]))))
            score = replace(score, low=low, high=high)
        bounded.append(score)
    return tuple(bounded)


def _of_classes(better: np.ndarray, worse: np.ndarray) -> np.ndarray:
    """Return by how much UAR and macro F1 of one (K, K + 1) table exceed those of the other."""
    of_better, of_worse = measures(np.stack([better, worse]))[:, 1:3]
    return of_better - of_worse


def _commonest(support: np.ndarray, labels: LabelSet) -> str:
    """Describe the scores of always answering with the commonest label."""
    share = support.max() / support.sum()
    name, f1 = labels.labels[int(support.argmax())], 2 * share / (1 + share)
    return (
        f"always {name}, the commonest label: WAR {share:.1%}, UAR {1 / np.count_nonzero(support):.1%}, "
        f"WAF {share * f1:.1%}"
    )


def confusion(judged: Sequence[records.Judged], labels: LabelSet) -> np.ndarray:
    """Return (K, K + 1) counts, reference label by given label; the last column counts items without a readable answer.

    A label that was read but does not belong to the set is counted in the last column, too.
    """
    return _cells(judged, labels).sum(axis=0).reshape(len(labels.labels), -1).astype(int)


def _cells(judged: Sequence[records.Judged], labels: LabelSet) -> np.ndarray:
    """Return (N, K * (K + 1)), 1 in the item's cell of the confusion matrix."""
    count = len(labels.labels)
    place = {name: number for number, name in enumerate(labels.labels)}
    cells = np.zeros((len(judged), count * (count + 1)))
    for row, answer in enumerate(judged):
        given = place.get(answer.read or UNREAD, count)
        cells[row, place[answer.item.references[0]] * (count + 1) + given] = 1
    return cells


def _table(judged: Sequence[records.Judged], labels: LabelSet, folds: bool) -> records.ScoreTable:
    cells, count = _cells(judged, labels), len(labels.labels)
    support = cells.sum(axis=0).reshape(count, -1).sum(axis=1).astype(int)
    names = ["WAR", "UAR", "macro F1", "WAF", *(f"recall of {name}" for name in labels.labels)]
    sizes = [len(judged)] * 4 + list(support)
    kept = np.flatnonzero(support)
    names, sizes = names[:4] + [names[4 + k] for k in kept], sizes[:4] + [sizes[4 + k] for k in kept]
    groups = list(dict.fromkeys(answer.item.group for answer in judged)) if folds else [""]
    blocks = np.zeros((len(judged), len(groups), cells.shape[1]))
    at = [groups.index(answer.item.group) for answer in judged] if folds else [0] * len(judged)
    blocks[np.arange(len(judged)), at] = cells
    if folds:
        names += ["WAR, mean of folds", "UAR, mean of folds", *(f"WAR of fold {name}" for name in groups)]
        sizes += [len(judged)] * 2 + [at.count(place) for place in range(len(groups))]

    def statistic(sums: np.ndarray) -> np.ndarray:
        each = sums.reshape(len(sums), len(groups), count, count + 1)
        pooled = measures(each.sum(axis=1))
        # A draw that lacks a class has no mean over all classes.
        pooled[np.isnan(pooled[:, 4 + kept]).any(axis=1), 1:3] = np.nan
        columns = [pooled[:, :4], pooled[:, 4 + kept]]
        if folds:
            by_fold = measures(each.reshape(-1, count, count + 1)).reshape(len(sums), len(groups), -1)
            columns += [np.nanmean(by_fold[:, :, :2], axis=1), by_fold[:, :, 0]]
        return np.concatenate(columns, axis=1)

    flat, strata = blocks.reshape(len(judged), -1), tuple(answer.item.group for answer in judged) if folds else ()
    return records.ScoreTable(
        tuple(names),
        tuple(map(int, sizes)),
        flat,
        records.clusters_of(judged),
        statistic,
        strata,
        shares=(True,) * len(names),
        classes=tuple(answer.item.references[0] for answer in judged),
        by_class=tuple(name in OF_CLASSES or name.startswith("UAR") for name in names),
    )


def measures(tables: np.ndarray) -> np.ndarray:
    """Return (D, 4 + K): WAR, UAR, macro F1, WAF and the recall of each class of (D, K, K + 1) confusion matrices.

    A class without items has no recall (nan) and is left out of the means, as in the draws.
    """
    support, given = tables.sum(axis=2), tables.sum(axis=1)[:, :-1]
    right = np.diagonal(tables, axis1=1, axis2=2)
    there = support > 0
    recall, f1 = records.ratio(right, support), records.ratio(2 * right, support + given)
    classes = there.sum(axis=1)
    means = [
        records.ratio(right.sum(1), support.sum(1)),
        records.ratio(recall.sum(1), classes),
        records.ratio((f1 * there).sum(1), classes),
    ]
    weighted = records.ratio((f1 * support).sum(1), support.sum(1))
    return np.column_stack([*means, weighted, np.where(there, recall, np.nan)])
