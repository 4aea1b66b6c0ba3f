"""Parts that a checkpoint lacks: a gate and two experts, a compressor for Whisper's encoder, a vision transformer."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from emotion_qwen.model.audio import AudioCompressor
from emotion_qwen.model.compressor import GatingNetwork, HybridCompressor
from emotion_qwen.model.configuration import EmotionQwenAudioConfig, EmotionQwenConfig
from emotion_qwen.model.parts import AUDIO_COMPRESSOR, EMOTION, GATE, GENERAL, VISION
from emotion_qwen.model.vision import EmotionQwenVisionTransformer

SEED = 0


def new_gate(config: EmotionQwenConfig, seed: int = SEED) -> dict[str, torch.Tensor]:
    """Draw a new gate's tensors (fp32) by the model's own rule, with weights of `initializer_range`.

    Its two outputs start near one half each; two conversions of one source are equal byte for byte.
    """
    vision: Any = config.vision_config
    gate = GatingNetwork(vision.hidden_size, config.gate_hidden_size, config.gate_num_heads, config.gate_pool)
    return _drawn(gate, vision.initializer_range, seed, GATE)


def new_compressor(config: EmotionQwenAudioConfig, hidden: int, seed: int = SEED) -> dict[str, torch.Tensor]:
    """Draw the tensors (fp32) of an audio compressor, with weights of `init_std`.

    Args:
        config: configuration of the audio tower.
        hidden: width of the language model.
        seed: two compressors with the same seed are equal.
    """
    return _drawn(AudioCompressor(config, hidden), config.init_std, seed, AUDIO_COMPRESSOR)


def new_experts(config: EmotionQwenConfig, seed: int = SEED) -> dict[str, torch.Tensor]:
    """Draw the tensors (fp32) of the two experts, equal at first, as after the conversion of a merger."""
    vision: Any = config.vision_config
    general = _drawn(HybridCompressor(config).general, vision.initializer_range, seed, GENERAL)
    return {**general, **{EMOTION + name.removeprefix(GENERAL): tensor.clone() for name, tensor in general.items()}}


def new_vision(config: EmotionQwenConfig, seed: int = SEED) -> dict[str, torch.Tensor]:
    """Draw the tensors (fp32) of a vision transformer, with weights of `initializer_range`."""
    vision: Any = config.vision_config
    return _drawn(EmotionQwenVisionTransformer(vision), vision.initializer_range, seed, VISION)


def _drawn(module: nn.Module, std: float, seed: int, prefix: str) -> dict[str, torch.Tensor]:
    """Initialise all linear layers and convolutions: normal weights, zero biases; norms are the identity."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv3d):
            nn.init.normal_(layer.weight, std=std, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return {prefix + name: tensor.detach() for name, tensor in module.state_dict().items()}
