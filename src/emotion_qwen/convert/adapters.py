"""LoRA adapters that others trained on Qwen2.5-VL, with the names of this package's modules.

An adapter names its modules by the layout of the transformers version that it was trained with, and its target modules
by patterns that would fit modules of ours which Qwen2.5-VL does not have. So the modules are listed one by one. An
adapter's changes to the merger are applied to both experts, which are copies of the merger.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from emotion_qwen.convert.layouts import MERGER, detect_layout, renamed
from emotion_qwen.errors import CheckpointError, listed
from emotion_qwen.extras import optional
from emotion_qwen.model.parts import EMOTION, GENERAL
from emotion_qwen.model.source import ADAPTER_WEIGHTS

PREFIX = "base_model.model."
LORA_MARKS = (".lora_A.", ".lora_B.", ".lora_embedding_A", ".lora_embedding_B", ".lora_magnitude_vector")


def renamed_adapter(folder: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    """Read an adapter of Qwen2.5-VL.

    Returns:
        peft's configuration and the tensors, both with our names of modules.

    Raises:
        CheckpointError: keys of no known layout.
        OSError, ValueError, SafetensorError: the files cannot be read.
        MissingPackage: peft is not installed.
    """
    peft = optional("peft", "train")
    stored = {key.removeprefix(PREFIX): value for key, value in load_file(folder / ADAPTER_WEIGHTS).items()}
    # An adapter of the language model alone has keys of either layout, but "model.layers" is the hub's.
    layout = "hub" if any(key.startswith("model.layers.") for key in stored) else detect_layout(stored)
    values: dict[str, torch.Tensor] = {}
    unknown = []
    for key, tensor in stored.items():
        names = _names(key, layout)
        unknown += [] if names else [key]
        values |= {PREFIX + name: tensor if place == 0 else tensor.clone() for place, name in enumerate(names)}
    if unknown:
        raise CheckpointError(f"{folder}: keys of no part of Qwen2.5-VL: {listed(unknown, 4)}; give another adapter")
    config = peft.LoraConfig.from_pretrained(folder)
    inner = [key.removeprefix(PREFIX) for key in values]
    config.target_modules = {_module(name) for name in inner if _is_lora(name)}
    config.modules_to_save = sorted({name.rpartition(".")[0] for name in inner if not _is_lora(name)}) or None
    config.base_model_name_or_path = config.exclude_modules = config.layers_to_transform = config.layers_pattern = None
    config.rank_pattern = _patterns(config.rank_pattern, layout)
    config.alpha_pattern = _patterns(config.alpha_pattern, layout)
    return config, values


def _names(key: str, layout: str) -> list[str]:
    name = renamed(key, layout)
    if name is None:
        return []
    if name.startswith(MERGER):
        return [expert + name.removeprefix(MERGER) for expert in (GENERAL, EMOTION)]
    return [name]


def _is_lora(name: str) -> bool:
    return any(mark in name for mark in LORA_MARKS)


def _module(name: str) -> str:
    return min((name.partition(mark)[0] for mark in LORA_MARKS), key=len)


def _patterns(patterns: dict[str, Any], layout: str) -> dict[str, Any]:
    """Rename the modules in peft's patterns of ranks; partial names such as "q_proj" fit as they are."""
    return {new: value for pattern, value in (patterns or {}).items() for new in _names(pattern, layout) or [pattern]}
