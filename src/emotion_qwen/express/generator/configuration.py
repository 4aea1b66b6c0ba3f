"""Configuration of the expression generator: sizes, which parts it has, and the meaning of its inputs and outputs."""

from __future__ import annotations

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from emotion_qwen.errors import SettingsError, unknown_choice
from emotion_qwen.express.track import CHANNELS, EMOTIONS
from emotion_qwen.taxonomy import CONCEPTS

REGIONS = ("brow", "eye", "cheek", "mouth", "jaw")
"""Parts of the face that the local gate weights separately; "cheek" includes the nose, "mouth" the tongue."""
NOT_MEASURED = (
    "jawForward", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
"""Facial actions that MediaPipe's landmarker leaves near zero (or lacks: tongueOut), so that they cannot be
learned from pictures measured with it."""
SIZES: dict[str, dict[str, int]] = {
    "nano": {},
    "paper": {"hidden_size": 512, "bank_codes": 64, "latent_size": 64, "expert_size": 2560, "expert_layers": 2},
}
"""Size -> fields that differ from the defaults. Weights: nano 0.4 million, paper 60 million."""


@strict
class ExpressionConfig(PreTrainedConfig):
    """Configuration of `ExpressionGenerator`.

    Args:
        channels: facial actions that it generates, in order.
        emotions: emotions of its condition, in order.
        valence: of each emotion, -1 to 1; with `arousal` the place that the condition has on the circle of emotions.
            These places are assumed, not measured (`taxonomy.CONCEPTS`).
        arousal: of each emotion.
        prior_channels: facial actions that come only from the table of prototypes, because they are not in the data.
        hidden_size: width of the condition.
        context_size: width of an optional further condition, such as the last hidden state of a language model; 0 for
            none.
        bank_codes: codes of the emotion bank; 0 leaves the bank out.
        latent_size: dimensions of the latent.
        experts: number of experts.
        expert_size: width of an expert's hidden layers.
        expert_layers: number of them.
        global_gate: whether the condition weights the experts; otherwise all weigh the same.
        local_gate: whether every expert is weighted for each region of the face.
        facs_prior: whether the table of prototypes is added; otherwise the channels of `prior_channels` are 0.
        guidance: strength of guidance with which it is used, as measured; 0 is none.
        temperature: factor on the deviation of the latent with which it is used.

    Raises:
        SettingsError: a channel or emotion is unknown, or a number is out of range.
    """

    model_type = "emotion_qwen_expression"

    channels: tuple[str, ...] | list[str] = CHANNELS
    emotions: tuple[str, ...] | list[str] = EMOTIONS
    valence: tuple[float, ...] | list[float] = tuple(CONCEPTS[name].valence for name in EMOTIONS)
    arousal: tuple[float, ...] | list[float] = tuple(CONCEPTS[name].arousal for name in EMOTIONS)
    prior_channels: tuple[str, ...] | list[str] = NOT_MEASURED
    hidden_size: int = 128
    context_size: int = 0
    bank_codes: int = 32
    latent_size: int = 16
    experts: int = 6
    expert_size: int = 160
    expert_layers: int = 1
    global_gate: bool = True
    local_gate: bool = True
    facs_prior: bool = True
    guidance: float = 0.0
    temperature: float = 1.0

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        for field, names, choices in (
            ("channels", self.channels, CHANNELS),
            ("prior_channels", self.prior_channels, self.channels),
            ("emotions", self.emotions, EMOTIONS),
        ):
            for name in names:
                if name not in choices:
                    raise SettingsError(unknown_choice(field, name, choices))
        if not len(self.valence) == len(self.arousal) == len(self.emotions):
            raise SettingsError(
                f"{len(self.valence)} valences and {len(self.arousal)} arousals; expected one of each for "
                f"{len(self.emotions)} emotions"
            )
        for field in ("hidden_size", "latent_size", "experts", "expert_size", "expert_layers"):
            if getattr(self, field) < 1:
                raise SettingsError(f"{field} is {getattr(self, field)}; expected at least 1")
        for field in ("context_size", "bank_codes", "guidance", "temperature"):
            if getattr(self, field) < 0:
                raise SettingsError(f"{field} is {getattr(self, field)}; expected at least 0")

    @property
    def region_places(self) -> list[int]:
        """For each channel, the index of its region in `REGIONS`."""
        return [REGIONS.index(region_of(name)) for name in self.channels]


def region_of(channel: str) -> str:
    """Return the region of a facial action, one of `REGIONS`.

    Example:
        `region_of("noseSneerLeft")` is "cheek".
    """
    if channel.startswith("nose"):
        return "cheek"
    return next((name for name in REGIONS if channel.startswith(name)), "mouth")


def expression_config(size: str = "nano", **changes: object) -> ExpressionConfig:
    """Return the configuration of a size of `SIZES`, with fields changed.

    Raises:
        SettingsError: the size is unknown, or a field does not fit.
    """
    if size not in SIZES:
        raise SettingsError(unknown_choice("size", size, SIZES))
    return ExpressionConfig(**{**SIZES[size], **changes})
