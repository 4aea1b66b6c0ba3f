"""The motion model: a causal transformer that generates windows of facial motion by flow matching.

A window is carried from random motion (`source`) to motion like that of the recordings, along the velocity that the
transformer predicts for every frame (flow matching with straight paths: Lipman et al., arXiv 2210.02747; Liu et al.,
2209.03003). It sees the frames before the window and the emotion of every frame, and no frame sees a later one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from emotion_qwen.errors import ShapeError
from emotion_qwen.express.motion_model.configuration import MotionConfig
from emotion_qwen.express.motion_model.source import ANCHORS, continuation
from emotion_qwen.express.track import STRONGEST

WAVES = 16
"""Frequencies that the place on the path, 0 to 1, is given to the network by."""


@dataclass(frozen=True)
class Surroundings:
    """What a batch of B windows of W frames is generated for.

    Attributes:
        shares: (B, context + W, emotions) shares of the emotions in the frames before the window and in it, in sum 1.
        intensity: (B, context + W) 0 to 1.5; 0 for a neutral face.
        past: (B, context, channels) frames before the window, as multiples of the deviation from the mean.
        known: (B, context) bool, whether the frame exists; those that do are the last ones.
    """

    shares: torch.Tensor
    intensity: torch.Tensor
    past: torch.Tensor
    known: torch.Tensor


class MotionModel(PreTrainedModel):
    """Generates facial actions and the head's angles over time, for an emotion curve.

    Args:
        config: sizes and channels.
    """

    config_class = MotionConfig
    main_input_name = "noisy"

    def __init__(self, config: MotionConfig) -> None:
        super().__init__(config)
        width, channels = config.hidden_size, len(config.channels)
        self.frame = nn.Linear(2 * channels, width)
        self.emotion = nn.Sequential(nn.Linear(len(config.emotions) + 1, width), nn.GELU(), nn.Linear(width, width))
        self.path_time = nn.Sequential(nn.Linear(2 * WAVES, width), nn.GELU(), nn.Linear(width, width))
        self.unconditional = nn.Parameter(torch.empty(width))
        self.absent = nn.Parameter(torch.empty(width))
        self.place = nn.Parameter(torch.empty(config.context + config.window, width))
        layer = nn.TransformerEncoderLayer(
            width, config.heads, 4 * width, config.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, config.layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.velocity = nn.Linear(width, channels)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))
        self.register_buffer("lowest", torch.zeros(channels))
        self.register_buffer("highest", torch.ones(channels))
        self.register_buffer("rest", torch.zeros(channels))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, MotionModel):
            for parameter in (module.unconditional, module.absent, module.place):
                nn.init.normal_(parameter, std=0.1)
            nn.init.zeros_(module.velocity.weight)  # an untrained model leaves the random motion as it is

    @torch.no_grad()
    def set_statistics(self, frames: torch.Tensor, rest: torch.Tensor, least_deviation: float = 0.01) -> None:
        """Set mean, deviation and range of the channels.

        Args:
            frames: (T, channels) of the training recordings.
            rest: (channels,) the face at rest as recorded; see `emotion_qwen.express.motion_model.learned`.
            least_deviation: that a channel is divided by.
        """
        self.mean.copy_(frames.mean(dim=0))
        self.deviation.copy_(frames.std(dim=0).clamp_min(least_deviation))
        self.lowest.copy_(frames.amin(dim=0))
        self.highest.copy_(frames.amax(dim=0))
        self.rest.copy_(rest)

    def forward(
        self, noisy: torch.Tensor, time: torch.Tensor, around: Surroundings, dropped: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the velocity (B, W, channels) of a window on its path.

        Args:
            noisy: (B, W, channels) frames on the path, as multiples of the deviation from the mean.
            time: (B,) place on the path: 0 is random motion, 1 a recording.
            around: what it is generated for.
            dropped: (B,) bool, rows without a condition.

        Raises:
            ShapeError: a tensor has another shape.
        """
        self._check(noisy, around)
        before = around.past.shape[1]
        condition = self.emotion(torch.cat([around.shares, around.intensity[..., None] / STRONGEST], dim=-1))
        if dropped is not None:
            condition = torch.where(dropped[:, None, None], self.unconditional, condition)
        # The frames before are at the end of their path.
        ends = torch.cat([torch.ones_like(around.intensity[:, :before]), time[:, None].expand(-1, noisy.shape[1])], 1)
        here = torch.cat([around.known, torch.ones_like(noisy[..., 0], dtype=torch.bool)], dim=1)
        frames = torch.cat([around.past, noisy], dim=1)
        change = frames.diff(dim=1, prepend=frames[:, :1]) * here.roll(1, dims=1)[..., None]  # 0 after what is absent
        hidden = self.frame(torch.cat([frames, change], dim=2)) + condition + self.path_time(_waves(ends))
        hidden = torch.where(here[..., None], hidden, self.absent) + self.place[: hidden.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(hidden.shape[1], device=hidden.device, dtype=hidden.dtype)
        velocity = self.velocity(self.layers(hidden, mask=mask, is_causal=True)[:, before:])
        # Frames that the frames before leave little room start near their end, so an error there stays small, too.
        room = self._continuation(around)[1].square().sum(dim=-1).sqrt()
        return velocity * room[:, : noisy.shape[1], None].to(velocity)

    def source(self, around: Surroundings, white: torch.Tensor) -> torch.Tensor:
        """Return random motion (B, W, channels) that continues the frames before.

        Args:
            around: of the windows.
            white: (B, W, channels) standard normal.
        """
        weights, factors = self._continuation(around)
        last = weights.shape[2]
        return weights.to(white) @ around.past[:, -last:] + factors.to(white) @ white

    @torch.no_grad()
    def generate_motion(
        self,
        shares: torch.Tensor,
        intensity: torch.Tensor,
        *,
        seed: int = 0,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> torch.Tensor:
        """Generate motion (T, channels): facial actions and degrees, within the range of the recordings.

        Windows follow one another; each sees the last frames of the one before. The same arguments give the same
        motion, and a frame depends on the emotions up to it, not on later ones.

        Args:
            shares: (T, emotions) shares of the emotions of every frame, in sum 1.
            intensity: (T,) 0 to 1.5.
            seed: of the random motion.
            steps: of the midpoint method per window; the configuration's by default.
            guidance: see `MotionConfig`; the configuration's by default.

        Raises:
            ShapeError: there is no frame, or a tensor has another shape.
        """
        if shares.ndim != 2 or not len(shares) or tuple(intensity.shape) != (len(shares),):
            raise ShapeError(
                f"shares {tuple(shares.shape)} and intensity {tuple(intensity.shape)}; expected (T, "
                f"{len(self.config.emotions)}) and (T,), T at least 1"
            )
        window, before, count = self.config.window, self.config.context, len(shares)
        random = torch.Generator().manual_seed(seed)
        # Rows before the first frame are not seen; those after the last repeat it, and are cut off again.
        rows = (torch.arange(-before, -(-count // window) * window)).clamp(0, count - 1)
        past = torch.zeros((1, before, len(self.config.channels))).to(self.mean)
        known = torch.zeros((1, before), dtype=torch.bool, device=past.device)
        windows = []
        for start in range(0, count, window):
            some = rows[start : start + before + window]
            around = Surroundings(shares[some][None].to(past), intensity[some][None].to(past), past, known)
            white = torch.randn((1, window, past.shape[2]), generator=random).to(past)
            motion = self._integrated(self.source(around, white), around, steps, guidance)
            actual = (self.mean + self.deviation * motion).clamp(self.lowest, self.highest)
            windows.append(actual[0])
            past = torch.cat([past, (actual - self.mean) / self.deviation], dim=1)[:, -before:]
            known = torch.cat([known, torch.ones_like(actual[..., 0], dtype=torch.bool)], dim=1)[:, -before:]
        return torch.cat(windows)[:count]

    def _continuation(self, around: Surroundings) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weights (B, W, last) and factors (B, W, W) of the source; see `source.continuation`."""
        config = self.config
        weights, factors = continuation(config.window, config.fps, config.source_seconds, config.source_noise)
        last = min(ANCHORS, config.context)
        count = around.known[:, -last:].sum(dim=1).cpu()
        return weights[count, :, ANCHORS - last :], factors[count]

    def _integrated(
        self, motion: torch.Tensor, around: Surroundings, steps: int | None, guidance: float | None
    ) -> torch.Tensor:
        """Carry random motion (B, W, channels) along the velocity, by the midpoint method."""
        steps, guidance = steps or self.config.steps, self.config.guidance if guidance is None else guidance
        every = torch.ones(len(motion), dtype=torch.bool, device=motion.device)

        def velocity(at: torch.Tensor, time: float) -> torch.Tensor:
            moment = at.new_full((len(at),), time)
            moved = self(at, moment, around)
            return moved + guidance * (moved - self(at, moment, around, every)) if guidance else moved

        for step in range(steps):
            middle = motion + velocity(motion, step / steps) / (2 * steps)
            motion = motion + velocity(middle, (step + 0.5) / steps) / steps
        return motion

    def _check(self, noisy: torch.Tensor, around: Surroundings) -> None:
        rows, before = len(noisy), around.past.shape[1]
        channels, emotions, length = len(self.config.channels), len(self.config.emotions), before + noisy.shape[1]
        for name, tensor, expected in (
            ("noisy", noisy, (rows, noisy.shape[1], channels)),
            ("past", around.past, (rows, before, channels)),
            ("known", around.known, (rows, before)),
            ("shares", around.shares, (rows, length, emotions)),
            ("intensity", around.intensity, (rows, length)),
        ):
            if tuple(tensor.shape) != expected:
                raise ShapeError(f"{name} has the shape {tuple(tensor.shape)}; expected {expected}")
        if length > len(self.place) or before != self.config.context:
            raise ShapeError(
                f"{before} frames before and {noisy.shape[1]} in the window; expected {self.config.context} and at "
                f"most {self.config.window}"
            )


def _waves(time: torch.Tensor) -> torch.Tensor:
    """Return sines and cosines (B, T, 2 * WAVES) of a place on the path (B, T)."""
    rates = torch.exp(torch.linspace(0, math.log(100.0), WAVES, device=time.device)) * math.pi / 2
    angles = time[..., None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
