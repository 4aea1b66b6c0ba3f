"""The shipped verifier: what it reads, its size, and its card."""

import numpy as np
import pytest

from emotion_qwen.verify.explanations import read_explanations
from emotion_qwen.verify.rewards import verifier_reward
from emotion_qwen.verify.verifier import EMOTIONS, SETTINGS, SHIPPED, WEIGHTS, Verifier


@pytest.mark.parametrize(
    ("text", "emotion"),
    [
        ("I love this, it made my day!", "happiness"),
        ("My heart is broken and I miss her so much.", "sadness"),
        ("What the hell, you stupid idiot!", "anger"),
        ("The meeting starts at nine in the second building.", "neutral"),
        ("今天太开心了，哈哈哈", "happiness"),
        ("我真的好难过，眼泪一直流", "sadness"),
    ],
)
def test_it_reads_plain_sentences(text, emotion):
    assert EMOTIONS[int(Verifier.load().shares([text])[0].argmax())] == emotion


def test_an_explanation_is_told_from_its_opposite():
    sad = "His eyes are red and he lowers his head. His voice trembles. It seems that he mourns somebody he has lost."
    glad = "She laughs out loud and claps her hands. Her voice is bright. It seems she has won something wonderful."
    readings = read_explanations([sad, glad], Verifier.load())
    assert readings[0].shares["sadness"] > readings[1].shares["sadness"]
    assert readings[1].shares["happiness"] > 2 * readings[0].shares["happiness"]
    assert verifier_reward(glad, "happy") > 2 * verifier_reward(sad, "happy")


def test_it_is_small_and_its_figures_are_on_its_card():
    files = [SHIPPED / name for name in (WEIGHTS, SETTINGS, "README.md")]
    assert sum(file.stat().st_size for file in files) < 4_000_000
    card = files[2].read_text(encoding="utf-8")
    for figures in Verifier.load().facts["validation"].values():
        assert f"{figures['macro_f1']['value']:.3f}" in card and figures["macro_f1"]["value"] > 0.4
    assert "GoEmotions" in card and np.isfinite(Verifier.load().table("en").weights).all()
