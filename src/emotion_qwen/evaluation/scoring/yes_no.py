"""Yes/no questions: POPE and MME."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring import records
from emotion_qwen.evaluation.scoring.replies import read_yes_no

PERCEPTION = (
    *("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR"),
)
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
FULL = 200
"""Points of one MME subtask: 100 times accuracy plus 100 times accuracy+."""


def score_pope(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], *, official: bool = False, seed: int = 0
) -> records.Result:
    """Score POPE (Li et al., EMNLP 2023): "yes" is the positive class; `group` names the split.

    An answer that cannot be read is neither yes nor no: it is wrong and may be a false negative, but never a false
    positive. The yes-ratio is the share of yes among the predictions, not among the references.

    Args:
        items: of one split or several.
        answers: of the items.
        official: read replies as POPE's own evaluate.py does (`read_as_pope`), for models that answer in sentences.
        seed: of the draws.

    Raises:
        DataError: a reference other than yes or no, or see `records.judge`.
    """
    judged, tally = _judge(items, answers, read_as_pope if official else read_yes_no)
    groups = list(dict.fromkeys(answer.item.group for answer in judged))
    several = len(groups) > 1
    rows = np.zeros((len(judged), len(groups), 5))  # item, correct, true yes, predicted yes, reference yes
    for row, answer in enumerate(judged):
        positive, wanted = answer.read == "yes", answer.item.references[0] == "yes"
        rows[row, groups.index(answer.item.group)] = 1, answer.points, positive and wanted, positive, wanted
    measures = ("accuracy", "precision", "recall", "F1", "yes-ratio")
    names = list(measures)
    sizes = [len(judged)] * len(measures)
    if several:
        names += ["F1, mean of splits", *(f"{measure} of {group}" for group in groups for measure in measures)]
        counts = Counter(answer.item.group for answer in judged)
        sizes += [len(judged), *(counts[group] for group in groups for _ in measures)]

    def statistic(sums: np.ndarray) -> np.ndarray:
        each = sums.reshape(len(sums), len(groups), 5)
        whole = _pope_measures(each.sum(axis=1))
        if not several:
            return whole
        split = _pope_measures(each)
        return np.concatenate([whole, split[:, :, 3].mean(axis=1, keepdims=True), split.reshape(len(sums), -1)], axis=1)

    flat, strata = rows.reshape(len(judged), -1), tuple(answer.item.group for answer in judged)
    table = records.ScoreTable(
        tuple(names), tuple(sizes), flat, records.clusters_of(judged), statistic, strata, shares=(True,) * len(names)
    )
    return records.Result(records.bootstrap_scores(table, seed=seed), tally, judged, table)


def _pope_measures(sums: np.ndarray) -> np.ndarray:
    items, right, both, predicted, wanted = np.moveaxis(sums, -1, 0)
    f1 = records.ratio(2 * both, predicted + wanted)
    return np.stack(
        [
            records.ratio(right, items),
            records.ratio(both, predicted),
            records.ratio(both, wanted),
            f1,
            records.ratio(predicted, items),
        ],
        axis=-1,
    )


def score_mme(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], *, seed: int = 0
) -> records.Result:
    """Score MME (Fu et al., 2023): 14 subtasks, two questions per image.

    Per subtask: accuracy is the share of correct questions, accuracy+ that of images with both questions correct, and
    the score 100 times their sum. "perception" is the sum of ten scores (at most 2000), "cognition" that of four (at
    most 800).

    Args:
        items: `group` names the subtask, `cluster` the image.
        answers: of the questions.
        seed: of the draws.

    Raises:
        DataError: an image does not have exactly two questions, a subtask is unknown, or see `score_pope`.
    """
    subtasks = (*PERCEPTION, *COGNITION)
    for (task, image), count in Counter((item.group, item.cluster) for item in items).items():
        if task not in subtasks:
            raise DataError(f"subtask {task!r} is not one of MME's; expected one of: {', '.join(subtasks)}")
        if count != 2 or not image:
            raise DataError(f"image {image!r} of subtask {task!r} has {count} questions; expected exactly 2")
    judged, tally = _judge(items, answers)
    tasks = [task for task in subtasks if any(answer.item.group == task for answer in judged)]
    table = _mme_table(judged, tasks)
    absent = [task for task in subtasks if task not in tasks]
    notes = (f"no items of: {', '.join(absent)}; the totals leave them out",) if absent else ()
    return records.Result(records.bootstrap_scores(table, seed=seed), tally, judged, table, notes)


def _mme_table(judged: Sequence[records.Judged], tasks: Sequence[str]) -> records.ScoreTable:
    rows = np.zeros((len(judged), len(tasks), 4))  # question, correct, image, both correct
    first: dict[tuple[str, str], int] = {}
    for row, answer in enumerate(judged):
        key = answer.item.group, answer.item.cluster
        at = tasks.index(answer.item.group)
        rows[row, at, :2] = 1, answer.points
        if key in first:
            rows[row, at, 2:] = 1, answer.points * judged[first[key]].points
        first.setdefault(key, row)
    names, sizes = [], []
    for total, members in (("perception", PERCEPTION), ("cognition", COGNITION)):
        if any(task in members for task in tasks):
            names.append(total)
            sizes.append(sum(answer.item.group in members for answer in judged))
    kinds = [np.array([task in members for task in tasks]) for members in (PERCEPTION, COGNITION)]
    kinds = [kind for kind in kinds if kind.any()]
    for task in tasks:
        questions = sum(answer.item.group == task for answer in judged)
        names += [f"score of {task}", f"accuracy of {task}", f"accuracy+ of {task}"]
        sizes += [questions, questions, questions // 2]

    def statistic(sums: np.ndarray) -> np.ndarray:
        each = sums.reshape(len(sums), len(tasks), 4)
        plain, plus = records.ratio(each[:, :, 1], each[:, :, 0]), records.ratio(each[:, :, 3], each[:, :, 2])
        scores = FULL / 2 * (plain + plus)
        totals = [scores[:, kind].sum(axis=1, keepdims=True) for kind in kinds]
        return np.concatenate([*totals, np.stack([scores, plain, plus], axis=2).reshape(len(sums), -1)], axis=1)

    flat, strata = rows.reshape(len(judged), -1), tuple(answer.item.group for answer in judged)
    shares = tuple(name.startswith("accuracy") for name in names)
    return records.ScoreTable(tuple(names), tuple(sizes), flat, records.clusters_of(judged), statistic, strata, shares)


def read_as_pope(text: str) -> records.Read:
    """Read a reply as evaluate.py of github.com/AoiDragon/POPE does: "no" if a word matches, else "yes".

    Only the first sentence counts; the words are "No", "no" and "not" in exactly this case.
    """
    words = text.partition(".")[0].replace(",", "").split(" ")
    return records.Read("no" if {"No", "no", "not"} & set(words) else "yes")


def _judge(
    items: Sequence[records.ScoredItem],
    answers: Iterable[records.Response],
    read: Callable[[str], records.Read] = read_yes_no,
) -> tuple:
    for item in items:
        if item.references not in (("yes",), ("no",)):
            raise DataError(f"item {item.id!r} has the references {item.references}; expected ('yes',) or ('no',)")

    def read_answer(item: records.ScoredItem, answer: records.Response) -> records.Read:
        return records.likeliest(records.ScoredItem(item.id, item.references, ("yes", "no")), answer) or read(
            answer.text
        )

    return records.judge(items, answers, read_answer, lambda item, word: float(word == item.references[0]))
