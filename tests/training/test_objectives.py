"""The formulas of learning from rewards and preferences, against values computed by hand."""

import math

import pytest
import torch

from emotion_qwen.training.objectives import (
    answer_token_weights,
    clipped_objective,
    group_advantages,
    low_variance_kl,
    preference_loss,
    preference_margins,
    without_spread,
)


def close(values: torch.Tensor, wanted: list) -> bool:
    return torch.allclose(values, torch.tensor(wanted), atol=1e-5)


def test_advantages_of_unequal_rewards():
    rewards = torch.tensor([[1.0, 0.0, 0.0, 3.0], [0.25, 0.25, 0.25, 0.25]])
    # Mean 1; squares of the differences 0, 1, 1, 4; standard deviation of a sample of four: sqrt(6 / 3).
    spread = math.sqrt(2) + 1e-4
    assert close(group_advantages(rewards), [[0, -1 / spread, -1 / spread, 2 / spread], [0.0] * 4])
    assert close(group_advantages(rewards, scaled=False), [[0, -1, -1, 2], [0.0] * 4])
    assert without_spread(rewards).tolist() == [False, True]


@pytest.mark.parametrize(
    ("ratio", "advantage", "wanted"),
    [
        (1.1, 2.0, 2.2),  # inside the bounds
        (1.5, 2.0, 2.6),  # clipped to 1.3, as it would be raised further
        (0.5, 2.0, 1.0),  # not clipped: the smaller value is kept, so that it can still be raised
        (1.5, -3.0, -4.5),  # not clipped: a bad answer that became likelier is lowered
        (0.5, -3.0, -2.4),  # clipped to 0.8, as it is already lowered enough
        (0.9, -3.0, -2.7),
    ],
)
def test_the_clipped_ratio(ratio, advantage, wanted):
    old = torch.tensor([-1.7])
    given = clipped_objective(old + math.log(ratio), old, torch.tensor([advantage]), 0.2, 0.3)
    assert close(given, [wanted])


def test_a_clipped_token_has_no_gradient():
    new = torch.tensor([math.log(1.5), math.log(1.1)], requires_grad=True)
    clipped_objective(new, torch.zeros(2), torch.full((2,), 2.0), 0.2, 0.2).sum().backward()
    assert close(new.grad, [0.0, 2.2])


def test_the_divergence_from_the_start():
    new, start = torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([-1.0, -1.5, -1.5])
    wanted = [0.0, math.exp(0.5) - 0.5 - 1, math.exp(-1.0) + 1.0 - 1]
    assert close(low_variance_kl(new, start), wanted)


def test_weights_of_answers_of_unequal_length():
    present = torch.tensor([[[1, 1, 1, 1], [1, 0, 0, 0]]]).bool()
    by_answer, by_token = answer_token_weights(present, "answer"), answer_token_weights(present, "token")
    assert close(by_answer, [[[0.25] * 4, [1.0, 0, 0, 0]]]) and by_answer.sum() == 2
    assert close(by_token, [[[1.0] * 4, [1.0, 0, 0, 0]]]) and by_token.sum() == 5


def test_preferences_of_unequal_pairs():
    policy = torch.tensor([[-3.0, -5.0], [-9.0, -2.0]])
    start = torch.tensor([[-4.0, -4.5], [-9.0, -3.0]])
    # Gains 1 and -0.5, then 0 and 1: differences 1.5 and -1.
    margins = preference_margins(policy, start, 0.2)
    assert close(margins, [0.3, -0.2])
    assert close(preference_loss(margins), [math.log(1 + math.exp(-0.3)), math.log(1 + math.exp(0.2))])
