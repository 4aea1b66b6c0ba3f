"""The formulas of learning from rewards and preferences, on plain tensors.

Group-relative policy optimisation: Shao et al. 2024 (DeepSeekMath), https://arxiv.org/abs/2402.03300; its variants
without scaling (Liu et al. 2025, https://arxiv.org/abs/2503.20783) and with a mean over tokens and a wider upper clip
(Yu et al. 2025, DAPO, https://arxiv.org/abs/2503.14476). Direct preference optimisation: Rafailov et al. 2023,
https://arxiv.org/abs/2305.18290.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F

SMALLEST_SPREAD = 1e-4
"""Added to the standard deviation of a group."""


def group_advantages(rewards: torch.Tensor, scaled: bool = True) -> torch.Tensor:
    """Return (P, G) advantages of G answers to each of P prompts.

    Args:
        rewards: (P, G) total rewards.
        scaled: divide the difference from the group's mean by its standard deviation (of a sample) plus
            `SMALLEST_SPREAD`.
    """
    differences = rewards - rewards.mean(1, keepdim=True)
    return differences / (rewards.std(1, keepdim=True) + SMALLEST_SPREAD) if scaled else differences


def without_spread(rewards: torch.Tensor) -> torch.Tensor:
    """Return (P,) whether all answers of a group have the same reward, so that nothing can be learned from it."""
    return rewards.amax(1) - rewards.amin(1) < 1e-9


def clipped_objective(
    new: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor, below: float, above: float
) -> torch.Tensor:
    """Return the smaller of ratio times advantage and clipped ratio times advantage, for every token.

    Args:
        new: log-likelihoods by the model that learns.
        old: log-likelihoods by the model that drew the answers.
        advantages: broadcast over the tokens of an answer.
        below: the ratio is clipped to at least 1 - `below`.
        above: the ratio is clipped to at most 1 + `above`.
    """
    ratio = (new - old).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - below, 1 + above) * advantages)


def low_variance_kl(new: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """Estimate the divergence from the start for every token: exp(d) - d - 1 with d = start - new, never below 0.

    Source: Schulman 2020, "Approximating KL divergence", http://joschu.net/blog/kl-approx.html.
    """
    difference = start - new
    return difference.exp() - difference - 1


def answer_token_weights(present: torch.Tensor, per: Literal["answer", "token"]) -> torch.Tensor:
    """Return (B, G, T) weights of tokens: all answers have the same weight, or all tokens.

    The sum over the answers of a step is their number, or the number of their tokens.

    Args:
        present: (B, G, T) True where there is a token.
        per: "answer" divides each token by the length of its answer.
    """
    weights = present.float()
    return weights / weights.sum(-1, keepdim=True).clamp(min=1) if per == "answer" else weights


def preference_margins(policy: torch.Tensor, start: torch.Tensor, beta: float) -> torch.Tensor:
    """Return (B,) how much more the model prefers the chosen answers than its start did, times `beta`.

    Args:
        policy: (B, 2) log-likelihoods of the chosen and the rejected answer.
        start: (B, 2) those by the start.
        beta: strength with which the model is kept close to its start.
    """
    gains = policy - start
    return beta * (gains[:, 0] - gains[:, 1])


def preference_loss(margins: torch.Tensor) -> torch.Tensor:
    """Return (B,) losses of preference margins: -log sigmoid(margin)."""
    return -F.logsigmoid(margins)
