"""Configuration of the motion model: sizes, and the meaning of its inputs and outputs."""

from __future__ import annotations

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from emotion_qwen.errors import SettingsError, unknown_choice
from emotion_qwen.express.track import CHANNELS, EMOTIONS, MOST_FPS
from emotion_qwen.records import HEAD_ANGLES

MOVING = (*CHANNELS, *HEAD_ANGLES)
"""What may move in a frame: the facial actions, 0 to 1, and the head's yaw, pitch and roll in degrees."""
MOTION_SIZES: dict[str, dict[str, int]] = {
    "nano": {},
    "paper": {"hidden_size": 640, "layers": 12, "heads": 10, "context": 32},
}
"""Size -> fields that differ from the defaults. Weights: nano 0.3 million, paper 60 million."""


@strict
class MotionConfig(PreTrainedConfig):
    """Configuration of `MotionModel`.

    Args:
        channels: of `MOVING` that it moves, in order; a track takes the others from the motion by rule.
        emotions: of its condition, in order.
        fps: frames per second that it was trained at.
        window: frames that are generated together.
        context: frames before a window that it sees.
        hidden_size: width of the transformer.
        layers: number of layers.
        heads: attention heads per layer.
        dropout: in training.
        source_seconds: correlation time of the random motion that the flow starts from; training takes it from the
            recordings.
        source_noise: share of the variance of that motion which is not correlated in time.
        steps: integration steps per window; each evaluates the model twice.
        guidance: how far the motion is pushed away from that without a condition; 0 is none.

    Raises:
        SettingsError: a channel or emotion is unknown, or a number is out of range.
    """

    model_type = "emotion_qwen_motion"

    channels: tuple[str, ...] | list[str] = MOVING
    emotions: tuple[str, ...] | list[str] = EMOTIONS
    fps: float = 30.0
    window: int = 64
    context: int = 16
    hidden_size: int = 80
    layers: int = 4
    heads: int = 4
    dropout: float = 0.1
    source_seconds: float = 0.2
    source_noise: float = 1e-4
    steps: int = 8
    guidance: float = 0.0

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        for field, names, choices in (("channels", self.channels, MOVING), ("emotions", self.emotions, EMOTIONS)):
            for name in names:
                if name not in choices:
                    raise SettingsError(unknown_choice(field, name, choices))
            if not names or len(set(names)) < len(names):
                raise SettingsError(f"{len(names)} {field}; expected at least one, each only once")
        for field in ("window", "context", "hidden_size", "layers", "heads", "steps"):
            if getattr(self, field) < 1:
                raise SettingsError(f"{field} is {getattr(self, field)}; expected at least 1")
        if self.hidden_size % self.heads:
            raise SettingsError(f"hidden_size is {self.hidden_size}; expected a multiple of the {self.heads} heads")
        for field, low, high in (
            ("fps", 1.0, MOST_FPS),
            ("dropout", 0.0, 0.9),
            ("source_seconds", 0.01, 10.0),
            ("source_noise", 1e-5, 1.0),
            ("guidance", 0.0, 10.0),
        ):
            if not low <= getattr(self, field) <= high:
                raise SettingsError(f"{field} is {getattr(self, field):g}; expected {low:g} to {high:g}")


def motion_config(size: str = "nano", **changes: object) -> MotionConfig:
    """Return the configuration of a size of `MOTION_SIZES`, with fields changed.

    Raises:
        SettingsError: the size is unknown, or a field does not fit.
    """
    if size not in MOTION_SIZES:
        raise SettingsError(unknown_choice("size", size, MOTION_SIZES))
    return MotionConfig(**{**MOTION_SIZES[size], **changes})
