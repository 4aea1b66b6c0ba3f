"""Marks of judges."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring.judgements import agreement, read_mark, score_judgements
from emotion_qwen.evaluation.scoring.records import Response as Answer
from emotion_qwen.evaluation.scoring.records import ScoredItem

ITEMS = [ScoredItem(str(k), ("reference",)) for k in range(4)]


@pytest.mark.parametrize(
    ("reply", "mark"),
    [
        ('{"score": 7, "reason": "close"}', 7),
        ('```json\n{"score": 10}\n```', 10),
        ('{"score": 7.0}', 7),
        ('{"score": 7.5}', 7.5),
        ('{"Score": 7}', 7),
        ('{"score": 7, "Score": 8}', None),
        ('{"score": "high"}', None),
        ('{"score": [7]}', None),
        ('{"score": 0.9}', None),
        ('{"score": 11}', None),
        ('{"score": 0}', None),
        ('{"score": "7"}', 7),
        ('{"score": 2, "score": 10}', None),
        ('{"score": 2} {"score": 10}', None),
        ('{"score": true}', None),
        ('{"score": NaN}', None),
        ('{"score": Infinity}', None),
        ("[7]", None),
        ("7", None),
        ("1. The reference says 7", None),
        ('{"score": 7', None),
        ("", None),
    ],
)
def test_only_one_mark_in_json_is_read(reply, mark):
    assert read_mark(reply) == mark


def test_a_mark_is_no_share():
    """The lowest mark is 1, which must not be told as 100 %, nor have the interval of a share."""
    lowest = score_judgements(ITEMS, [Answer(item.id, '{"score": 1}') for item in ITEMS])["mean mark"]
    assert (lowest.value, lowest.low, lowest.high, lowest.share) == (1, 1, 1, False)


def test_means_by_hand():
    # marks 8 and 5, one reply without a mark, one item that the model did not answer: lowest mark 1
    # mean of marked (8 + 5 + 1) / 3; with the unmarked as lowest (8 + 5 + 1 + 1) / 4
    replies = [
        Answer("0", '{"score": 8}'),
        Answer("1", '{"score": 5}'),
        Answer("2", "good"),
        Answer("3", '{"score": 9}'),
    ]
    found = score_judgements(ITEMS, replies, unanswered=["3"])
    assert found["mean mark"].value == pytest.approx(14 / 3) and found["mean mark"].items == 3
    assert found["mean mark, unmarked as lowest"].value == 15 / 4
    assert found.tally.unread == {"no mark from the judge": 1}


def results(*columns):
    return [
        score_judgements(ITEMS, [Answer(str(k), f'{{"score": {m}}}') for k, m in enumerate(marks) if m])
        for marks in columns
    ]


def test_agreement_by_hand():
    # differences 0, 1, 3 on three common items
    found = agreement(*results([5, 6, 9, 2], [5, 7, 6, 0]))
    assert (found.items, found.same, found.near, found.distance) == pytest.approx((3, 1 / 3, 2 / 3, 4 / 3))
    assert agreement(*results([1, 5, 9, 2], [1, 5, 9, 2])).kappa == 1
    assert np.isnan(agreement(*results([5, 5, 5, 5], [1, 5, 9, 2])).kappa)
    with pytest.raises(DataError, match="no item was marked by both judges"):
        agreement(*results([5, 0, 0, 0], [0, 5, 0, 0]))
