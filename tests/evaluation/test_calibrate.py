"""A channel's temperature is found, every task counts alike, and the calibration error is of items it did not see."""

from __future__ import annotations

import json

import numpy as np
import pytest

from emotion_qwen.console import run_command
from emotion_qwen.engine.calibration import Calibration, ChannelFit
from emotion_qwen.engine.engine import Engine
from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.evaluation import calibrate
from emotion_qwen.evaluation.calibrate import expected_calibration_error, fit_channel, fit_temperature, tempered
from emotion_qwen.evaluation.run.predictions import Prediction
from emotion_qwen.evaluation.run.runner import Answered

NAMES = ("sad", "happy", "fear")
FIT = ChannelFit(1.7, 0.6, 0.1, 0.02, 9, ("fer",))


def drawn(count: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw shares that are overconfident by `temperature`, and answers from the honest ones."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 1.5, (count, 3))
    honest = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    answers = np.array([rng.choice(3, p=row) for row in honest])
    return tempered(honest, 1 / temperature), answers


def lines(shares: np.ndarray, answers: np.ndarray, languages: tuple[str, ...] = ("en",)) -> list[Prediction]:
    return [
        Prediction(
            f"item/{n}", language, NAMES[a], NAMES[a], NAMES[int(row.argmax())],
            dict(zip(NAMES, row.tolist(), strict=True)), (0.5, 0.5), 3, "x",
        )
        for n, (row, a) in enumerate(zip(shares, answers, strict=True))
        for language in languages
    ]  # fmt: skip


def test_the_error_is_the_mean_gap_of_confidence_and_accuracy():
    shares, right = np.array([0.9, 0.9, 0.9, 0.9, 0.5, 0.5]), np.array([1.0, 1, 0, 0, 1, 0])
    assert expected_calibration_error(shares, right) == pytest.approx(4 / 6 * 0.4)
    assert expected_calibration_error(np.ones(3), np.ones(3)) == 0.0


def test_the_temperature_is_found():
    shares, answers = drawn(4000, 2.0)
    assert fit_temperature([(shares, answers)]) == pytest.approx(2.0, rel=0.08)
    assert tempered(shares, 1.0) == pytest.approx(shares, abs=1e-5)
    assert tempered(shares, 2.0).argmax(1).tolist() == shares.argmax(1).tolist()


def test_a_small_task_counts_as_much_as_a_large_one():
    large, small = drawn(4000, 1.0), drawn(400, 4.0, seed=1)
    alike = fit_temperature([large, small])
    assert fit_temperature([(np.concatenate([large[0], small[0]]), np.concatenate([large[1], small[1]]))]) < 1.3
    assert 1.5 < alike < 3


def test_a_channel_that_knows_nothing_gets_a_temperature_that_silences_it():
    shares, answers = drawn(3000, 2.0)
    guessed = np.random.default_rng(3).integers(0, 3, len(answers))
    assert tempered(shares, fit_temperature([(shares, guessed)])).max() < 0.5


def test_calibration_helps_on_items_it_did_not_see():
    fit = fit_channel({"fer": lines(*drawn(3000, 2.5), languages=("en", "zh")), "lfw": lines(*drawn(1000, 2.5, 1))})
    assert fit.items == 4000 and fit.tasks == ("fer", "lfw") and fit.before > 0.12 and fit.after < 0.04
    assert fit.temperature == pytest.approx(2.5, rel=0.1)


def test_what_cannot_be_calibrated_is_refused():
    message = r"1 answered item\(s\) of 'fer' with 1 numbers of choices; expected two items or more"
    with pytest.raises(DataError, match=message):
        fit_channel({"fer": lines(*drawn(1, 1.0))})
    with pytest.raises(DataError, match=r"0 answered item\(s\) of 'lfw'"):
        fit_channel({"lfw": []})


def test_the_command_keeps_the_channels_that_it_did_not_fit(tmp_path, monkeypatch, capsys, nano):
    Calibration({"sound": FIT}, ("fer7",)).write(tmp_path)
    calibrated: list[Engine] = []

    def answer(answerer, task, folder, **options):
        calibrated.append(answerer.engine)
        assert answerer.engine.calibration == Calibration() and options["limit"] == 7
        return Answered(tuple(lines(*drawn(500, 2.0))), (), {})

    monkeypatch.setattr(calibrate, "answer_task", answer)
    monkeypatch.setattr(Engine, "load", lambda name: Engine(nano.model, nano.processor, str(name)))
    arguments = [str(tmp_path), "--channel", "picture=fer,lfw", "--sets", "dfew7", "--limit", "7"]
    assert run_command(calibrate.command, arguments) == 0
    known = Calibration.read(tmp_path)
    assert known.channels["sound"] == FIT and known.channels["picture"].tasks == ("fer", "lfw")
    assert known.label_sets == ("fer7", "dfew7") and len(calibrated) == 2
    told = capsys.readouterr().out
    assert "picture: temperature" in told and "500 items" not in told and "1000 items of fer, lfw" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--channel", "smell=fer"], "smell"),
        (["--channel", "picture"], "names no task; expected for example picture=fer"),
        (["--channel", "picture=nothing"], "nothing"),
        (["--sets", "fer8"], "fer8"),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path, monkeypatch, capsys, nano, arguments, message):
    monkeypatch.setattr(Engine, "load", lambda name: Engine(nano.model, nano.processor, str(name)))
    assert run_command(calibrate.command, [str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1


def test_a_model_without_audio_input_is_calibrated_without_sound(tmp_path, monkeypatch, capsys, deaf):
    asked: list[str] = []

    def answer(answerer, task, folder, **options):
        asked.append(task.name)
        return Answered(tuple(lines(*drawn(100, 2.0))), (), {})

    monkeypatch.setattr(calibrate, "answer_task", answer)
    monkeypatch.setattr(Engine, "load", lambda name: Engine(deaf.model, deaf.processor, str(name)))
    assert run_command(calibrate.command, [str(tmp_path)]) == 0
    assert set(Calibration.read(tmp_path).channels) == {"picture", "words"}
    assert not set(asked) & set(calibrate.CHANNEL_TASKS["sound"]) and set(calibrate.CHANNEL_TASKS["words"]) < set(asked)
    assert "sound: not fitted, the model has no audio input" in capsys.readouterr().out
    assert run_command(calibrate.command, [str(tmp_path), "--channel", "sound=nemo"]) == 2
    assert "'sound=nemo': the model has no audio input; leave the channel out" in capsys.readouterr().err


def test_an_unknown_task_names_the_known_ones(tmp_path, nano):
    with pytest.raises(SettingsError, match="unknown task 'fur'"):
        calibrate.calibrate(Engine(nano.model, nano.processor, "x"), {"picture": ("fur",)}, None, tmp_path)


def test_a_calibration_of_another_form_is_made_anew(tmp_path):
    (tmp_path / "calibration.json").write_text(json.dumps({"fer7": {"temperature": 1.3}}))
    assert calibrate._kept(tmp_path) == Calibration()


def test_a_model_that_is_not_there_is_one_line(capsys):
    assert run_command(calibrate.command, ["nowhere"]) == 2
    error = capsys.readouterr().err.strip()
    assert "'nowhere'" in error and len(error.splitlines()) == 1


def test_biases_mend_a_model_that_names_one_emotion_too_seldom():
    rng = np.random.default_rng(0)
    right = rng.integers(0, 3, 400)
    scores = rng.normal(size=(400, 3)) + 2.5 * np.eye(3)[right] - np.array([0.0, 0.0, 4.0])
    found = lines(np.exp(scores) / np.exp(scores).sum(1, keepdims=True), right)
    plain, mended = fit_channel({"fer": found}), fit_channel({"fer": found}, with_biases=True)
    assert plain.biases == {} and mended.accuracy > plain.accuracy + 0.15 and mended.after < plain.after
    assert sorted(mended.biases) == ["fear", "happiness", "sadness"]
    assert mended.biases["fear"] > 2.5 + mended.biases["happiness"]
