"""Closed questions whose choices are neither labels of a set nor lettered options: drawn shapes, objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from emotion_qwen.evaluation.scoring.choices import means_by_group
from emotion_qwen.evaluation.scoring.records import (
    Read,
    Response,
    Result,
    ScoredItem,
    bootstrap_scores,
    judge,
    likeliest,
)
from emotion_qwen.matching.answer import EMPTY, NOTHING, answer_part


def score_closed(items: Sequence[ScoredItem], answers: Iterable[Response], *, seed: int = 0) -> Result:
    """Score accuracy, over all items and by group.

    A reply must be one of the choices; case and surrounding punctuation are ignored.

    Raises:
        DataError: see `records.judge`.
    """

    def read(item: ScoredItem, answer: Response) -> Read:
        chosen = likeliest(item, answer)
        if chosen is not None:
            return chosen
        part, why = answer_part(answer.text)
        reply = _plain(part)
        if why or not reply:
            return Read(None, why or EMPTY)
        named = [choice for choice in item.allowed if _plain(choice) == reply]
        return Read(named[0]) if named else Read(None, NOTHING)

    judged, tally = judge(items, answers, read, lambda item, choice: float(choice in item.references))
    table = means_by_group(judged, [answer.points for answer in judged], "accuracy")
    return Result(bootstrap_scores(table, seed=seed), tally, judged, table)


def _plain(text: str) -> str:
    return " ".join(text.lower().strip(" \t\r\n.,!?;:\"'()[]*。，！？").split())
