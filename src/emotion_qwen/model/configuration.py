"""Configuration: Qwen2.5-VL's, plus what the Hybrid Compressor needs."""

from __future__ import annotations

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers.configuration_utils import SubConfigSpec
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLTextConfig,
    Qwen2_5_VLVisionConfig,
)
from transformers.models.whisper.configuration_whisper import WhisperConfig

from emotion_qwen.errors import SettingsError, unknown_choice
from emotion_qwen.records import HEAD_ANGLES

GATE_MODES = ("learned", "general", "emotion")
GATE_POOLS = ("after", "before")
STATISTICS = "statistics"
GROUP_FEATURES = ("frames", STATISTICS)
ENCODER_FRAME_SECONDS = 0.02
"""One frame of Whisper's encoder: two hops of 160 samples at 16 kHz."""


@strict
class EmotionQwenVisionConfig(Qwen2_5_VLVisionConfig):
    """The vision transformer; `out_hidden_size` is the width of the tokens that the compressor makes."""

    model_type = "emotion_qwen_vision"


@strict
class EmotionQwenTextConfig(Qwen2_5_VLTextConfig):
    """The language model, unchanged."""

    model_type = "emotion_qwen_text"


@strict
class EmotionQwenAudioConfig(WhisperConfig):
    """The audio tower: the fields of Whisper's encoder, and how its frames become tokens.

    Args:
        frames_per_token: encoder frames (20 ms each) that become one token; divides `max_source_positions`, the encoder
            frames of one window.
        group_features: features of the frames that become one token: "frames" or "statistics"; see `AudioCompressor`.

    Raises:
        SettingsError: a window does not contain a whole number of tokens, or the group features are unknown.
    """

    model_type = "emotion_qwen_audio"

    frames_per_token: int = 4
    group_features: str = "frames"

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.frames_per_token < 1 or self.max_source_positions % self.frames_per_token:
            raise SettingsError(
                f"frames_per_token {self.frames_per_token} does not divide the {self.max_source_positions} encoder "
                "frames of a window (max_source_positions); choose a divisor"
            )
        if self.group_features not in GROUP_FEATURES:
            raise SettingsError(unknown_choice("group_features", self.group_features, GROUP_FEATURES))

    @property
    def mel_frames(self) -> int:
        """Frames of log-mel in one window: the encoder's second convolution halves them."""
        return 2 * self.max_source_positions

    @property
    def seconds_per_token(self) -> float:
        """Time that one token covers."""
        return ENCODER_FRAME_SECONDS * self.frames_per_token


@strict
class EmotionQwenConfig(Qwen2_5_VLConfig):
    """Configuration of the whole model.

    Args:
        gate_mode: "learned" (the gate weights both experts), "general" or "emotion" (that expert alone).
        gate_pool: "after" takes the mean over a visual after the gate's attention; "before" feeds the gate one
            pooled vector per visual, as the published release does.
        gate_num_heads: attention heads of the gate; must divide the width of the vision transformer.
        gate_hidden_size: width of the gate's two layers.
        gate_threshold: in inference a fusion weight below this becomes exactly 0 and the other 1.
        audio_config: configuration of the audio tower; None is a model without audio input, as if the field were
            absent.
        audio_token_id: id of the placeholder that audio tokens replace.
        facial_actions: outputs of the head for facial actions, in order, the last three `HEAD_ANGLES`; None is a model
            without that head, as if the field were absent.

    Raises:
        SettingsError: an unknown gate mode or pool, heads that do not divide the width, or names of facial actions that
            do not end with the head angles, occur twice, or have only one side of the face.
    """

    model_type = "emotion_qwen"
    sub_configs_defaults = {  # noqa: RUF012  transformers reads it as a plain class attribute
        "vision_config": SubConfigSpec(config_class=EmotionQwenVisionConfig),
        "text_config": SubConfigSpec(config_class=EmotionQwenTextConfig),
    }

    # TRL searches here for the Auto class of a model whose class is not in transformers. It is no field, so that no
    # saved configuration names code to be loaded; the Auto class then takes the registered class.
    auto_map = {"AutoModelForImageTextToText": "modeling.EmotionQwenForConditionalGeneration"}  # noqa: RUF012

    gate_mode: str = "learned"
    gate_pool: str = "after"
    gate_num_heads: int = 16
    gate_hidden_size: int = 320
    gate_threshold: float = 1e-3
    audio_config: dict | EmotionQwenAudioConfig | None = None
    audio_token_id: int | None = None
    facial_actions: list[str] | None = None

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if isinstance(self.audio_config, dict):
            self.audio_config = EmotionQwenAudioConfig(**self.audio_config)
        if self.gate_mode not in GATE_MODES:
            raise SettingsError(unknown_choice("gate_mode", self.gate_mode, GATE_MODES))
        if self.gate_pool not in GATE_POOLS:
            raise SettingsError(unknown_choice("gate_pool", self.gate_pool, GATE_POOLS))
        width = self.vision_config.hidden_size
        if width % self.gate_num_heads:
            raise SettingsError(
                f"gate_num_heads {self.gate_num_heads} does not divide the vision width {width}; choose a divisor"
            )
        names = self.facial_actions
        if names is not None and (tuple(names[-3:]) != HEAD_ANGLES or len(set(names)) < len(names)):
            raise SettingsError(
                f"facial_actions ends with {', '.join(names[-3:])} and has {len(set(names))} different names of "
                f"{len(names)}; expected different names, the last three {', '.join(HEAD_ANGLES)}"
            )
        sides = [{n.removesuffix(side) for n in names or () if n.endswith(side)} for side in ("Left", "Right")]
        if unpaired := sorted(sides[0] ^ sides[1]):
            raise SettingsError(
                f"facial_actions has {unpaired[0]} on one side of the face only; give both Left and Right"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return all fields; `facial_actions` only if there are any, so that digests of other models do not change."""
        values = super().to_dict()
        if self.facial_actions is None:
            values.pop("facial_actions", None)
        return values

    @property
    def hearing(self) -> EmotionQwenAudioConfig | None:
        """The typed configuration of the audio tower; None for a model without audio input."""
        return self.audio_config  # type: ignore[return-value]  # a dict became a configuration when this was made
