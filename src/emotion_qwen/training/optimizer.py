"""Muon for the matrices, AdamW for the rest, as one optimizer that a Trainer can schedule, save and resume.

Muon (Jordan et al. 2024) makes every update of a weight matrix orthogonal. Its rate is scaled here to the root mean
square of an AdamW update (Liu et al. 2025), so one learning rate and one weight decay serve both halves. Embeddings
and all that is not a matrix stay with AdamW.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer


class MuonWithAdamW(Optimizer):
    """Two optimizers over disjoint parameters, behind one list of parameter groups.

    Args:
        groups: parameter groups with `params`, `lr`, `weight_decay` and `matrices` (True: Muon).
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        groups = [group for group in groups if group["params"]]
        for_muon = [_without_kind(group) for group in groups if group["matrices"]]
        for_adamw = [_without_kind(group) for group in groups if not group["matrices"]]
        self.parts: list[Optimizer] = []
        if for_muon:
            self.parts.append(Muon(for_muon, adjust_lr_fn="match_rms_adamw"))
        if for_adamw:
            self.parts.append(AdamW(for_adamw))
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
            prefix = max((p for p in rates if name.startswith(p)), key=len, default=None)
            rate = learning_rate if prefix is None else rates[prefix]
            looked_up = id(parameter) in embeddings
            decay = weight_decay if parameter.ndim > 1 and not looked_up else 0.0
            groups.setdefault((rate, decay, parameter.ndim == 2 and not looked_up), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay, "matrices": matrices}
        for (rate, decay, matrices), parameters in groups.items()
    ]
