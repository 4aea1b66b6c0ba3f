"""The tiny checkpoints of the model's tests serve here, too."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tests.model.conftest import (  # noqa: F401  fixtures
    config,
    edit_config,
    model,
    one_thread,
    published,
    qwen,
    qwen_config,
    rewrite,
    visual_inputs,
)

from emotion_qwen.model.parts import ACTIONS

NAMES = ["jawOpen", "yaw", "pitch", "roll"]
HEAD = ("norm.weight", "norm.bias", "linear.weight", "linear.bias")


def add_head(folder: Path) -> None:
    """Give a model folder a head for facial actions, with unequal numbers."""
    place, path = folder / "config.json", folder / "model.safetensors"
    values = json.loads(place.read_text())
    place.write_text(json.dumps({**values, "facial_actions": NAMES}))
    width = 2 * values["vision_config"]["hidden_size"]
    shapes = dict(zip(HEAD, ((width,), (width,), (len(NAMES), width), (len(NAMES),)), strict=True))
    tensors = {ACTIONS + name: torch.arange(float(torch.Size(s).numel())).view(s) / 64 for name, s in shapes.items()}
    save_file({**load_file(path), **tensors}, path, metadata={"format": "pt"})
