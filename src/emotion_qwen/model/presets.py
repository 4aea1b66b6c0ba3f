"""Named sizes as data: `nano`, `mini`, and Qwen2.5-VL's four.

The 3B numbers are those of its published config.json; 7B, 32B and 72B are set from the published model cards' geometry.
The language model of `mini` has SmolLM2-135M's geometry, its vision transformer nano's.
"""

from __future__ import annotations

from typing import Any

from emotion_qwen.errors import SettingsError, unknown_choice
from emotion_qwen.model.configuration import EmotionQwenConfig


def _qwen(hidden: int, mlp: int, layers: int, heads: int, kv_heads: int, **more: Any) -> dict[str, Any]:
    vision_mlp = more.pop("vision_mlp", 3420)
    text = {
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": more.pop("vocab", 152064),
        "max_position_embeddings": 128000,
        "max_window_layers": layers,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
    }
    vision = {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": vision_mlp,
        "num_heads": 16,
        "out_hidden_size": hidden,
        "tokens_per_second": 2,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
    }
    return {"text_config": text, "vision_config": vision, **more}


def _nano_vision(hidden: int) -> dict[str, Any]:
    return {
        "depth": 6,
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_heads": 6,
        "out_hidden_size": hidden,
        "patch_size": 8,
        "window_size": 48,
        "fullatt_block_indexes": [2, 5],
        "tokens_per_second": 2,
    }


PRESETS: dict[str, dict[str, Any]] = {
    "nano": {
        "text_config": {
            "hidden_size": 256,
            "intermediate_size": 512,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "vocab_size": 4096,
            "max_position_embeddings": 4096,
            "max_window_layers": 6,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [8, 12, 12]},
        },
        "vision_config": _nano_vision(256),
        "gate_num_heads": 6,
        "gate_hidden_size": 96,
        "tie_word_embeddings": True,
    },
    "mini": {
        "text_config": {
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "vocab_size": 49152,
            "max_position_embeddings": 8192,
            "max_window_layers": 30,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e5, "mrope_section": [8, 12, 12]},
        },
        "vision_config": _nano_vision(576),
        "gate_num_heads": 6,
        "gate_hidden_size": 96,
        "tie_word_embeddings": True,
    },
    "3b": _qwen(2048, 11008, 36, 16, 2, vocab=151936, tie_word_embeddings=True),
    "7b": _qwen(3584, 18944, 28, 28, 4),
    "32b": _qwen(5120, 27648, 64, 40, 8, vision_mlp=3456),
    "72b": _qwen(8192, 29568, 80, 64, 8, vision_mlp=3456),
}


NANO_HEARING: dict[str, Any] = {
    "d_model": 96,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 192,
    "num_mel_bins": 64,
    "max_source_positions": 100,
    "frames_per_token": 10,
}
"""nano's audio tower: windows of 2 s, ten tokens each; `preset("nano", audio_config=NANO_HEARING)` has audio input."""


def preset(name: str, **changes: Any) -> EmotionQwenConfig:
    """Build the configuration of a named size.

    Args:
        name: a key of `PRESETS`.
        changes: top-level fields to set otherwise (for example `gate_mode="general"`).

    Raises:
        SettingsError: there is no size of that name.
    """
    if name not in PRESETS:
        raise SettingsError(unknown_choice("size", name, PRESETS))
    return EmotionQwenConfig(**{**PRESETS[name], **changes})
