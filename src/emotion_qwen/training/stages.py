"""The training stages as data: the data of each, its trained and frozen parts, and its gate mode.

The paper names three pre-training stages and a tuning stage without details; the table is this project's interpretation
(see `docs/concepts/architecture.md`). Stage 0 is for models that start from random weights.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.tensor import DTensor

from emotion_qwen.errors import SettingsError, unknown_choice
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.model.parts import PARTS, TRAINED

REINFORCEMENT, PREFERENCE = "reinforcement", "preference"
"""Stages that learn from rewards for answers of the model, and from pairs of answers."""
LEFT_OUT: dict[str, set[str]] = {"learned": set(), "general": {"emotion", "gate"}, "emotion": {"general", "gate"}}
"""Gate mode -> parts that are bypassed."""


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        number: its position; tuning has 4, and the stages that may follow it 5.
        sees: description of its data.
        trains: names of parts, of `TRAINED`; all others are frozen.
        gate: gate mode during the stage.
        replay: share of general samples in the mixture.
        copies: (from, to) parts copied before the first step.
        learning_rate: default for all parts.
    """

    number: int
    sees: str
    trains: tuple[str, ...]
    gate: str
    replay: float
    copies: tuple[tuple[str, str], ...] = ()
    learning_rate: float = 1e-4


STAGES: dict[str, Stage] = {
    "scratch": Stage(
        0, "general data and text, for a model that starts from nothing", ("vision", "general", "language"), "general",
        1.0, (), 3e-4,
    ),
    "general": Stage(1, "general image-text data", ("general",), "general", 1.0, (), 1e-3),
    "emotion": Stage(2, "emotion data", ("emotion",), "emotion", 0.0, (("general", "emotion"),), 1e-3),
    "hybrid": Stage(3, "both, mixed", ("general", "emotion", "gate"), "learned", 0.5, (), 1e-4),
    "tuning": Stage(
        4, "VER and instruction data, with general replay", ("language", "general", "emotion", "gate"), "learned",
        0.5, (), 1e-5,
    ),
    REINFORCEMENT: Stage(
        5, "prompts with checkable answers", ("language", "general", "emotion", "gate"), "learned", 0.0, (), 1e-5
    ),
    PREFERENCE: Stage(
        5, "prompts with a chosen and a rejected answer", ("language", "general", "emotion", "gate"), "learned", 0.0,
        (), 1e-6,
    ),
}  # fmt: skip


def stage(name: str) -> Stage:
    """Return a stage by its name.

    Raises:
        SettingsError: unknown stage.
    """
    if name not in STAGES:
        raise SettingsError(unknown_choice("stage", name, STAGES))
    return STAGES[name]


def parameters_of(model: nn.Module, part: str) -> dict[str, nn.Parameter]:
    """Return the named parameters of a part; parameters shared by two parts are listed once.

    Raises:
        SettingsError: unknown part, or the model has none of its parameters.
    """
    if part not in PARTS:
        raise SettingsError(unknown_choice("part", part, TRAINED))
    parameters = {name: p for name, p in model.named_parameters() if name.startswith(PARTS[part])}
    if not parameters:
        raise SettingsError(
            f"the model has no part {part!r} (no parameter begins with {' or '.join(PARTS[part])}); "
            "a stage needs every part it names, check the model folder"
        )
    return parameters


def part_of(name: str) -> str:
    """Return the part to which a parameter belongs.

    Raises:
        SettingsError: it belongs to no part.
    """
    for part, prefixes in PARTS.items():
        if name.startswith(prefixes):
            return part
    raise SettingsError(f"parameter {name!r} belongs to no part; expected a prefix of {PARTS}")


def enter_stage(
    model: EmotionQwenForConditionalGeneration, chosen: Stage, trains: Iterable[str] | None = None, copy: bool = True
) -> tuple[str, ...]:
    """Set the gate mode, copy experts, and freeze everything that the stage does not train.

    Args:
        model: changed in place.
        chosen: the stage.
        trains: trained parts that replace those of the stage.
        copy: make the stage's copies; a resumed run has already made them.

    Returns:
        The trained parts.

    Raises:
        SettingsError: a part does not exist, is bypassed by the gate mode or has no loss, or there is none to train.
    """
    learning = tuple(chosen.trains if trains is None else trains)
    if not learning:
        raise SettingsError(f"a stage without a part to train; name at least one of {', '.join(TRAINED)}")
    if "actions" in learning:
        raise SettingsError("no stage has a loss for the facial actions, which a recipe fits; take `actions` out")
    if idle := sorted(set(learning) & LEFT_OUT[chosen.gate]):
        raise SettingsError(
            f"part(s) {', '.join(idle)} cannot learn while the gate mode is {chosen.gate!r}, which leaves them out; "
            "take them from `trains`, or set gate_mode=learned"
        )
    by_part = {part: parameters_of(model, part) for part in {*learning, *(p for pair in chosen.copies for p in pair)}}
    model.set_gate_mode(chosen.gate)
    model.requires_grad_(False)
    for part in learning:
        for parameter in by_part[part].values():
            parameter.requires_grad_(parameter.is_floating_point())  # quantised weights have no gradients
    for source, target in chosen.copies if copy else ():
        _copy_part(by_part[source], by_part[target], PARTS[source][0], PARTS[target][0])
    return learning


@torch.no_grad()
def _copy_part(source: dict[str, nn.Parameter], target: dict[str, nn.Parameter], old: str, new: str) -> None:
    for name, parameter in source.items():
        target[new + name.removeprefix(old)].copy_(parameter)


def part_digests(model: nn.Module) -> dict[str, str]:
    """Return a SHA-256 of the names and bytes of every part's parameters; equal digests mean bit-equal parts.

    Every rank must call it, because sharded parameters are gathered one at a time. Only the first rank hashes them; the
    others return an empty result.
    """
    digests: dict[str, Any] = {}
    for name, parameter in sorted(model.named_parameters()):
        whole = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
        if is_first_rank():
            digest = digests.setdefault(part_of(name), hashlib.sha256())
            digest.update(name.encode())
            digest.update(whole.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return {part: digest.hexdigest() for part, digest in digests.items()}


def is_first_rank() -> bool:
    """Return whether this process is the first of its run, even before the process group exists."""
    started = torch.distributed.is_available() and torch.distributed.is_initialized()
    return (torch.distributed.get_rank() if started else int(os.environ.get("RANK", "0"))) == 0


def gathered_state(model: nn.Module) -> dict[str, Any] | None:
    """Gather a sharded model's weights in the memory of the first rank; None if it is not sharded.

    Every rank must call it; the others get an empty state.
    """
    if not any(isinstance(parameter, DTensor) for parameter in model.parameters()):
        return None
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def trainable_counts(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Return per part of the model (number of trained parameters, number of all parameters)."""
    counts = {part: [0, 0] for part in PARTS}
    for name, parameter in model.named_parameters():
        count = counts[part_of(name)]
        count[1] += parameter.numel()
        count[0] += parameter.numel() * parameter.requires_grad
    return {part: (learning, whole) for part, (learning, whole) in counts.items() if whole}
