"""Figures with biases are those of items on which the biases were not fitted."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.run.predictions import Prediction
from recipes.mini import card as module
from recipes.mini.card import cross_fitted, is_odd, measured, page, pooled_recalls, with_biases, with_earlier

REPOSITORY = Path(__file__).parents[3]
LABELS = ("happiness", "sadness", "neutral")


def line(number: int, answer: str, scores: dict[str, float] | None, name: str = "a") -> Prediction:
    predicted = max(scores, key=lambda label: scores[label]) if scores else None
    return Prediction(f"{name}{number}", "en", answer, answer, predicted, scores, None, 3, "q")


def too_neutral(count: int, name: str, seed: int) -> list[Prediction]:
    """Return answers of a model that knows the emotions but nearly always names neutral."""
    rng = random.Random(seed)
    lines = []
    for number in range(count):
        truth = rng.choice(LABELS)
        scores = {label: math.exp(1.0 * (label == truth) + 2.0 * (label == "neutral")) for label in LABELS}
        lines.append(
            line(number, truth, {label: value / sum(scores.values()) for label, value in scores.items()}, name)
        )
    return lines


def test_biases_are_learned_from_the_other_half():
    answers = {
        "ferplus_votes": too_neutral(120, "f", 1),
        "fer": too_neutral(120, "g", 2),
        "rafdb_aligned": too_neutral(60, "r", 3),
    }
    assert measured(answers["fer"])["accuracy"] < 50
    fitted = cross_fitted(answers)
    assert all(measured(fitted[name])["accuracy"] == 100 for name in answers)
    assert [line.id for line in fitted["fer"]] == [line.id for line in answers["fer"]]
    halves = [is_odd(line) for line in answers["fer"]]
    assert 40 < sum(halves) < 80
    # wrong answers in one half alone change what the other half is given, not their own half's biases
    spoiled = [line if not is_odd(line) else too_happy(line) for line in answers["fer"]]
    other = cross_fitted(
        {
            "ferplus_votes": [x for x in answers["ferplus_votes"] if not is_odd(x)]
            + [too_happy(x) for x in answers["ferplus_votes"] if is_odd(x)],
            "fer": spoiled,
            "rafdb_aligned": answers["rafdb_aligned"],
        }
    )
    even = [n for n, line in enumerate(answers["rafdb_aligned"]) if not is_odd(line)]
    assert [other["rafdb_aligned"][n].predicted for n in even] != [fitted["rafdb_aligned"][n].predicted for n in even]


def too_happy(one: Prediction) -> Prediction:
    scores = {"happiness": 0.98, "sadness": 0.01, "neutral": 0.01}
    return line(int(one.id[1:]), one.answer, scores, one.id[0])


def test_tasks_of_other_channels_and_items_without_an_answer_stay():
    answers = {"ferplus_votes": too_neutral(40, "f", 4), "fer": [*too_neutral(39, "g", 5), line(99, "sadness", None)],
               "cifar": too_neutral(10, "c", 6)}  # fmt: skip
    fitted = cross_fitted(answers)
    assert fitted["cifar"] == answers["cifar"] and fitted["fer"][-1].predicted is None


def test_a_bias_belongs_to_the_emotion_whatever_it_is_called():
    moved = with_biases(line(1, "sad", {"happy": 0.6, "sad": 0.4}), {"sadness": 1.0})
    assert moved.predicted == "sad" and not with_biases(line(1, "sad", None), {"sadness": 1.0}).scores
    chinese = with_biases(line(1, "悲伤", {"高兴": 0.6, "悲伤": 0.4}), {"sadness": 1.0})
    assert chinese.predicted == "悲伤"


def test_recalls_are_pooled_over_the_sets_of_faces():
    answers = {"ferplus_votes": [line(n, "anger", {"anger": 0.9, "sadness": 0.1}) for n in range(3)],
               "fer": [line(0, "anger", {"anger": 0.1, "sadness": 0.9})]}  # fmt: skip
    assert pooled_recalls(answers)["anger"] == 75.0 and pooled_recalls(answers)["fear"] == 0.0


def figures_of(accuracy: float, items: int, *titles: str) -> dict:
    row = {"items": items, "accuracy": accuracy, "interval": [accuracy - 9, accuracy + 8], "macro F1": 31.0}
    way = {**row, "recall": {"anger": accuracy}}
    return {title: {"as analyze": way} for title in titles} | {
        "recall pooled over faces": dict.fromkeys(module.POOLED, accuracy)
    }


def test_a_model_is_measured_again_alone(tmp_path, monkeypatch, capsys):
    (tmp_path / "mini.json").write_text(
        json.dumps({"mini": figures_of(40.0, 60, "FER+", "EmoDB"), "nano": figures_of(70.0, 240, "FER+", "ISEAR")})
    )
    asked = []
    monkeypatch.setattr(
        module, "measure", lambda model, *_: asked.append(model) or figures_of(55.0, 60, "FER+", "RAVDESS")
    )
    arguments = ["--model", "/models/mini", "--data", ".", "--predictions", ".", "--results", str(tmp_path)]
    module.card.main(arguments, standalone_mode=False)
    figures = json.loads((tmp_path / "mini.json").read_text(encoding="utf-8"))
    assert asked == ["/models/mini"] and list(figures) == ["mini", "nano"]
    assert figures["mini"]["FER+"]["as analyze"]["accuracy"] == 55.0 and "EmoDB" not in figures["mini"]
    written = (tmp_path / "mini.md").read_text(encoding="utf-8").splitlines()
    assert written[0] == "# Accuracy of mini and nano"
    assert [line for line in written if line.startswith(("| FER+", "| RAVDESS", "| ISEAR", "| mini", "| nano"))] == [
        "| FER+ | 60, 240 | 55.0 | 46.0–63.0 | 31.0 | 70.0 | 61.0–78.0 | 31.0 |",
        "| RAVDESS | 60 | 55.0 | 46.0–63.0 | 31.0 | | | |",
        "| ISEAR | 240 | | | | 70.0 | 61.0–78.0 | 31.0 |",
        "| mini | 55.0 | 55.0 | 55.0 | 55.0 |",
        "| nano | 70.0 | 70.0 | 70.0 | 70.0 |",
    ]
    assert "Recall by class, nano, ISEAR (%): anger 70.0." in written and capsys.readouterr().out


def test_figures_that_cannot_be_kept_are_refused_before_measuring(tmp_path):
    assert with_earlier({"mini": {}}, tmp_path / "mini.json") == {"mini": {}}
    (tmp_path / "mini.json").write_text("[1]")
    with pytest.raises(DataError, match=r"mini\.json: contains no figures per model; remove it, or give another"):
        with_earlier({}, tmp_path / "mini.json")


def test_the_page_in_the_documentation_is_that_of_its_figures():
    folder = REPOSITORY / "docs" / "results"
    figures = json.loads((folder / "mini.json").read_text(encoding="utf-8"))
    assert page(figures) == (folder / "mini.md").read_text(encoding="utf-8")
