"""The expression generator: a mixture of experts that draws the 52 facial actions of an emotion.

It combines ideas of published generators of talking faces, at the size of a vector of 52 numbers: an emotion bank
(DICE-Talk, arXiv 2504.18087), a latent whose prior alone must suffice (the target-guided term of CTEG, 2412.02508),
experts with a global and a local gate (MoEE, 2501.01808), guidance without a classifier (Ho and Salimans, 2207.12598),
and a table based on the Facial Action Coding System for actions that are not in the data. None of their code or
weights are used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from emotion_qwen.errors import ShapeError
from emotion_qwen.express.generator.configuration import REGIONS, ExpressionConfig
from emotion_qwen.express.prototypes import PROTOTYPES
from emotion_qwen.express.track import CHANNELS, EMOTIONS, STRONGEST

LARGEST_LOG_DEVIATION = 3.0
"""Bound of the logarithm of a latent's deviation, in both directions; keeps the divergence finite."""
Normal = tuple[torch.Tensor, torch.Tensor]
"""Mean and logarithm of the deviation of independent normal variables, both (B, latent)."""


@dataclass
class GeneratedParts(ModelOutput):
    """The generator's output for a batch of B conditions.

    Attributes:
        actions: (B, channels) facial actions; not clipped to 0..1.
        latent: (B, latent) that they were made from.
        global_gate: (B, experts) weights of the experts, in sum 1.
        local_gate: (B, regions, experts) weights of the experts in each region, each 0 to 1.
        code_use: (B, codes) attention to the codes of the emotion bank, in sum 1; no column without a bank.
        bank_loss: distance between the condition and its nearest code, with the weight of the commitment; 0 without a
            bank.
        divergence: (B, latent) Kullback-Leibler divergence of the posterior from the prior; None without `frames`.
    """

    actions: torch.Tensor | None = None
    latent: torch.Tensor | None = None
    global_gate: torch.Tensor | None = None
    local_gate: torch.Tensor | None = None
    code_use: torch.Tensor | None = None
    bank_loss: torch.Tensor | None = None
    divergence: torch.Tensor | None = None


@dataclass(frozen=True)
class ConditionState:
    """Values determined by a condition, before a latent is drawn.

    Attributes:
        condition: (B, width).
        prior: of the latent.
        global_gate: as in `GeneratedParts`, and so are `local_gate`, `code_use` and `bank_loss`.
        hidden: (B, experts, expert size) the condition's part of each expert's first layer.
        fixed: (B, channels) neutral face and table of prototypes.
    """

    condition: torch.Tensor
    prior: Normal
    global_gate: torch.Tensor
    local_gate: torch.Tensor
    code_use: torch.Tensor
    bank_loss: torch.Tensor
    hidden: torch.Tensor
    fixed: torch.Tensor


