"""Channels are combined by their worth: hand-computed tables, and a weak channel does not overturn a strong one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from emotion_qwen.engine.calibration import CALIBRATION, Calibration, ChannelFit, combine
from emotion_qwen.errors import CheckpointError


def fit(temperature: float) -> ChannelFit:
    return ChannelFit(temperature, 0.5, 0.1, 0.02, 9, ("fer", "lfw"))


KNOWN = Calibration({"picture": fit(1.5), "sound": fit(10.0), "words": fit(3.0)}, ("fer7",))


def test_shares_are_multiplied_and_normalised():
    picture, sound = np.array([[0.6, 0.3, 0.1]]), np.array([[0.2, 0.5, 0.3]])
    product = np.array([0.12, 0.15, 0.03])
    assert combine([picture, sound]) == pytest.approx((product / product.sum())[None], abs=1e-9)


def test_an_absent_channel_does_not_count_and_nothing_at_all_stays_nothing():
    gone = np.full((2, 2), np.nan)
    picture = np.array([[0.8, 0.2], [np.nan, np.nan]])
    assert combine([picture, gone])[0] == pytest.approx([0.8, 0.2])
    assert np.isnan(combine([picture, gone])[1]).all()


def test_equal_shares_change_nothing_and_a_share_of_zero_does_not_break():
    picture = np.array([0.7, 0.2, 0.1])
    assert combine([picture, np.full(3, 1 / 3)]) == pytest.approx(picture)
    assert combine([np.array([1.0, 0, 0]), np.array([0.0, 1, 0])]) == pytest.approx([0.5, 0.5, 0], abs=1e-6)


def test_a_weak_channel_cannot_overturn_a_strong_one_and_an_equal_one_can():
    """A face that is 90 % happy against a voice that is as sure of another label: (0.9, 0.05, 0.05) x T."""
    scores = np.log([0.05, 0.9, 0.05])
    face = np.array([0.9, 0.05, 0.05])

    def voice(temperature: float) -> np.ndarray:
        shares = np.exp(scores / temperature)
        return shares / shares.sum()

    assert combine([face, voice(10.0)]).argmax() == 0 and combine([face, voice(10.0)])[0] > 0.86
    assert combine([face, voice(0.9)]).argmax() == 1


def test_weights_are_inverse_temperatures_and_unknown_where_one_is():
    weights = KNOWN.weights(("picture", "sound", "words"))
    total = 1 / 1.5 + 1 / 10 + 1 / 3
    expected = {"picture": 1 / 1.5 / total, "sound": 1 / 10 / total, "words": 1 / 3 / total}
    assert weights == pytest.approx(expected)
    assert sum(weights.values()) == pytest.approx(1)
    assert KNOWN.weights(("picture",)) == {"picture": 1.0}
    assert KNOWN.temperature("context") == 3.0 and Calibration().temperature("words") is None
    assert Calibration({"picture": fit(1.0)}).weights(("picture", "sound")) == {} == Calibration().weights(())


def test_it_is_written_and_read_as_it_was(tmp_path):
    assert Calibration.read(tmp_path) == Calibration()
    assert KNOWN.write(tmp_path) == tmp_path / CALIBRATION
    assert Calibration.read(tmp_path) == KNOWN


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"fer7": {"temperature": 1.3}}', '{"label_sets": [], "channels": {"sound": {"temperature": 1}}}'],
)
def test_another_form_is_refused_with_the_remedy(tmp_path, content):
    (tmp_path / CALIBRATION).write_text(content)
    with pytest.raises(CheckpointError, match=r"not a calibration of this version .*emotion-qwen calibrate"):
        Calibration.read(tmp_path)


def test_a_temperature_of_zero_is_refused(tmp_path):
    path = KNOWN.write(tmp_path)
    path.write_text(json.dumps({"label_sets": [], "channels": {"words": {**vars(fit(3.0)), "temperature": 0}}}))
    with pytest.raises(CheckpointError, match="expected a positive number"):
        Calibration.read(tmp_path)


def test_biases_belong_to_concepts_whatever_a_label_set_calls_them(tmp_path):
    known = Calibration({"words": ChannelFit(2.0, 0.5, 0.1, 0.02, 9, ("x",), {"sadness": 1.5, "neutral": -0.5})})
    assert known.biases("words", ("sad", "neutral", "amused", "Sadness")).tolist() == [1.5, -0.5, 0.0, 1.5]
    assert known.biases("context", ("sad",)).tolist() == [1.5] and known.biases("picture", ("sad",)).tolist() == [0.0]
    known.write(tmp_path)
    assert Calibration.read(tmp_path) == known
    KNOWN.write(tmp_path)
    assert "biases" not in (tmp_path / CALIBRATION).read_text(encoding="utf-8")


def test_a_bias_that_is_no_number_is_refused(tmp_path):
    Calibration({"words": ChannelFit(2.0, 0.5, 0.1, 0.02, 9, ("x",), {"sadness": float("nan")})}).write(tmp_path)
    with pytest.raises(CheckpointError, match="expected finite numbers"):
        Calibration.read(tmp_path)
