"""VQA soft accuracy by hand, and against the official tool.

`vqa_reference.jsonl` holds 2400 invented answers, each with ten invented annotators and the accuracy by two public
tools: VQAEval of the VQA authors as shipped in the PyPI package salesforce-lavis 1.0.2 (lavis/common/vqa_tools), and
the EvalAI processor of TextVQA as shipped in lmms-eval 0.7.3, with the leave-one-out mean of its TextVQA task.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from emotion_qwen.evaluation.scoring.records import Response as Answer
from emotion_qwen.evaluation.scoring.records import ScoredItem
from emotion_qwen.evaluation.scoring.vqa import (
    TEXT_VQA,
    VQA_2016,
    VQA_2021,
    VQA_V2,
    normalise,
    score_vqa,
    soft_accuracy,
)
from emotion_qwen.evaluation.tasks import TASKS

REFERENCE = [
    json.loads(line)
    for line in (Path(__file__).parent / "vqa_reference.jsonl").read_text(encoding="utf-8").splitlines()
]


def test_the_reference_is_large_and_has_every_kind_of_answer():
    answers = [answer for answer, *_ in REFERENCE]
    assert len(REFERENCE) >= 2000 and all(len(people) == 10 for _, people, *_ in REFERENCE)
    kinds = [
        r"\b(?:a|an|the)\b",
        r"\b(?:one|two|ten|none)\b",
        r"\b(?:dont|isnt|y'alld've|oclock)\b",
        r"[,;?!/()-]",
        r"\d\.\d",
    ]
    assert all(sum(bool(re.search(kind, answer, re.IGNORECASE)) for answer in answers) >= 25 for kind in kinds)
    assert {official for *_, official, _ in REFERENCE} == {0, 0.3, 0.6, 0.9, 1}
    assert sum(official != both for *_, official, both in REFERENCE) > 200, "the protocols differ"


@pytest.mark.parametrize(("protocol", "column"), [(VQA_2016, 2), (TEXT_VQA, 3)], ids=["VQAv2 of 2016", "TextVQA"])
def test_the_official_accuracy_is_reproduced(protocol, column):
    wrong = [row for row in REFERENCE if abs(soft_accuracy(row[0], row[1], protocol) - row[column]) > 1e-6]
    assert not wrong


@pytest.mark.parametrize(
    ("answer", "people", "of_2016", "of_2021", "both"),
    [
        ("dog", ["a dog"] * 9 + ["cat"], 0, 1, 1),
        ("two", ["two"] * 9 + ["3"], 0, 1, 1),
        ("a dog", ["a dog"] * 10, 0, 1, 1),
        ("Yes", ["yes"] * 10, 1, 0, 1),
        ("dog", ["The dog "] * 10, 0, 0, 1),
        (" dog", ["dog\n"] * 10, 0, 1, 1),
        ("1,000", ["1000"] * 10, 1, 0, 1),
        ("1000", ["1,000"] * 9 + ["2"], 1, 1, 1),
        ("cat", ["a dog"] * 9 + ["cat"], 0.3, 0.3, 0.3),
    ],
)
def test_the_versions_of_the_official_script_differ(answer, people, of_2016, of_2021, both):
    given = [soft_accuracy(answer, people, protocol) for protocol in (VQA_2016, VQA_2021, VQA_V2)]
    assert given == pytest.approx([of_2016, of_2021, both])


def test_the_task_shows_every_dated_version_beside_its_own():
    items = [ScoredItem("1", tuple(["a dog"] * 9 + ["cat"]))]
    task, answers = TASKS["vqav2"], [Answer("1", "dog")]
    assert task.score(items, answers)["VQA accuracy"].value == 1
    assert {name: scorer(items, answers)["VQA accuracy"].value for name, scorer in task.also.items()} == {
        "VQAv2, official script since 2021-03-11 (a013f00)": 1,
        "VQAv2, official script of 2016 (458a8b2)": 0,
    }


@pytest.mark.parametrize(
    ("same", "expected"),
    # of ten annotators `same` agree: each of them sees same - 1 others, the rest see same
    [
        (0, 0),
        (1, 9 * (1 / 3) / 10),
        (2, (2 * (1 / 3) + 8 * (2 / 3)) / 10),
        (3, (3 * (2 / 3) + 7) / 10),
        (4, 1),
        (10, 1),
    ],
)
def test_leave_one_out_by_hand(same, expected):
    assert soft_accuracy("dog", ["dog"] * same + [f"x{k}" for k in range(10 - same)]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The dog", "dog"),
        ("two", "2"),
        ("None", "0"),
        ("dont", "don't"),
        ("1,000", "1000"),
        ("3.5", "3.5"),
        ("yes.", "yes"),
        ("black/white", "black white"),
        ("black / white", "black white"),
        ("stop-sign", "stop sign"),
        ("A man, a plan", "man plan"),
    ],
)
def test_normalisation_by_hand(answer, expected):
    assert normalise(answer) == expected


def test_a_whole_task_keeps_unanswered_questions_inside():
    items = [ScoredItem(str(k), tuple(["dog"] * 10), group="what" if k < 2 else "how") for k in range(4)]
    found = score_vqa(
        items,
        [Answer("0", "A dog."), Answer("1", "cat"), Answer("2", " "), Answer("3", error="500")],
    )
    assert found["VQA accuracy"].value == 0.25 and found["VQA accuracy of what"].value == 0.5
    assert found["VQA accuracy, mean of groups"].value == 0.25 and found["VQA accuracy"].items == 4
    assert found.tally.coverage == 0.75 and found.tally.unread == {"empty": 1, "failed": 1}
    assert score_vqa(items[:1], [Answer("0", "<think>a cat?</think>dog")])["VQA accuracy"].value == 1
