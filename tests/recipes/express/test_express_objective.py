"""Batches and loss of the expression generator: what is hidden, where rows are sent, and what the terms reward."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from emotion_qwen.express.generator import ExpressionGenerator, expression_config
from emotion_qwen.express.generator.learned import shares_and_intensity
from emotion_qwen.express.track import EMOTIONS, PLACE
from recipes.express.faces import MIRROR, NEUTRAL, TAUGHT, MeasuredFaces, fit_axes, with_mirrored
from recipes.express.objective import MOUTH, Objective, draw_batch, energy_score, expert_targets, training_loss
from recipes.express.train import Schedule, train_generator

SMALL = {"hidden_size": 12, "latent_size": 4, "expert_size": 8, "bank_codes": 5}
SMILE, FROWN = PLACE["mouthSmileLeft"], PLACE["browDownRight"]


def invented(count: int = 60, seed: int = 0) -> MeasuredFaces:
    """Return faces in which happiness is a left smile, anger a right frown, and the others are neutral with noise."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(7), count)
    frames = np.where(TAUGHT, 0.2 + 0.02 * random.standard_normal((len(labels), 52)), 0)
    frames[labels == EMOTIONS.index("happiness"), SMILE] += 0.5
    frames[labels == EMOTIONS.index("anger"), FROWN] += 0.4
    return MeasuredFaces(np.arange(len(labels)).astype(str), np.array(["fer"] * len(labels)), labels, frames.clip(0, 1))


def test_a_mirrored_face_has_its_sides_exchanged() -> None:
    faces = with_mirrored(invented())
    half = len(faces) // 2
    assert (MIRROR[MIRROR] == np.arange(52)).all()
    assert (faces.frames[half:, PLACE["mouthSmileRight"]] == faces.frames[:half, SMILE]).all()
    assert (faces.labels[half:] == faces.labels[:half]).all()


def test_intensity_is_0_for_neutral_faces_and_1_for_the_mean_of_an_emotion() -> None:
    faces = invented()
    axes = fit_axes(faces)
    means = np.stack([faces.frames[faces.labels == place].mean(axis=0) for place in range(7)])
    assert axes(means, np.arange(7)) == pytest.approx(np.where(np.arange(7) == NEUTRAL, 0.0, 1.0))
    half = (means + means[NEUTRAL]) / 2
    assert axes(half, np.arange(7)) == pytest.approx(np.where(np.arange(7) == NEUTRAL, 0.0, 0.5))
    assert axes(means + 9 * (means - means[NEUTRAL]), np.arange(7)).max() == 1.5


def test_rows_are_hidden_sent_elsewhere_and_dropped_as_often_as_stated() -> None:
    faces = invented()
    batch = draw_batch(faces, np.ones(len(faces)), 4000, Objective(), np.random.default_rng(1))
    hidden = (batch.visible.numpy()[:, MOUTH & TAUGHT] == 0).all(axis=1)
    assert hidden.mean() == pytest.approx(0.5, abs=0.03) and batch.dropped.float().mean() == pytest.approx(
        0.1, abs=0.02
    )
    assert (batch.visible.numpy()[:, ~MOUTH & TAUGHT] == 1).all() and not batch.visible.numpy()[:, ~TAUGHT].any()
    elsewhere = (batch.routing != batch.target).any(dim=1)
    assert elsewhere.float().mean() == pytest.approx(0.15, abs=0.02)
    moved = batch.routing[elsewhere].argmax(dim=1) == batch.target[elsewhere].argmax(dim=1)
    assert not moved.any(), "a row that is sent elsewhere goes to another expert than its own"
    assert batch.emotions.sum(dim=1) == pytest.approx(np.ones(4000))
    blended = ((batch.emotions > 0).sum(dim=1) > 1).float().mean()
    assert blended == pytest.approx(0.2 * 30 / 49, abs=0.03), "blends of two emotions other than neutral"


def test_shares_and_experts_of_strengths() -> None:
    strengths = np.zeros((3, 7))
    strengths[0, [0, 2]] = 0.6, 0.3
    strengths[1, NEUTRAL] = 1.0
    strengths[2, 3] = 2.0
    shares, intensity = shares_and_intensity(strengths)
    assert shares[0, [0, 2]] == pytest.approx([2 / 3, 1 / 3]) and intensity == pytest.approx([0.9, 0.0, 1.5])
    assert shares[1, NEUTRAL] == 1
    assert expert_targets(shares).sum(axis=1) == pytest.approx(np.ones(3))
    assert expert_targets(shares)[1] == pytest.approx(np.full(6, 1 / 6))


def test_the_energy_score_rewards_the_right_variety() -> None:
    """The mean distance alone would be least for draws without any variety."""
    generator = torch.Generator().manual_seed(0)

    def draw(deviation: float) -> torch.Tensor:
        return deviation * torch.randn(20000, 6, generator=generator)

    target = draw(1.0)
    scores = {deviation: energy_score(draw(deviation), draw(deviation), target) for deviation in (0.0, 0.6, 1.0, 1.6)}
    assert min(scores, key=scores.get) == 1.0
    assert (draw(0.0) - target).norm(dim=1).mean() < (draw(1.0) - target).norm(dim=1).mean()


def test_the_loss_has_the_parts_of_the_phase_and_hidden_channels_do_not_count() -> None:
    faces = invented()
    torch.manual_seed(0)
    model = ExpressionGenerator(expression_config("nano", **SMALL))
    model.set_statistics(torch.full((52,), 0.2), torch.full((52,), 0.1))
    batch = draw_batch(faces, np.ones(len(faces)), 32, Objective(), np.random.default_rng(1))
    early, late = (training_loss(model, batch, Objective(), progress) for progress in (0.0, 0.9))
    assert "routing" in early and "routing" not in late and early["divergence"] == 0 < late["divergence"]
    assert "judge" not in late and "vertices" not in late
    assert all(torch.isfinite(value) for value in late.values())
    blind = replace(batch, visible=torch.zeros_like(batch.visible))
    assert training_loss(model, blind, Objective(), 0.9)["frames"] == 0
    vertices = training_loss(model, batch, Objective(), 0.9, vertices=torch.ones(52, 3))["vertices"]
    assert vertices > 0


def test_a_short_run_learns_the_faces() -> None:
    schedule = Schedule(steps=120, size=32, rate=1e-2)
    model = train_generator(invented(), SMALL, seed=1, schedule=schedule, judged=False)
    drawn = model.draw(torch.eye(7).repeat(50, 1), torch.ones(350), noise=torch.randn(350, 4)).view(50, 7, 52).mean(0)
    others = [place for place in range(7) if place != EMOTIONS.index("happiness")]
    smiles = drawn[:, [PLACE["mouthSmileLeft"], PLACE["mouthSmileRight"]]].sum(dim=1)
    assert smiles[EMOTIONS.index("happiness")] > smiles[others].max() + 0.2


def test_a_run_is_the_same_again() -> None:
    runs = [train_generator(invented(), SMALL, seed=1, schedule=Schedule(steps=6, size=16)) for _ in range(2)]
    for first, second in zip(*(run.state_dict().values() for run in runs), strict=True):
        assert torch.equal(first, second)
