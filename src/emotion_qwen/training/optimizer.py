"""Muon for the matrices, AdamW for the rest, as one optimizer that a Trainer can schedule, save and resume.

Muon (Jordan et al. 2024) makes every update of a weight matrix orthogonal. Its rate is scaled here to the root mean
square of an AdamW update (Liu et al. 2025), so one learning rate and one weight decay serve both halves. Embeddings
and all that is not a matrix stay with AdamW.

torch has a Muon too; it iterates in bfloat16 whatever the machine, which takes twenty times a whole training step on a
processor that has no such product. Ours takes the number type from the machine and is the same otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from emotion_qwen.model.parts import PARTS
from emotion_qwen.training.plan import OptimSettings, native_dtype

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of the quintic iteration, Jordan et al. 2024
ITERATIONS = 5


def orthogonal(matrix: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Bring the singular values of an (M, N) matrix near 1, by five Newton-Schulz steps in `dtype`."""
    a, b, c = NEWTON_SCHULZ
    flat = (matrix.T if matrix.shape[0] > matrix.shape[1] else matrix).to(dtype)
    flat = flat / flat.norm().clamp_min(1e-7)
    for _ in range(ITERATIONS):
        gram = flat @ flat.T
        flat = a * flat + (b * gram + c * gram @ gram) @ flat
    return flat.T if matrix.shape[0] > matrix.shape[1] else flat


class Muon(Optimizer):
    """Momentum whose update is made orthogonal; for matrices only.

    Args:
        groups: parameter groups with `params`, `lr` and `weight_decay`.
        momentum: of the gradients, with Nesterov's look ahead.
        dtype: of the iteration; None takes bfloat16 where the machine multiplies it natively, else float32.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], momentum: float = 0.95, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__(list(groups), {"momentum": momentum})
        self.dtype = dtype or native_dtype()

    @torch.no_grad()
    def step(self, closure=None):
        """Update all parameters that have a gradient; takes no closure."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(state["momentum"], group["momentum"])
                update = orthogonal(ahead, self.dtype)
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update.to(parameter.dtype), alpha=-0.2 * max(parameter.shape) ** 0.5 * group["lr"])


class MuonWithAdamW(Optimizer):
    """Two optimizers over disjoint parameters, behind one list of parameter groups.

    Args:
        groups: parameter groups with `params`, `lr`, `weight_decay` and `matrices` (True: Muon).
        betas: of AdamW; the default is torch's.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], betas: tuple[float, float] = (0.9, 0.999)) -> None:
        groups = [group for group in groups if group["params"]]
        for_muon = [_without_kind(group) for group in groups if group["matrices"]]
        for_adamw = [_without_kind(group) for group in groups if not group["matrices"]]
        self.parts: list[Optimizer] = []
        if for_muon:
            self.parts.append(Muon(for_muon))
        if for_adamw:
            self.parts.append(AdamW(for_adamw, betas=betas))
        super().__init__([{"params": group["params"]} for part in self.parts for group in part.param_groups], {})
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure=None):
        """Update all parameters; takes no closure."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Return both halves' states."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up both halves' states."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def make_optimizer(model: nn.Module, settings: OptimSettings, learning_rate: float) -> Optimizer:
    """Build the optimizer of a stage.

    Args:
        model: plain or with adapters; frozen parameters are left out.
        settings: name, rates by part, decay.
        learning_rate: of all parts without a rate of their own.
    """
    rates = {prefix: rate for part, rate in settings.rates.items() for prefix in PARTS[part]}
    groups = split_parameters(model, rates, learning_rate, settings.weight_decay)
    betas = (0.9, settings.beta2)
    if settings.name == "muon":
        return MuonWithAdamW(groups, betas)
    return AdamW([_without_kind(group) for group in groups], betas=betas)


def _without_kind(group: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key != "matrices"}


def split_parameters(
    model: nn.Module, rates: dict[str, float], learning_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Group the trainable parameters for `MuonWithAdamW`.

    Args:
        model: the model; frozen parameters are left out.
        rates: learning rate of all parameters whose name begins so; the longest prefix wins.
        learning_rate: rate of all others.
        weight_decay: of matrices and convolutions; embeddings, biases and norms do not decay.
    """
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            plain = name.removeprefix("base_model.model.")  # an adapted model's names begin so
            prefix = max((p for p in rates if plain.startswith(p)), key=len, default=None)
            rate = learning_rate if prefix is None else rates[prefix]
            looked_up = id(parameter) in embeddings
            decay = weight_decay if parameter.ndim > 1 and not looked_up else 0.0
            groups.setdefault((rate, decay, parameter.ndim == 2 and not looked_up), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay, "matrices": matrices}
        for (rate, decay, matrices), parameters in groups.items()
    ]
