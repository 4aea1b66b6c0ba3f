"""Initialise some heads of nano's language model to attend one, two or three tokens back.

A language model learns to copy, and so to find a letter among options, once a head attends to previous tokens. Learning
this takes hundreds of steps; with rotary positions, it can be initialised.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import Qwen2_5_VLTextModel

REACHES = ((1, 2, 3, 0), (1, 2, 0, 0))
"""By layer and head, how many tokens back a head attends at first; 0 leaves it unchanged."""


@torch.no_grad()
def look_back(
    language_model: Qwen2_5_VLTextModel, reaches: Sequence[Sequence[int]] = REACHES, sharpness: float = 5.0
) -> None:
    """Set the attention biases of the first layers so that a head initially attends a few tokens back.

    Rotary positions make the product of a constant query and a constant key a function of the distance alone; rotating
    the query by a distance puts the maximum there. Only the pairs that rotate with the text position are used, so that
    such a head does not distinguish the tokens of one picture. All of it stays trainable, and there is no new
    parameter.

    Args:
        language_model: a Qwen2.5 text model with attention biases.
        reaches: how many tokens back, per layer and head; layers without an entry stay unchanged.
        sharpness: size of the constant query and key; 5 puts nearly nine tenths of the attention on one token.
    """
    config = language_model.config
    size = config.hidden_size // config.num_attention_heads
    pairs, rotary = config.rope_parameters["mrope_section"][0], config.rope_parameters
    speeds = rotary["rope_theta"] ** (-torch.arange(pairs) / (size // 2))
    for layer, distances in zip(language_model.layers, reaches, strict=False):
        query, key = (part.bias.view(-1, size) for part in (layer.self_attn.q_proj, layer.self_attn.k_proj))
        key[:, :pairs] = sharpness
        for head, distance in enumerate(distances):
            if distance:
                turn = speeds * distance
                query[head, :pairs] = sharpness * torch.cos(turn)
                query[head, size // 2 : size // 2 + pairs] = -sharpness * torch.sin(turn)
