"""The Hybrid Compressor: a general expert, an emotion expert, and a gate that weights them for every visual.

It replaces the patch merger of Qwen2.5-VL. Each expert has the merger's shape, so that a converted checkpoint starts
with two copies of it. The gate is the published one (multi-head self-attention, then twice Linear-ReLU- LayerNorm) with
a softmax head, and it attends within one visual at a time: pictures packed into one batch do not affect each other.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLPatchMerger

from emotion_qwen.errors import ShapeError
from emotion_qwen.model.configuration import EmotionQwenConfig
from emotion_qwen.model.vision import attend_segments, group_segments

GENERAL, EMOTION = 0, 1  # columns of the fusion weights, in the release's order


class GatingNetwork(nn.Module):
    """Weight the two experts for every visual.

    Args:
        width: width of the patch features.
        hidden: width of the two feed-forward layers.
        heads: attention heads; divides `width`.
        pool: "after" or "before", the place of the mean over a visual relative to the attention.
    """

    def __init__(self, width: int, hidden: int, heads: int, pool: str) -> None:
        super().__init__()
        self.heads, self.pool = heads, pool
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.layers = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.LayerNorm(hidden),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.LayerNorm(hidden),
        )  # fmt: skip
        self.head = nn.Linear(hidden, 2)

    def forward(self, groups: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
        """Compute fusion weights.

        Args:
            groups: (G, width) means of the merge groups of all visuals, one visual after another.
            bounds: (V + 1,) cumulative numbers of groups per visual.

        Returns:
            (V, 2) fp32, rows sum to 1; column 0 general, column 1 emotion.
        """
        if self.pool == "before":
            groups, bounds = mean_per_visual(groups, bounds), torch.arange(len(bounds), device=bounds.device)
        pooled = mean_per_visual(self._attend(groups, bounds), bounds)  # (V, width)
        return self.head(self.layers(pooled)).float().softmax(dim=-1)

    def _attend(self, groups: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(groups).view(len(groups), 3, self.heads, -1).unbind(1)

        def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)

        return self.proj(attend_segments(group_segments(bounds), attend, query, key, value))


def mean_per_visual(rows: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
    """Average (G, width) rows within the visuals given by (V + 1,) bounds; returns (V, width)."""
    counts = bounds.diff()
    owner = torch.repeat_interleave(torch.arange(len(counts), device=rows.device), counts)
    total = rows.new_zeros(len(counts), rows.shape[1], dtype=torch.float32).index_add_(0, owner, rows.float())
    return (total / counts[:, None]).to(rows.dtype)


class HybridCompressor(nn.Module):
    """Turn patch features into language-model tokens by two experts and a gate."""

    def __init__(self, config: EmotionQwenConfig) -> None:
        super().__init__()
        vision = config.vision_config
        shape = (vision.out_hidden_size, vision.hidden_size, vision.spatial_merge_size)
        self.general = Qwen2_5_VLPatchMerger(*shape)
        self.emotion = Qwen2_5_VLPatchMerger(*shape)
        self.gate = GatingNetwork(vision.hidden_size, config.gate_hidden_size, config.gate_num_heads, config.gate_pool)
        self.merge_unit = vision.spatial_merge_size**2
        self.threshold = config.gate_threshold
        self.mode = config.gate_mode

    def forward(
        self, features: torch.Tensor, window_index: torch.Tensor, grid_thw: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Fuse the experts' tokens and put them back into reading order.

        Args:
            features: (N, width) patch features in window order.
            window_index: (N / merge^2,) place in reading order of every merged token.
            grid_thw: (V, 3) times, rows and columns of patches of every visual.

        Returns:
            (N / merge^2, out) tokens in reading order, and (V, 2) fusion weights (general, emotion) in fp32.

        Raises:
            ShapeError: the grids do not add up to the number of features.
        """
        sizes = grid_thw.to(features.device).prod(dim=-1)
        if int(sizes.sum()) != len(features):
            raise ShapeError(
                f"{len(features)} patch features for grids of {int(sizes.sum())} patches; "
                "pass grid_thw of exactly these visuals"
            )
        bounds = F.pad((sizes // self.merge_unit).cumsum(0), (1, 0))
        weights = self.fusion_weights(features, bounds)
        tokens = self._fuse(features, weights, bounds)
        return tokens[window_index.to(tokens.device).argsort()], weights

    def fusion_weights(self, features: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
        """Return (V, 2) weights by the gate mode; in learned inference a tiny one becomes exactly 0, its partner 1."""
        if self.mode != "learned":
            fixed = [1.0, 0.0] if self.mode == "general" else [0.0, 1.0]
            return torch.tensor(fixed, device=features.device).repeat(len(bounds) - 1, 1)
        groups = features.view(-1, self.merge_unit, features.shape[-1]).mean(dim=1)
        weights = self.gate(groups, bounds)
        if self.training:
            return weights
        weights = torch.where(weights < self.threshold, 0.0, weights)
        return torch.where(weights.flip(-1) == 0, 1.0, weights)

    def _fuse(self, features: torch.Tensor, weights: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
        counts = bounds.diff()
        grouped = features.view(-1, self.merge_unit, features.shape[-1])  # (N / merge^2, merge^2, width)
        learning = self.training and self.mode == "learned"
        fused: torch.Tensor | None = None
        for column, expert in ((GENERAL, self.general), (EMOTION, self.emotion)):
            wanted = torch.ones_like(counts, dtype=torch.bool) if learning else weights[:, column] > 0
            if not wanted.any():
                continue
            scale = torch.repeat_interleave(weights[:, column], counts)[:, None]
            if wanted.all():
                tokens = expert(grouped)
                part = scale.to(tokens.dtype) * tokens
            else:
                rows = torch.repeat_interleave(wanted, counts).nonzero()[:, 0]
                tokens = expert(grouped[rows])
                part = tokens.new_zeros(len(grouped), tokens.shape[-1])
                part = part.index_copy(0, rows, scale[rows].to(tokens.dtype) * tokens)
            fused = part if fused is None else fused + part
        assert fused is not None  # the weights of a visual sum to 1, so at least one expert is used
        return fused
