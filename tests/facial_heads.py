"""A head for facial actions with made-up numbers, on the weights of another model, and a face for it to measure."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import torch

from emotion_qwen.engine.engine import Engine
from emotion_qwen.faces import Detections, ScriptedDetector
from emotion_qwen.model import EmotionQwenForConditionalGeneration

NAMES = ("mouthSmileLeft", "mouthSmileRight", "jawOpen", "yaw", "pitch", "roll")
ERRORS = {
    "mouthSmileLeft": {"r2": 0.8, "mean_absolute_error": 0.05}, "jawOpen": {"r2": 0.3, "mean_absolute_error": 0.04},
    "yaw": {"r2": 0.29, "mean_absolute_error": 9.0},
}  # fmt: skip


def with_head(engine: Engine, folder: Path, **settings) -> Engine:
    """Return an engine with the same weights and a head whose numbers are all different."""
    config = copy.deepcopy(engine.model.config)
    config.facial_actions = list(NAMES)
    model = EmotionQwenForConditionalGeneration(config)
    generator = torch.Generator().manual_seed(5)
    width = 2 * config.vision_config.hidden_size
    weight = torch.randn(len(NAMES), width, generator=generator) * torch.tensor([[0.02]] * 3 + [[2.0]] * 3)
    head = {"norm.weight": torch.ones(width), "norm.bias": torch.zeros(width), "linear.weight": weight,
            "linear.bias": torch.tensor([0.9, 0.8, 0.5, 1.0, 2.0, 3.0])}  # fmt: skip
    model.load_state_dict(engine.model.state_dict() | {f"model.actions.{name}": v for name, v in head.items()})
    processor = copy.copy(engine.processor)
    processor.clip_settings = {**processor.clip_settings, **settings}
    (folder / "training_facts.json").write_text(json.dumps({"facial_actions": ERRORS}))
    return Engine(model, processor, "with head", folder)


def detector() -> ScriptedDetector:
    """Return a detector that finds one moving face in the four frames of a clip."""
    boxes = ([4, 8, 20, 30], [5, 8, 21, 30], [6, 8, 22, 30], [7, 8, 23, 30])
    return ScriptedDetector([Detections(np.array([box], np.float32), np.array([0.9], np.float32)) for box in boxes])
