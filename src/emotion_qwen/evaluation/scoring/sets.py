"""Answers that are sets: open-vocabulary words grouped by emotion wheels; stated emotions; clues."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np

from emotion_qwen.evaluation.scoring import records
from emotion_qwen.matching.answer import EMPTY
from emotion_qwen.matching.statements import plain, stated_concepts
from emotion_qwen.matching.wheels import Wheels
from emotion_qwen.matching.word_lists import STOP, set_f1, words_of

LENGTH = "mean length"
_CHINESE_STOP = frozenset(
    "的了在是和与也就都而及着或一个这那他她它们我你有中上下里为以于被把让从到对说人可能推测视频画面"
)
_ENDINGS = re.compile(r"(?<=\w{3})(?:ingly|edly|ings?|ed|ly|es|s)$")


def score_open_vocabulary(
    items: Sequence[records.ScoredItem],
    answers: Iterable[records.Response],
    wheels: Wheels,
    *,
    level: str = "level1",
    seed: int = 0,
) -> records.Result:
    """Score lists of emotion words as MER-UniBench does for OV-MERD: set overlap on every wheel, averaged over wheels.

    A wheel maps words to groups; words outside the vocabulary are dropped. For each clip, precision is the share of the
    given groups that are correct, and recall is the share of the correct groups that are given; both are averaged over
    clips, and F1 is the harmonic mean of the two averages. A clip whose reference has no group on a wheel is left out
    for that wheel; a clip without a readable answer counts as 0. "hit rate" is the share of clips with at least one
    correct group; because it rewards long lists, the mean length is reported with it.

    Args:
        items: references are the words of the annotators.
        answers: the text of each is a list of words; extracting words from prose is left to the task.
        wheels: as read from the organisers' files.
        level: "level1" (inner ring) or "level2".
        seed: of the draws.

    Raises:
        DataError: see `records.judge`.
    """
    names = tuple(wheels.rings)

    def known(word: str) -> bool:
        return wheels.knows(word, level)

    judged, tally = records.judge(items, answers, _read_list, lambda item, text: 0.0)
    sets, points, lengths, unknown = [], [], [], 0
    for answer in judged:
        given = words_of(answer.read or "", known)
        unknown += sum(not known(word) for word in given)
        lengths.append(len(given))
        pairs = [
            (wheels.groups(answer.item.references, wheel, level), wheels.groups(given, wheel, level)) for wheel in names
        ]
        sets.append(pairs)
        points.append(float(np.mean([set_f1(*pair) for pair in pairs])))
    judged = tuple(records.Judged(o.item, o.read, o.why, p) for o, p in zip(judged, points, strict=True))
    notes = (
        f"{unknown} of {sum(lengths)} given words are outside the vocabulary",
        f"emotion wheels: {len(names)}, checksum {wheels.digest}",
    )
    table = _overlap_table(judged, sets, names, np.array(lengths, dtype=float))
    return records.Result(records.bootstrap_scores(table, seed=seed), tally, judged, table, notes)


def _read_list(item: records.ScoredItem, answer: records.Response) -> records.Read:
    return records.Read(answer.text) if words_of(answer.text) else records.Read(None, EMPTY)


def _overlap_table(
    judged: Sequence[records.Judged],
    sets: Sequence[Sequence[tuple[set, set]]],
    names: Sequence[str],
    lengths: np.ndarray,
) -> records.ScoreTable:
    rows = np.zeros((len(judged), len(names) * 4 + 2))  # per wheel: clip, precision, recall, hit; then length and clip
    for row, pairs in enumerate(sets):
        for place, (right, given) in enumerate(pairs):
            if right:
                both = len(right & given)
                overlap = 1, both / len(given) if given else 0.0, both / len(right), both > 0
                rows[row, 4 * place : 4 * place + 4] = overlap
    rows[:, -2], rows[:, -1] = lengths, 1
    several = len(names) > 1
    measures = ("F1", "precision", "recall", "hit rate")
    labels = [*measures, LENGTH, *(f"F1 of {name}" for name in names if several)]
    counted = [int(rows[:, 4 * place].sum()) for place in range(len(names))]
    sizes = [max(counted)] * 4 + [len(judged)] + counted * several

    def statistic(sums: np.ndarray) -> np.ndarray:
        each = sums[:, :-2].reshape(len(sums), len(names), 4)
        precision, recall, hit = (records.ratio(each[:, :, k], each[:, :, 0]) for k in (1, 2, 3))
        f1 = records.ratio(2 * precision * recall, precision + recall)
        means = [values.mean(axis=1) for values in (f1, precision, recall, hit)]
        columns = [*means, records.ratio(sums[:, -2], sums[:, -1])]
        return np.column_stack([*columns, f1] if several else columns)

    shares = tuple(label != LENGTH for label in labels)
    return records.ScoreTable(tuple(labels), tuple(sizes), rows, records.clusters_of(judged), statistic, shares=shares)


def score_overlap(
    items: Sequence[records.ScoredItem],
    answers: Iterable[records.Response],
    parts: Callable[[str], Iterable[str]],
    *,
    seed: int = 0,
) -> records.Result:
    """Score how far the parts named in an answer's text overlap with those named in the reference text.

    This is our own score without a judge, for development and for VER sets; it is not EMER's published score, which
    needs a judge (`judgements`). Precision and recall are averaged over items; F1 is the harmonic mean of the averages.

    Args:
        items: each with one reference text.
        answers: texts.
        parts: `stated_concepts` for label overlap, `clues` for clue overlap.
        seed: of the draws.

    Raises:
        DataError: see `records.judge`.
    """

    def read(item: records.ScoredItem, answer: records.Response) -> records.Read:
        return records.Read(answer.text) if any(map(str.isalnum, answer.text)) else records.Read(None, EMPTY)

    wanted = {item.id: set(parts(item.references[0])) for item in items if item.references}
    judged, tally = records.judge(items, answers, read, lambda item, text: set_f1(wanted[item.id], set(parts(text))))
    sets = [[(wanted[answer.item.id], set(parts(answer.read or "")))] for answer in judged]
    lengths = np.array([len(given) for [(_, given)] in sets], dtype=float)
    bare = sum(not right for [(right, _)] in sets)
    notes = (f"{bare} reference texts name nothing that is compared and are left out",) if bare else ()
    table = _overlap_table(judged, sets, ("",), lengths)
    return records.Result(records.bootstrap_scores(table, seed=seed), tally, judged, table, notes)


def score_label_overlap(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], *, seed: int = 0
) -> records.Result:
    """Score the overlap of the emotions that a text states and does not negate, by the matcher; see `score_overlap`."""
    return score_overlap(items, answers, stated_concepts, seed=seed)


def score_clue_overlap(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], *, seed: int = 0
) -> records.Result:
    """Score the overlap of the clues that a text names, as read by `clues`; see `score_overlap`."""
    return score_overlap(items, answers, clues, seed=seed)


def clues(text: str) -> set[str]:
    """Return the content words of a text: English words without endings, and pairs of Chinese characters.

    A lexical comparison like ROUGE-1's: "frowns" and "knits his brow" count as different clues.
    """
    written = plain(text)
    english = {_ENDINGS.sub("", word) for word in re.findall(r"[a-z]{2,}", written) if word not in STOP}
    chinese = set()
    for run in re.findall(r"[一-鿿]+", written):
        chinese |= {pair for pair in map("".join, pairwise(run)) if not set(pair) & _CHINESE_STOP}
    return english | chinese