class EmotionBank(nn.Module):
    """Codes that a condition attends to; the nearest one is drawn to it, as in vector quantisation.

    Vector quantisation: van den Oord et al., 2017. The weight of the commitment is 0.25, as there.
    """

    commitment = 0.25

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.empty(codes, width))
        self.query = nn.Linear(width, width)

    def forward(self, condition: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the attended codes (B, width), the attention (B, codes), and `GeneratedParts.bank_loss`."""
        query = self.query(condition)
        attention = (query @ self.codes.T / math.sqrt(self.codes.shape[1])).softmax(dim=1)
        nearest = self.codes[torch.cdist(query, self.codes).argmin(dim=1)]
        loss = F.mse_loss(nearest, query.detach()) + self.commitment * F.mse_loss(query, nearest.detach())
        return attention @ self.codes, attention, loss


class ExpertLayer(nn.Module):
    """A linear layer for each of several experts, computed together."""

    def __init__(self, experts: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts, inputs, outputs))
        self.bias = nn.Parameter(torch.empty(experts, outputs))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (B, experts, inputs), or (B, inputs) that all experts share, to (B, experts, outputs)."""
        if hidden.ndim == 2:  # as one product, twice as fast
            joined = hidden @ self.weight.transpose(0, 1).flatten(1)
            return joined.unflatten(1, self.bias.shape) + self.bias
        return torch.bmm(hidden.transpose(0, 1), self.weight).transpose(0, 1) + self.bias


class ExpressionGenerator(PreTrainedModel):
    """Draws facial actions for a distribution of emotions and an intensity.

    The actions are a neutral face, plus the table of prototypes with a learned weight per channel, plus the weighted
    sum of the experts. On `config.prior_channels` the table has the weight 1 and the experts have none.

    Args:
        config: sizes and parts.
    """

    config_class = ExpressionConfig
    main_input_name = "emotions"

    def __init__(self, config: ExpressionConfig) -> None:
        super().__init__(config)
        width, latent, channels = config.hidden_size, config.latent_size, len(config.channels)
        inputs = len(config.emotions) + 3
        self.condition = nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width))
        self.context = nn.Linear(config.context_size, width) if config.context_size else None
        self.unconditional = nn.Parameter(torch.empty(width))
        self.bank = EmotionBank(config.bank_codes, width) if config.bank_codes else None
        self.prior = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 2 * latent))
        self.posterior = nn.Sequential(nn.Linear(channels + width, width), nn.GELU(), nn.Linear(width, 2 * latent))
        joined = (2 if self.bank else 1) * width
        self.from_condition = ExpertLayer(config.experts, joined, config.expert_size)
        self.from_latent = ExpertLayer(config.experts, latent, config.expert_size)
        self.experts = nn.Sequential(nn.GELU())
        for _ in range(config.expert_layers - 1):
            self.experts.extend([ExpertLayer(config.experts, config.expert_size, config.expert_size), nn.GELU()])
        self.experts.append(ExpertLayer(config.experts, config.expert_size, channels))
        self.global_gate = nn.Linear(joined, config.experts) if config.global_gate else None
        self.local_gate = nn.Linear(joined, len(REGIONS) * config.experts) if config.local_gate else None
        self.neutral = nn.Parameter(torch.empty(channels))
        self.prior_weight = nn.Parameter(torch.empty(channels))
        columns = [CHANNELS.index(name) for name in config.channels]
        rows = [EMOTIONS.index(name) for name in config.emotions]
        self.register_buffer("table", torch.from_numpy(PROTOTYPES[rows][:, columns]).float())
        self.register_buffer(
            "circle", torch.tensor([list(config.valence), list(config.arousal)]).float().T.contiguous()
        )
        self.register_buffer("regions", torch.tensor(config.region_places))
        taught = [float(name not in config.prior_channels) for name in config.channels]
        self.register_buffer("taught", torch.tensor(taught))
        self.register_buffer("deviation", torch.ones(channels))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, EmotionBank):
            nn.init.normal_(module.codes)
        elif isinstance(module, ExpertLayer):
            nn.init.normal_(module.weight, std=module.weight.shape[1] ** -0.5)
            nn.init.zeros_(module.bias)
        elif isinstance(module, ExpressionGenerator):
            nn.init.normal_(module.unconditional, std=0.1)
            nn.init.zeros_(module.neutral)
            nn.init.zeros_(module.prior_weight)

    @torch.no_grad()
    def set_statistics(self, neutral: torch.Tensor, deviation: torch.Tensor) -> None:
        """Set the neutral face (channels,) and the deviation of each channel (channels,) in the training data.

        The channels of `config.prior_channels` get a neutral value of 0.
        """
        self.neutral.copy_(neutral * self.taught)
        self.deviation.copy_(deviation)

    def forward(
        self,
        emotions: torch.Tensor,
        intensity: torch.Tensor,
        *,
        frames: torch.Tensor | None = None,
        context: torch.Tensor | None = None,
        dropped: torch.Tensor | None = None,
        noise: torch.Tensor | None = None,
    ) -> GeneratedParts:
        """Compute facial actions.

        Args:
            emotions: (B, emotions) shares, in sum 1.
            intensity: (B,) 0 to 1.5; 0 for a neutral face.
            frames: (B, channels) actions to encode; without them, the latent comes from the prior.
            context: (B, context_size) further condition, where the configuration has one.
            dropped: (B,) bool, rows without any condition.
            noise: (B, latent) standard normal noise of the latent; drawn if None.

        Raises:
            ShapeError: a tensor has another shape, or a context is missing or not expected.
        """
        state = self.conditioned(emotions, intensity, context=context, dropped=dropped)
        normal, divergence = state.prior, None
        if frames is not None:
            normal = self.encoded(frames, state)
            divergence = divergence_of(normal, state.prior)
        if noise is None:
            noise = torch.randn_like(normal[0])
        latent = normal[0] + noise * normal[1].exp()
        actions = self.decoded(latent, state)
        return GeneratedParts(
            actions, latent, state.global_gate, state.local_gate, state.code_use, state.bank_loss, divergence
        )

    def conditioned(
        self,
        emotions: torch.Tensor,
        intensity: torch.Tensor,
        *,
        context: torch.Tensor | None = None,
        dropped: torch.Tensor | None = None,
    ) -> ConditionState:
        """Compute all that does not depend on the latent; see `forward` for the arguments and errors."""
        self._check(emotions, intensity, context)
        condition = self._condition(emotions, intensity, context, dropped)
        joined, code_use, bank_loss = condition, condition.new_zeros((len(condition), 0)), condition.new_zeros(())
        if self.bank is not None:
            attended, code_use, bank_loss = self.bank(condition)
            joined = torch.cat([condition, attended], dim=1)
        prior = _normal(self.prior(condition))
        weights, local = self._gates(joined)
        fixed = self.neutral + self._table_part(emotions, intensity, dropped)
        return ConditionState(condition, prior, weights, local, code_use, bank_loss, self.from_condition(joined), fixed)

    def encoded(self, frames: torch.Tensor, state: ConditionState) -> Normal:
        """Return the posterior of the latent for actions (B, channels)."""
        relative = (frames - self.neutral) / self.deviation * self.taught
        return _normal(self.posterior(torch.cat([relative, state.condition], dim=1)))

    def decoded(self, latent: torch.Tensor, state: ConditionState) -> torch.Tensor:
        """Return the actions (B, channels), not clipped, for latents (B, latent)."""
        outputs = self.experts(state.hidden + self.from_latent(latent))
        weights = state.global_gate[:, :, None] * state.local_gate.transpose(1, 2)[:, :, self.regions]
        return state.fixed + self.deviation * self.taught * (weights * outputs).sum(dim=1)

    @torch.no_grad()
    def draw(
        self,
        emotions: torch.Tensor,
        intensity: torch.Tensor,
        *,
        context: torch.Tensor | None = None,
        guidance: float | None = None,
        temperature: float | None = None,
        noise: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Draw facial actions (B, channels), 0 to 1, without an example to encode.

        Args:
            emotions: (B, emotions) shares, in sum 1.
            intensity: (B,) 0 to 1.5.
            context: as in `forward`.
            guidance: how far the result is pushed away from that without a condition; the configuration's by default.
                Channels of `config.prior_channels` are not pushed.
            temperature: factor on the noise of the latent; the configuration's by default. 0 gives the typical face.
            noise: (B, latent) standard normal; drawn if None. Equal rows give the same variant of each face.

        Raises:
            ShapeError: as in `forward`.
        """
        push = self.config.guidance if guidance is None else guidance
        spread = self.config.temperature if temperature is None else temperature
        if noise is None:
            noise = torch.randn((len(emotions), self.config.latent_size)).to(emotions)
        noise = noise * spread
        actions = self(emotions, intensity, context=context, noise=noise).actions
        if push:
            every = torch.ones(len(emotions), dtype=torch.bool, device=emotions.device)
            plain = self(emotions, intensity, context=context, noise=noise, dropped=every).actions
            actions = actions + push * self.taught * (actions - plain)
        return actions.clamp(0, 1)

    def _check(self, emotions: torch.Tensor, intensity: torch.Tensor, context: torch.Tensor | None) -> None:
        expected = (len(emotions), len(self.config.emotions))
        if tuple(emotions.shape) != expected or tuple(intensity.shape) != expected[:1]:
            raise ShapeError(
                f"emotions {tuple(emotions.shape)} and intensity {tuple(intensity.shape)}; expected "
                f"(B, {expected[1]}) and (B,)"
            )
        width = 0 if context is None else context.shape[-1]
        if width != self.config.context_size:
            raise ShapeError(f"context has the width {width}; expected {self.config.context_size} (context_size)")

    def _condition(
        self,
        emotions: torch.Tensor,
        intensity: torch.Tensor,
        context: torch.Tensor | None,
        dropped: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return the condition (B, width)."""
        place = emotions @ self.circle
        condition = self.condition(torch.cat([emotions, place, intensity[:, None] / STRONGEST], dim=1))
        if self.context is not None and context is not None:
            condition = condition + self.context(context)
        return condition if dropped is None else torch.where(dropped[:, None], self.unconditional, condition)

    def _table_part(
        self, emotions: torch.Tensor, intensity: torch.Tensor, dropped: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the part of the actions that comes from the table of prototypes, (B, channels)."""
        if not self.config.facs_prior:
            return torch.zeros_like(self.neutral)
        weight = torch.where(self.taught > 0, self.prior_weight, 1.0)
        part = intensity[:, None] * (emotions @ self.table) * weight
        return part if dropped is None else torch.where(dropped[:, None], part * (1 - self.taught), part)

    def _gates(self, joined: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the global (B, experts) and the local weights (B, regions, experts)."""
        batch, count = len(joined), self.config.experts
        if self.global_gate is not None:
            weights = self.global_gate(joined).float().softmax(dim=1).to(joined)
        else:
            weights = joined.new_full((batch, count), 1 / count)
        if self.local_gate is None:
            return weights, joined.new_ones((batch, len(REGIONS), count))
        return weights, self.local_gate(joined).view(batch, len(REGIONS), count).sigmoid()


def _normal(values: torch.Tensor) -> Normal:
    mean, spread = values.chunk(2, dim=1)
    return mean, LARGEST_LOG_DEVIATION * torch.tanh(spread / LARGEST_LOG_DEVIATION)


def divergence_of(first: Normal, second: Normal) -> torch.Tensor:
    """Return the Kullback-Leibler divergence of `first` from `second` in each dimension, (B, latent)."""
    gap = (first[0] - second[0]) / second[1].exp()
    ratio = first[1] - second[1]
    return 0.5 * ((2 * ratio).exp() + gap * gap - 1) - ratio
