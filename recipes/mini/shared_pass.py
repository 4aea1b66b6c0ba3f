"""One pass of the language model over items that begin alike: the beginning is run once, and the items behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb


@dataclass(frozen=True, eq=False)
class SharedTokens:
    """A shared beginning and the items behind it, filled up on the right.

    Attributes:
        beginning: (P, hidden) embeddings; its positions are 0 to P-1.
        items: (N, Q, hidden) embeddings.
        positions: (3, N, Q).
        lengths: (N,) tokens of each item.
    """

    beginning: torch.Tensor
    items: torch.Tensor
    positions: torch.Tensor
    lengths: torch.Tensor


def states_of(language: Any, tokens: SharedTokens) -> torch.Tensor:
    """Return the (N, Q, hidden) states of items behind their shared beginning."""
    count, length = tokens.items.shape[:2]
    shared = len(tokens.beginning)
    width = tokens.beginning.shape[1]
    states = torch.cat([tokens.beginning, tokens.items.reshape(-1, width)])[None]
    before = torch.arange(shared).expand(3, shared)
    positions = torch.cat([before, tokens.positions.reshape(3, -1)], dim=1)[:, None]
    cos, sin = language.rotary_emb(states, positions)
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    present = (torch.arange(length) < tokens.lengths[:, None])[:, None, :] & causal
    present = present | torch.eye(length, dtype=torch.bool)
    visible = torch.cat([torch.ones(count, length, shared, dtype=torch.bool), present], dim=2)[:, None]
    for layer in language.layers:
        normed, attention = layer.input_layernorm(states), layer.self_attn
        heads = (1, states.shape[1], -1, attention.head_dim)
        query, key, value = (
            projection(normed).view(heads).transpose(1, 2)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        query, key = apply_rotary_pos_emb(query, key, cos, sin)
        first = F.scaled_dot_product_attention(
            query[:, :, :shared], key[:, :, :shared], value[:, :, :shared], is_causal=True, enable_gqa=True
        )
        mine = [part[0, :, shared:].unflatten(1, (count, length)).transpose(0, 1) for part in (query, key, value)]
        keys, values = (
            torch.cat([every[:, :, :shared].expand(count, -1, -1, -1), own], dim=2)
            for every, own in ((key, mine[1]), (value, mine[2]))
        )
        behind = F.scaled_dot_product_attention(mine[0], keys, values, attn_mask=visible, enable_gqa=True)
        joined = torch.cat([first[0].transpose(0, 1).flatten(1), behind.transpose(1, 2).flatten(2).flatten(0, 1)])
        states = states + attention.o_proj(joined[None])
        states = states + layer.mlp(layer.post_attention_layernorm(states))
    return language.norm(states[0, shared:]).unflatten(0, (count, length))


def answers_loss(
    head: nn.Linear, states: torch.Tensor, starts: torch.Tensor, answers: Sequence[Sequence[int]]
) -> torch.Tensor:
    """Return the mean over items of the mean loss of an answer's tokens; an item without an answer adds nothing.

    Args:
        head: of the language model.
        states: (N, Q, hidden).
        starts: (N,) the place whose state predicts the first token of each answer.
        answers: tokens of each item.
    """
    where = [(row, int(starts[row]) + n) for row, answer in enumerate(answers) for n in range(len(answer))]
    if not where:
        return states.new_zeros(())
    owners, places = torch.tensor(where).T
    weights = torch.tensor([1 / len(answer) for answer in answers for _ in answer]) / len(states)
    wanted = torch.tensor([token for answer in answers for token in answer])
    losses = F.cross_entropy(head(states[owners, places]).float(), wanted, reduction="none")
    return (losses * weights).sum()
