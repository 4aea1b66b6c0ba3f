import numpy as np
import pytest
import torch

from emotion_qwen.analysis.reader import BLANK, blank_like, label_reader
from emotion_qwen.engine.scoring import WordScores
from emotion_qwen.processing.encoded import MediumTokens
from emotion_qwen.processing.patches import normalize
from emotion_qwen.taxonomy import label_set


class ScriptedEngine:
    has_features = True

    """Answers with fixed likelihoods: one table for seen visuals, one row for the blank."""

    def __init__(self, seen, blank, tokens, facts=None):
        self.facts = facts or {}
        self.seen, self.blank, self.tokens = torch.tensor(seen), torch.tensor([blank]), torch.tensor(tokens)
        self.asked = []

    def score(self, parts, question, answers):
        self.asked.append((len(parts), question, tuple(answers)))
        shown = parts[0][0]["image"]
        is_blank = isinstance(shown, np.ndarray) and (shown == BLANK).all()
        scores = self.blank if is_blank else self.seen
        return WordScores(scores, self.tokens, torch.tensor([[0.3, 0.7]] * len(parts)), torch.zeros(len(parts), 2))

    def training_facts(self):
        return self.facts

    def encoder(self):
        return self

    def views(self, views):
        return [[{"type": "image", "image": MediumTokens(torch.zeros(1, 2))}] for _ in views]


def test_likelihood_less_blank_per_token():
    engine = ScriptedEngine([[-2.0, -6.0] + [-9.0] * 4], [-1.0, -8.0] + [-9.0] * 4, [1, 2, 1, 1, 1, 1])
    part = {"type": "image", "image": np.zeros((4, 4, 3), np.uint8)}
    scores, gate = label_reader(engine, label_set("mer6"), "en").scores([part])
    assert scores[0, :2].tolist() == [-1.0, 1.0]
    assert gate.tolist() == [pytest.approx([0.3, 0.7])]
    assert [names for _, _, names in engine.asked] == [label_set("mer6").labels] * 2


def test_a_model_that_learned_the_shares_of_its_labels_is_scored_by_plain_likelihood():
    facts = {"scores": "likelihood"}
    engine = ScriptedEngine([[-2.0, -6.0] + [-9.0] * 4], [-1.0, -8.0] + [-9.0] * 4, [1, 2, 1, 1, 1, 1], facts)
    part = {"type": "image", "image": np.zeros((4, 4, 3), np.uint8)}
    assert label_reader(engine, label_set("mer6"), "en").scores([part])[0][0, :2].tolist() == [-2.0, -6.0]
    assert [count for count, _, _ in engine.asked] == [1]  # no blank is asked


def test_blank_has_the_size_of_the_visual_and_normalises_to_almost_nothing():
    shown = {"type": "image", "image": np.zeros((5, 7, 3), np.uint8)}
    (part,) = blank_like(shown)
    heard, said = {"type": "audio", "audio": np.zeros(9, np.float32)}, {"type": "text", "text": "He says: no."}
    assert [one["image"].shape for one in blank_like([heard, shown, said])] == [(5, 7, 3)]
    assert blank_like([heard, said]) == []
    pixels = torch.from_numpy(part["image"]).permute(2, 0, 1).float() / 255
    assert part["image"].shape == (5, 7, 3) and normalize(pixels).abs().max() < 0.01
