import copy

import pytest
import torch
from torch import nn

from emotion_qwen.training.optimizer import (
    ITERATIONS,
    NEWTON_SCHULZ,
    Muon,
    MuonWithAdamW,
    make_optimizer,
    orthogonal,
    split_parameters,
)
from emotion_qwen.training.plan import OptimSettings


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(7, 8)
        self.eye = nn.Linear(8, 8)
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.conv = nn.Conv1d(8, 8, 3, bias=False)


def groups_of(model):
    return split_parameters(model, {"eye.": 1e-4, "eye.bias": 1e-5}, 1e-3, 0.1)


def test_every_trainable_parameter_has_one_rate_one_decay_and_one_half():
    model = Small()
    told = {
        id(p): (group["lr"], group["weight_decay"], group["matrices"])
        for group in groups_of(model)
        for p in group["params"]
    }
    assert told == {
        id(model.words.weight): (1e-3, 0.0, False),
        id(model.eye.weight): (1e-4, 0.1, True),
        id(model.eye.bias): (1e-5, 0.0, False),
        id(model.conv.weight): (1e-3, 0.1, False),
    }


def steps(model, optimizer, count):
    for seed in range(count):
        torch.manual_seed(seed)
        rows = model.conv(model.eye(model.words(torch.randint(7, (2, 5)))).transpose(1, 2))
        optimizer.zero_grad()
        rows.square().mean().backward()
        optimizer.step()
    return model.state_dict()


def test_a_matrix_moves_orthogonally_and_by_the_rate_of_an_adamw_step():
    torch.manual_seed(0)
    model = nn.Linear(16, 16, bias=False)
    before = model.weight.detach().clone()
    optimizer = MuonWithAdamW(split_parameters(model, {}, 1e-2, 0.0))
    model(torch.randn(64, 16)).square().sum().backward()
    optimizer.step()
    moved = before - model.weight.detach()
    values = torch.linalg.svdvals(moved)
    assert values.max() / values.min() < 2.5  # a plain gradient step here: over 100
    assert 0.1e-2 < moved.square().mean().sqrt() < 0.3e-2


def fresh():
    torch.manual_seed(1)
    model = Small()
    return model, MuonWithAdamW(groups_of(model))


def test_state_survives_saving():
    model, optimizer = fresh()
    halfway = copy.deepcopy(steps(model, optimizer, 4))
    saved = copy.deepcopy(optimizer.state_dict())
    straight = steps(model, optimizer, 2)
    model, optimizer = fresh()
    model.load_state_dict(halfway)
    optimizer.load_state_dict(saved)
    resumed = steps(model, optimizer, 2)
    assert all(torch.equal(resumed[key], straight[key]) for key in straight)


def test_a_schedule_reaches_both_halves():
    _, optimizer = fresh()
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 0.5)
    assert sorted({g["lr"] for part in optimizer.parts for g in part.param_groups}) == [0.5e-5, 0.5e-4, 0.5e-3]


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (8, 8)])
def test_muon_moves_as_torchs_does(shape):
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(shape)) for _ in range(2))
    group = {"params": [ours], "lr": 0.02, "weight_decay": 0.1}
    mine = Muon([group], dtype=torch.float32)
    other = torch.optim.Muon([{**group, "params": [theirs]}], adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        mine.step()
        other.step()
    moved, parted = (1 - ours).norm().item(), (ours - theirs).norm().item()
    assert parted < 0.1 * moved  # torch iterates in bfloat16


@pytest.mark.parametrize("shape", [(12, 30), (30, 12)])
def test_the_iteration_is_the_quintic_of_the_singular_values(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape, dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix / matrix.norm(), full_matrices=False)
    for _ in range(ITERATIONS):
        a, b, c = NEWTON_SCHULZ
        values = a * values + b * values**3 + c * values**5
    wanted = left @ values.diag() @ right
    assert (orthogonal(matrix, torch.float64) - wanted).abs().max() < 1e-12
    assert (orthogonal(matrix, torch.float32) - wanted).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_beta2_of_the_settings_reaches_adamw(name):
    settings = OptimSettings.of({"name": name, "steps": 1, "beta2": 0.83})
    optimizer = make_optimizer(Small(), settings, 1e-3)
    adamw = [part for part in getattr(optimizer, "parts", [optimizer]) if isinstance(part, torch.optim.AdamW)]
    assert len(adamw) == 1 and {group["betas"] for group in adamw[0].param_groups} == {(0.9, 0.83)}
