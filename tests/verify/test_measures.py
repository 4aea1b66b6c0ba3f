"""Measures with known values: each beside its floor and its constant."""

import numpy as np
import pytest

from emotion_qwen.errors import DataError
from emotion_qwen.verify.measures import Explained, measure_agreement, measure_with_floor, moved_apart

HAPPY, SAD, ANGRY = "She smiles, so happy and glad.", "He cries, sad and lonely.", "He shouts, angry and furious."
ITEMS = [
    Explained("a", HAPPY, "happy", "joy"),  # all agree
    Explained("b", SAD, "sad", "sadness"),  # all agree
    Explained("c", SAD, "angry", "anger"),  # the answer is correct, the explanation says otherwise
    Explained("d", HAPPY, "sad", "happy"),  # the explanation is correct, the answer is not
    Explained("e", "", "happy", "happy"),  # nothing is said
    Explained("f", ANGRY, None, "fear"),  # no answer
]


def test_eea_epc_and_fcr_by_hand(small_verifier):
    measures, unknown = measure_agreement(ITEMS, small_verifier)
    by_name = {measured.name: measured for measured in measures}
    assert list(by_name) == ["EEA", "EPC", "FCR"] and not unknown
    assert by_name["EEA"].values.tolist() == [1, 1, 0, 1, 0, 0]
    assert by_name["EPC"].values.tolist() == [1, 1, 0, 0, 0, 0]
    assert by_name["FCR"].values.tolist() == [1, 1, 0, 0, 0, 0]
    assert by_name["EEA"].constant == 3 / 6  # joy, happy, happy
    assert by_name["EPC"].constant == 2 / 6  # happy twice, sad twice, angry once
    assert by_name["FCR"].constant == 2 / 6  # a and e are correct and happy


def test_the_floor_is_what_other_explanations_reach(small_verifier):
    items = [Explained(str(n), (HAPPY, SAD)[n % 2], ("happy", "sad")[n % 2]) for n in range(40)]
    (epc,), _ = measure_agreement(items, small_verifier, draws=200)
    assert epc.values.mean() == 1 and epc.floors.mean() == pytest.approx(19 / 39, abs=0.03)
    assert epc.gain == pytest.approx(20 / 39, abs=0.03) and epc.constant == 0.5


def test_the_same_explanation_everywhere_gains_nothing(small_verifier):
    items = [Explained(str(n), HAPPY, ("happy", "sad")[n % 3 == 0]) for n in range(30)]
    (epc,), _ = measure_agreement(items, small_verifier)
    assert epc.values.mean() == pytest.approx(20 / 30) and epc.gain == pytest.approx(0) and epc.constant == 20 / 30


def test_labels_outside_the_seven_emotions_are_left_out_and_counted(small_verifier):
    more = [Explained("g", HAPPY, "contempt", "happy"), Explained("h", HAPPY, "happy", "homesick")]
    measures, unknown = measure_agreement(ITEMS + more, small_verifier)
    assert len(measures[0].values) == 6 and unknown == {"contempt": 1, "homesick": 1}


def test_without_truths_only_the_agreement_with_the_answer_is_measured(small_verifier):
    measures, _ = measure_agreement([Explained(i.clip, i.explanation, i.answer) for i in ITEMS], small_verifier)
    assert [measured.name for measured in measures] == ["EPC"]


def test_every_row_gets_one_of_another_clip_and_each_is_given_once():
    clips = ["a", "a", "b", "b", "b", "c", "d"]
    draws = moved_apart(clips, 50, seed=3)
    assert draws.shape == (50, 7) and len({tuple(row) for row in draws.tolist()}) > 10
    for rows in draws:
        assert sorted(rows.tolist()) == list(range(7))
        assert all(clips[row] != clips[at] for at, row in enumerate(rows))
    assert (moved_apart(clips, 50, seed=3) == draws).all() and (moved_apart(clips, 50, seed=4) != draws).any()
    assert moved_apart(["a", "b"], 2).tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize("clips", [[], ["a"], ["a", "a"], ["a", "a", "b"]])
def test_a_floor_needs_other_clips(clips):
    with pytest.raises(DataError, match="expected at least two clips"):
        moved_apart(clips)


def test_anything_can_be_measured_beside_its_floor():
    texts, wanted = ["x", "y", "z", "x"], ["x", "y", "z", "z"]
    measured = measure_with_floor(
        "same", list("abcd"), lambda rows: [float(texts[row] == right) for row, right in zip(rows, wanted, strict=True)]
    )
    assert measured.values.tolist() == [1, 1, 1, 0] and np.all(measured.floors < measured.values + 1)
    assert 0 < measured.floors[3] < 1 and measured.floors[1] == 0
