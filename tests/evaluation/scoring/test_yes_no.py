"""POPE and MME on invented answers, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring.records import Response as Answer
from emotion_qwen.evaluation.scoring.records import ScoredItem
from emotion_qwen.evaluation.scoring.yes_no import COGNITION, PERCEPTION, read_as_pope, score_mme, score_pope
from emotion_qwen.evaluation.tasks import TASKS


def test_pope_by_hand():
    # truth  yes yes yes no  no  no  no  yes
    # given  yes no  ?   no  yes no  ?   -      (? cannot be read, - is missing)
    # right: 1, 4, 6 -> accuracy 3/8. Said yes: 1, 5 -> precision 1/2, yes-ratio 2/8. Recall 1/4. F1 = 2*1/(2+4) = 1/3
    truth = ["yes", "yes", "yes", "no", "no", "no", "no", "yes"]
    given = ["Yes.", "No", "maybe", "no", "Yes, it is", "There is no cat", "cannot tell"]
    items = [ScoredItem(str(k), (word,)) for k, word in enumerate(truth)]
    found = score_pope(items, [Answer(str(k), text) for k, text in enumerate(given)])
    values = {score.name: score.value for score in found.scores}
    assert values == pytest.approx(
        {"accuracy": 3 / 8, "precision": 1 / 2, "recall": 1 / 4, "F1": 1 / 3, "yes-ratio": 2 / 8}
    )
    assert found.tally.parse_rate == 5 / 7 and found.tally.coverage == 7 / 8


def test_the_yes_ratio_is_that_of_predictions():
    items = [ScoredItem(str(k), ("yes" if k % 2 else "no",)) for k in range(10)]
    assert score_pope(items, [Answer(str(k), "yes") for k in range(10)])["yes-ratio"].value == 1
    assert score_pope(items, [Answer(str(k), "no") for k in range(10)])["yes-ratio"].value == 0
    never = score_pope(items, [Answer(str(k), "no") for k in range(10)])
    assert never["precision"].value == 0 and never["F1"].value == 0 and never["accuracy"].value == 0.5


def test_pope_by_split_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    truth, given = (rng.choice(["yes", "no"], 300) for _ in range(2))
    splits = [("random", "popular", "adversarial")[k % 3] for k in range(300)]
    items = [ScoredItem(str(k), (str(truth[k]),), group=splits[k]) for k in range(300)]
    found = score_pope(items, [Answer(str(k), str(given[k])) for k in range(300)])
    means = []
    for split in ("random", "popular", "adversarial"):
        kept = np.array(splits) == split
        both = {"y_true": truth[kept], "y_pred": given[kept], "pos_label": "yes"}
        assert found[f"precision of {split}"].value == pytest.approx(precision_score(**both))
        assert found[f"recall of {split}"].value == pytest.approx(recall_score(**both))
        means.append(f1_score(**both))
        assert found[f"F1 of {split}"].value == pytest.approx(means[-1]) and found[f"F1 of {split}"].items == 100
    assert found["F1, mean of splits"].value == pytest.approx(np.mean(means))
    assert found["F1"].value == pytest.approx(f1_score(truth, given, pos_label="yes"))


def mme(*pairs):
    """Build items and answers: (subtask, reply to the yes-question, reply to the no-question) for every image."""
    items, answers = [], []
    for number, (task, *replies) in enumerate(pairs):
        for word, reply in zip(("yes", "no"), replies, strict=True):
            name = f"{number}/{word}"
            items.append(ScoredItem(name, (word,), group=task, cluster=f"image {number}"))
            if reply is not None:
                answers.append(Answer(name, error="500") if reply == "error" else Answer(name, reply))
    return items, answers


def test_mme_by_hand():
    # existence: images (right, right), (right, wrong)              acc 3/4, acc+ 1/2 -> 125
    # count: (right, unclear), (missing, right), (error, right)     acc 3/6, acc+ 0   -> 50
    # code_reasoning: (right, right)                                acc 1, acc+ 1     -> 200
    pairs = [
        *[("existence", "Yes", "No."), ("existence", "yes", "yes")],
        *[("count", "yes", "maybe"), ("count", None, "no"), ("count", "error", "no")],
        ("code_reasoning", "Yes, it is.", "No"),
    ]
    found = score_mme(*mme(*pairs))
    assert found["score of existence"].value == 125 and found["accuracy of existence"].value == 0.75
    assert found["accuracy+ of existence"].value == 0.5 and found["accuracy+ of existence"].items == 2
    assert found["score of count"].value == 50 and found["accuracy+ of count"].value == 0
    assert found["perception"].value == 175 and found["cognition"].value == 200
    assert found["perception"].items == 10 and found["cognition"].items == 2
    assert found.notes[0].startswith("no items of: position, color") and "OCR" in found.notes[0]
    assert found.tally.coverage == 10 / 12 and found.tally.unread == {"no label": 1, "missing": 1, "failed": 1}


def test_a_perfect_model_reaches_2000_and_800():
    found = score_mme(*mme(*[(task, "yes", "no") for task in (*PERCEPTION, *COGNITION) for _ in range(3)]))
    assert found["perception"].value == 2000 and found["cognition"].value == 800 and found.notes == ()
    assert (found["perception"].low, found["perception"].high) == (2000, 2000)


def test_a_model_that_always_says_yes_gets_half_of_the_accuracy_and_no_plus():
    found = score_mme(*mme(*[(task, "yes", "yes") for task in PERCEPTION]))
    assert found["perception"].value == 500 and found["accuracy+ of OCR"].value == 0


def test_two_subtasks_may_use_one_image():
    items, answers = mme(("existence", "yes", "no"), ("count", "yes", "yes"))
    items = [ScoredItem(one.id, one.references, group=one.group, cluster="same") for one in items]
    assert score_mme(items, answers)["perception"].value == 200 + 50


def test_broken_tasks_are_refused():
    items, _ = mme(("existence", "yes", "no"))
    with pytest.raises(DataError, match="image 'image 0' of subtask 'existence' has 1 questions; expected exactly 2"):
        score_mme(items[:1], [])
    with pytest.raises(DataError, match="subtask 'smell' is not one of MME's; expected one of: existence"):
        score_mme([ScoredItem("1", ("yes",), group="smell", cluster="x")], [])
    with pytest.raises(DataError, match=r"item '1' has the references \('Yes',\); expected \('yes',\)"):
        score_pope([ScoredItem("1", ("Yes",))], [])


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        ("There is not a dog.", "no"),
        ("The image does not show a dog.", "no"),
        ("No, it is a cat", "no"),
        ("NO", "yes"),
        ("There is a dog. It is not brown.", "yes"),
        ("Nothing", "yes"),
        ("Yes; no cat though", "no"),
    ],
)
def test_popes_own_script_reads_sentences_and_calls_the_rest_yes(reply, word):
    assert read_as_pope(reply).value == word


def test_the_task_shows_the_official_reading_of_pope_beside_its_own():
    items = [ScoredItem("1", ("no",)), ScoredItem("2", ("yes",)), ScoredItem("3", ("yes",))]
    answers = [Answer("1", "There is not a dog."), Answer("2", "There is a dog.")]
    task = TASKS["pope"]
    assert task.score(items, answers)["accuracy"].value == 0
    (official,) = (scorer(items, answers) for scorer in task.also.values())
    assert official["accuracy"].value == pytest.approx(2 / 3) and official["recall"].value == 0.5
