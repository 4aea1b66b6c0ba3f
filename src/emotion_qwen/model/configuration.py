"""Configuration: Qwen2.5-VL's, plus what the Hybrid Compressor needs."""

from __future__ import annotations

from huggingface_hub.dataclasses import strict
from transformers.configuration_utils import SubConfigSpec
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLTextConfig,
    Qwen2_5_VLVisionConfig,
)

from emotion_qwen.errors import SettingsError, unknown_choice

GATE_MODES = ("learned", "general", "emotion")
GATE_POOLS = ("after", "before")


@strict
class EmotionQwenVisionConfig(Qwen2_5_VLVisionConfig):
    """The vision transformer; `out_hidden_size` is the width of the tokens that the compressor makes."""

    model_type = "emotion_qwen_vision"


@strict
class EmotionQwenTextConfig(Qwen2_5_VLTextConfig):
    """The language model, unchanged."""

    model_type = "emotion_qwen_text"


@strict
class EmotionQwenConfig(Qwen2_5_VLConfig):
    """Configuration of the whole model.

    Args:
        gate_mode: "learned" (the gate weighs both experts), "general" or "emotion" (that expert alone).
        gate_pool: "after" takes the mean over a visual after the gate's attention; "before" feeds the gate one
            pooled vector per visual, as the published release does.
        gate_num_heads: attention heads of the gate; must divide the width of the vision transformer.
        gate_hidden_size: width of the gate's two layers.
        gate_threshold: in inference a fusion weight below this becomes exactly 0 and the other 1.

    Raises:
        SettingsError: an unknown gate mode or pool, or heads that do not divide the width.
    """

    model_type = "emotion_qwen"
    sub_configs_defaults = {  # noqa: RUF012  transformers reads it as a plain class attribute
        "vision_config": SubConfigSpec(config_class=EmotionQwenVisionConfig),
        "text_config": SubConfigSpec(config_class=EmotionQwenTextConfig),
    }

    gate_mode: str = "learned"
    gate_pool: str = "after"
    gate_num_heads: int = 16
    gate_hidden_size: int = 320
    gate_threshold: float = 1e-3

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.gate_mode not in GATE_MODES:
            raise SettingsError(unknown_choice("gate_mode", self.gate_mode, GATE_MODES))
        if self.gate_pool not in GATE_POOLS:
            raise SettingsError(unknown_choice("gate_pool", self.gate_pool, GATE_POOLS))
        width = self.vision_config.hidden_size
        if width % self.gate_num_heads:
            raise SettingsError(
                f"gate_num_heads {self.gate_num_heads} does not divide the vision width {width}; choose a divisor"
            )
