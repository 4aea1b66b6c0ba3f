"""The dtypes of a model's parts and its attention implementation, as the settings of a run choose them."""

from __future__ import annotations

from typing import Any

import torch

from emotion_qwen.errors import MissingPackage
from emotion_qwen.extras import optional
from emotion_qwen.training.plan import TrainSettings, start_config, start_is_there

ATTENTION = {"sdpa": "sdpa", "flex": "flex_attention", "flash": "flash_attention_2"}
"""Name in the settings -> name in transformers."""


def choose_attention(model: Any, name: str) -> None:
    """Set the attention implementation of a model.

    "flash" is used for the vision transformer, too. "flex" is not: its windows are dense batches already, each size of
    which would be compiled. transformers does not list flex attention for Qwen2.5-VL, although its language model calls
    whatever implementation its configuration names; tests compare it with sdpa.

    Args:
        model: without adapters.
        name: a key of `ATTENTION`.

    Raises:
        MissingPackage: flash attention is not installed, or does not run on this machine.
    """
    if name == "sdpa":
        return
    if name == "flash":
        optional("flash_attn", None)
        try:
            model.set_attn_implementation({"text_config": ATTENTION[name], "vision_config": ATTENTION[name]})
        except (ImportError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise MissingPackage(f"attention flash is not possible here ({reason}); use sdpa or flex") from error
        return
    model.model.language_model.config._attn_implementation = ATTENTION[name]


def stored_dtype(settings: TrainSettings) -> torch.dtype | None:
    """Return the dtype in which the start of a run stores its weights; None for random weights.

    A start that does not exist yet is assumed to be one of the published sizes, which are in bfloat16.
    """
    if settings.start.startswith("preset:"):
        return None
    if not start_is_there(settings):
        return None if settings.size == "nano" else torch.bfloat16
    return start_config(settings).dtype


def loading_dtype(settings: TrainSettings, stored: torch.dtype | None) -> torch.dtype:
    """Return the dtype in which weights are read: bfloat16 only if the trained parts lose no precision."""
    return torch.bfloat16 if stored == torch.bfloat16 and frozen_dtype(settings, stored) == stored else torch.float32


def frozen_dtype(settings: TrainSettings, stored: torch.dtype | None) -> torch.dtype:
    """Return the dtype of frozen parts.

    Args:
        settings: of the run.
        stored: dtype in which the start stores its weights; None is unknown.
    """
    if settings.frozen != "auto":
        return getattr(torch, settings.frozen)
    return torch.bfloat16 if settings.dtype == stored == torch.bfloat16 else torch.float32


def set_dtypes(model: Any, frozen: torch.dtype) -> None:
    """Convert trained parameters to float32, so that small optimizer steps are not lost, and frozen ones to the dtype
    `frozen`.

    Quantised weights are left as they are.
    """
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(torch.float32 if parameter.requires_grad else frozen)
