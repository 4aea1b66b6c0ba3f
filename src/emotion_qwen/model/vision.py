"""The vision transformer: Qwen2.5-VL's without its merger, with equal windows attended in one call.

Two things differ from the class it inherits from. It ends with patch features in window order, because the Hybrid
Compressor takes the merger's place; and attention does not loop over windows in Python: all segments of the same
length become one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionPatchEmbed,
    Qwen2_5_VisionTransformerPretrainedModel,
    Qwen2_5_VLVisionAttention,
    apply_rotary_pos_emb_vision,
    eager_attention_forward,
)
from transformers.utils.generic import is_flash_attention_requested
from transformers.vision_utils import get_vision_cu_seqlens, get_vision_window_index

from emotion_qwen.model.configuration import EmotionQwenVisionConfig


@dataclass(frozen=True)
class Segments:
    """Equal attention segments: `count` of `length` rows each; `rows` (count * length,) picks them, None is all."""

    rows: torch.Tensor | None
    count: int
    length: int


GroupedRows = tuple[list[Segments], torch.Tensor | None]
"""Segments by length, and their `reading_order`."""


def group_segments(bounds: torch.Tensor) -> list[Segments]:
    """Group attention segments by their length.

    Args:
        bounds: (S + 1,) cumulative segment boundaries, ascending from 0.

    Returns:
        One entry per distinct length; the rows of all entries together are a permutation of 0..bounds[-1]-1.

    Examples:
        `group_segments(torch.tensor([0, 4, 8]))` is one entry of two segments of length 4 with `rows` None.
    """
    lengths = bounds.diff()
    distinct = lengths.unique().tolist()
    if len(distinct) == 1:
        return [Segments(None, len(lengths), int(distinct[0]))]
    groups = []
    for length in distinct:
        starts = bounds[:-1][lengths == length].long()
        rows = (starts[:, None] + torch.arange(length, device=bounds.device)).reshape(-1)
        groups.append(Segments(rows, len(starts), int(length)))
    return groups


def reading_order(groups: list[Segments]) -> torch.Tensor | None:
    """Return the (N,) indices that put the rows of all groups, one group after another, back into their order.

    None if they are in order. It is the same for all layers, so that they need not sort again.
    """
    picked = [group.rows for group in groups if group.rows is not None]
    return torch.cat(picked).argsort() if picked else None


def attend_segments(
    groups: list[Segments],
    attend: Callable[..., torch.Tensor],
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    order: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attend within segments, all of one length in one call.

    Args:
        groups: the result of `group_segments` for the boundaries.
        attend: takes query, key and value (S, heads, L, d) and returns (S, L, heads, d).
        query: (N, heads, d), rows of all segments one after another; `key` and `value` likewise.
        order: `reading_order` of the groups, if it is known.

    Returns:
        (N, heads * d), rows in the order they came.
    """
    parts = []
    for group in groups:
        picked = (x if group.rows is None else x[group.rows] for x in (query, key, value))
        batched = [x.reshape(group.count, group.length, *x.shape[1:]).transpose(1, 2) for x in picked]
        parts.append(attend(*batched).reshape(group.count * group.length, -1))
    if len(parts) == 1:
        return parts[0]
    return torch.cat(parts)[reading_order(groups) if order is None else order]


class EmotionQwenPatchEmbed(Qwen2_5_VisionPatchEmbed):
    """The patch embedding as one matrix product: the 3-d convolution's weights at many times its speed in bf16."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:  # noqa: D102
        weight = self.proj.weight.flatten(1)  # (hidden, channels * temporal * patch * patch)
        return F.linear(hidden_states.to(weight.dtype), weight)


class EmotionQwenVisionAttention(Qwen2_5_VLVisionAttention):
    """Vision attention that takes segments that are already grouped."""

    def __init__(self, config: EmotionQwenVisionConfig, full: bool) -> None:
        super().__init__(config)
        self.full = full

    def forward(  # noqa: D102
        self,
        hidden_states: torch.Tensor,
        cu_seqlens: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        max_seqlen: int | None = None,
        segments: tuple[GroupedRows, GroupedRows] | None = None,
        **kwargs,
    ) -> torch.Tensor:
        if segments is None or is_flash_attention_requested(self.config):
            return super().forward(hidden_states, cu_seqlens, position_embeddings, max_seqlen, **kwargs)
        rows = hidden_states.shape[0]
        query, key, value = self.qkv(hidden_states).view(rows, 3, self.num_heads, -1).unbind(1)  # (N, heads, d)
        assert position_embeddings is not None  # only the parent's signature makes it optional
        query, key = apply_rotary_pos_emb_vision(query, key, *position_embeddings)
        attention: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )

        def attend(*qkv: torch.Tensor) -> torch.Tensor:
            return attention(self, *qkv, attention_mask=None, scaling=self.scaling, is_causal=False)[0]

        groups, order = segments[0] if self.full else segments[1]
        return self.proj(attend_segments(groups, attend, query, key, value, order))


class EmotionQwenVisionTransformer(Qwen2_5_VisionTransformerPretrainedModel):
    """Qwen2.5-VL's vision transformer up to its patch features."""

    config_class = EmotionQwenVisionConfig

    def __init__(self, config: EmotionQwenVisionConfig, *inputs, **kwargs) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.merger = nn.Identity()
        self.patch_embed = EmotionQwenPatchEmbed(
            config.patch_size, config.temporal_patch_size, config.in_channels, config.hidden_size
        )
        for layer, block in enumerate(self.blocks):
            block.attn = EmotionQwenVisionAttention(config, full=layer in config.fullatt_block_indexes)
        self.post_init()

    def forward(self, hidden_states: torch.Tensor, grid_thw: torch.Tensor, **kwargs) -> BaseModelOutputWithPooling:
        """Turn flat patches into patch features.

        Args:
            hidden_states: (N, channels * temporal * patch * patch), visuals one after another, as of `patchify`.
            grid_thw: (V, 3) times, rows and columns of patches of every visual.

        Returns:
            `last_hidden_state` (N, hidden) in window order; `pooler_output` (N / merge^2,), the window index: row i
            of the merged tokens in window order belongs at place `pooler_output[i]` in reading order.
        """
        window_index, window_bounds = get_vision_window_index(
            grid_thw, self.spatial_merge_size, self.window_size, self.patch_size
        )
        bounds = get_vision_cu_seqlens(grid_thw)
        grouped = (group_segments(bounds), group_segments(window_bounds))
        features = super().forward(
            hidden_states,
            grid_thw,
            window_index=window_index.to(hidden_states.device),
            cu_window_seqlens=window_bounds,
            cu_seqlens=bounds,
            segments=tuple((groups, reading_order(groups)) for groups in grouped),
            **kwargs,
        )
        features.pooler_output = window_index
        return features
