"""The audio tower: Whisper's encoder for windows of log-mel, and a compressor that turns its frames into tokens.

A sound of any length is divided into windows of equal length, the last one padded with silence as in Whisper. Tokens
are made only from frames that contain sound, so a short sound costs few tokens and the padding never reaches the
language model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from emotion_qwen.errors import ShapeError
from emotion_qwen.model.configuration import STATISTICS, EmotionQwenAudioConfig

VARIANCE_FLOOR = 1e-5
"""Added to a variance before the square root, whose slope at 0 is unbounded."""


@dataclass
class AudioFeatures(BaseModelOutputWithPooling):
    """Encoded sound.

    Attributes:
        last_hidden_state: (W, P, width) encoder frames of W windows.
        pooler_output: one (tokens, hidden) tensor per window.
    """


class AudioCompressor(nn.Module):
    """Turn groups of neighbouring encoder frames into language-model tokens: Linear, GELU, Linear on each group.

    `config.group_features` selects the features of a group. "frames": all its frames, normalised and joined; the first
    layer grows with the group. "statistics": mean and standard deviation over its frames, normalised. They carry the
    emotion in speech (attentive statistics pooling, Okabe et al. 2018, without the attention), and their size does not
    grow with the group, which may last half a second.
    """

    def __init__(self, config: EmotionQwenAudioConfig, out_hidden_size: int) -> None:
        super().__init__()
        self.group = config.frames_per_token
        self.statistics = config.group_features == STATISTICS
        width = 2 * config.d_model if self.statistics else config.d_model
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width if self.statistics else width * self.group, out_hidden_size),
            nn.GELU(),
            nn.Linear(out_hidden_size, out_hidden_size),
        )

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Compress (W, P, width) frames, P a multiple of the group, to (W, P / group, hidden)."""
        windows, positions, width = frames.shape
        tokens = positions // self.group
        if self.statistics:
            return self.mlp(self.norm(group_statistics(frames.view(windows, tokens, self.group, width))))
        return self.mlp(self.norm(frames).reshape(windows, tokens, self.group * width))


def group_statistics(groups: torch.Tensor) -> torch.Tensor:
    """Return mean and standard deviation over the frames of (..., frames, width) groups: (..., 2 width)."""
    variance, mean = torch.var_mean(groups, dim=-2, correction=0)
    return torch.cat([mean, (variance + VARIANCE_FLOOR).sqrt()], dim=-1)


class EmotionQwenAudioTower(nn.Module):
    """Log-mel windows to audio tokens."""

    def __init__(self, config: EmotionQwenAudioConfig, out_hidden_size: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = WhisperEncoder._from_config(config)
        self.compressor = AudioCompressor(config, out_hidden_size)

    def forward(self, input_features: torch.Tensor, feature_lengths: torch.Tensor) -> AudioFeatures:
        """Encode windows.

        Args:
            input_features: (W, mels, frames) log-mel of whole windows.
            feature_lengths: (W,) frames of each window that contain sound, at least 1.

        Raises:
            ShapeError: the windows have a different size from the encoder's, or a length is outside its window.
        """
        expected = (self.config.num_mel_bins, self.config.mel_frames)
        if tuple(input_features.shape[1:]) != expected or len(feature_lengths) != len(input_features):
            raise ShapeError(
                f"{len(feature_lengths)} lengths for log-mel windows of shape {tuple(input_features.shape)}; expected "
                f"(W, {expected[0]}, {expected[1]}) and W lengths, use the model's own processor"
            )
        if bool(((feature_lengths < 1) | (feature_lengths > expected[1])).any()):
            raise ShapeError(
                f"feature_lengths {feature_lengths.tolist()}; expected 1 to {expected[1]} frames of sound in a window"
            )
        weight = self.encoder.conv1.weight
        frames = self.encoder(input_features.to(weight.device, weight.dtype)).last_hidden_state  # (W, P, width)
        tokens = self.compressor(frames)
        counts = audio_token_counts(feature_lengths, self.config.frames_per_token).tolist()
        return AudioFeatures(frames, tuple(window[:count] for window, count in zip(tokens, counts, strict=True)))


def audio_token_counts(feature_lengths: torch.Tensor, frames_per_token: int) -> torch.Tensor:
    """Return the numbers of tokens of windows from their (W,) mel frames; two mel frames are one encoder frame."""
    return -(-feature_lengths // (2 * frames_per_token))
