"""Combine Muon for matrices and AdamW for all other parameters in one optimizer that a Trainer can save and resume.

Muon (Jordan et al. 2024) orthogonalises every update of a weight matrix. Its rate is scaled to the root mean square of
an AdamW update (Liu et al. 2025), so that both halves share one learning rate and one weight decay. AdamW updates
embeddings and all parameters that are not matrices.

The Muon of torch always iterates in bfloat16, which takes twenty times as long as a whole training step on a CPU
without native bfloat16 products. This version chooses the dtype by the machine and is otherwise equal.
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
    """Bring the singular values of an (M, N) matrix close to 1 with five Newton-Schulz steps in `dtype`."""
    a, b, c = NEWTON_SCHULZ
    flat = (matrix.T if matrix.shape[0] > matrix.shape[1] else matrix).to(dtype)
    flat = flat / flat.norm().clamp_min(1e-7)
    for _ in range(ITERATIONS):
        gram = flat @ flat.T
        flat = a * flat + (b * gram + c * gram @ gram) @ flat
    return flat.T if matrix.shape[0] > matrix.shape[1] else flat


class Muon(Optimizer):
    """Momentum with orthogonalised updates; for matrices only.

    Args:
        groups: parameter groups with `params`, `lr` and `weight_decay`.
        momentum: of the gradients, with Nesterov's look-ahead.
        dtype: of the iteration; None uses bfloat16 if the machine multiplies it natively, else float32.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], momentum: float = 0.95, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__(list(groups), {"momentum": momentum})
        self.dtype = dtype or native_dtype()

    @torch.no_grad()
    def step(self, closure=None):
        """Update all parameters that have a gradient; closures are not supported."""
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
    """Two optimizers for disjoint parameters, with one list of parameter groups.

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
            self.parts.append(adamw(for_adamw, betas))
        super().__init__([{"params": group["params"]} for part in self.parts for group in part.param_groups], {})
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure=None):
        """Update all parameters; closures are not supported."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the states of both optimizers."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the states of both optimizers."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def make_optimizer(model: nn.Module, settings: OptimSettings, learning_rate: float) -> Optimizer:
    """Build the optimizer of a stage.

    Args:
        model: plain or with adapters; frozen parameters are ignored.
        settings: name, rates by part, decay.
        learning_rate: for parts without their own rate.
    """
    rates = {prefix: rate for part, rate in settings.rates.items() for prefix in PARTS[part]}
    groups = split_parameters(model, rates, learning_rate, settings.weight_decay)
    betas = (0.9, settings.beta2)
    if settings.name == "muon":
        return MuonWithAdamW(groups, betas)
    return adamw([_without_kind(group) for group in groups], betas)


def adamw(groups: list[dict[str, Any]], betas: tuple[float, float]) -> AdamW:
    """Build AdamW, on a GPU with its fused kernel, which updates all parameters in a few launches."""
    on_gpu = all(parameter.is_cuda for group in groups for parameter in group["params"])
    return AdamW(groups, betas=betas, fused=True if on_gpu else None)


def _without_kind(group: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key != "matrices"}


def split_parameters(
    model: nn.Module, rates: dict[str, float], learning_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Group the trainable parameters for `MuonWithAdamW`.

    Args:
        model: the model; frozen parameters are ignored.
        rates: prefix of parameter names -> learning rate; the longest prefix applies.
        learning_rate: for all other parameters.
        weight_decay: of matrices and convolutions; embeddings, biases and norms do not decay.
    """
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            plain = name.removeprefix("base_model.model.")  # prefix of the names in an adapted model
            prefix = max((p for p in rates if plain.startswith(p)), key=len, default=None)
            rate = learning_rate if prefix is None else rates[prefix]
            looked_up = id(parameter) in embeddings
            decay = weight_decay if parameter.ndim > 1 and not looked_up else 0.0
            groups.setdefault((rate, decay, parameter.ndim == 2 and not looked_up), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay, "matrices": matrices}
        for (rate, decay, matrices), parameters in groups.items()
    ]
