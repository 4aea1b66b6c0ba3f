"""Estimate the memory of a training step on each device from the shapes of the model and the settings of the run.

Weights have their true dtype: trained parts float32, frozen ones that of `TrainSettings.frozen`, quantised ones theirs.
Mixed precision keeps float32 gradients and optimizer states (Micikevicius et al. 2018,
https://arxiv.org/abs/1710.03740); DDP keeps everything on every device, ZeRO-2 shards gradients and states, FSDP and
ZeRO-3 shard weights, too (Rajbhandari et al. 2020, https://arxiv.org/abs/1910.02054). Activations are counted by the
tensors that each operation of a layer saves for the backward pass; tests compare them with what PyTorch saves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn

from emotion_qwen.model.parts import LANGUAGE, PARTS
from emotion_qwen.training.plan import GIB, AdapterSettings, TrainSettings
from emotion_qwen.training.stages import trainable_counts

QUANTIZED_BYTES = {"nf4": 0.5 + 4 / 64, "int8": 1.0}
"""Bytes per quantised weight; nf4 has a float32 scale for every 64 weights."""
TAUGHT_SHARE = 0.25
"""Assumed share of supervised tokens, whose logits are computed."""
PADDED_TOKENS = 2048
"""Assumed tokens per padded sample where the settings limit none."""
PIXEL_VALUES = 1176  # of a patch: 3 channels, 2 frames, 14 x 14 pixels


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes per device.

    Attributes:
        weights: of the model and its adapters.
        casts: copies of the trained weights in the dtype of the products.
        gradients: of the trained weights.
        moments: states of the optimizer.
        activations: of the language model and the compressor, saved for the backward pass, and those of the one layer
            that is recomputed with checkpointing.
        vision: pixels or cached features of one step, and the largest tensors of a layer of the vision transformer; its
            saved activations, too, if it is trained.
        logits: of the supervised tokens, with their gradients.
    """

    weights: float
    casts: float
    gradients: float
    moments: float
    activations: float
    vision: float
    logits: float

    @property
    def total(self) -> float:
        """The sum, in bytes."""
        return sum(getattr(self, field.name) for field in fields(self))


def adapted_matrices(model: nn.Module) -> list[nn.Linear]:
    """Return the matrices of the language model to which adapters are added, and which are quantised."""
    return [m for n, m in model.named_modules() if n.startswith(f"{LANGUAGE}layers.") and isinstance(m, nn.Linear)]


def weights_and_trained(
    model: nn.Module, adapter: AdapterSettings | None, frozen_bytes: float
) -> tuple[float, float, float]:
    """Return (bytes of all weights, number of trained ones, number of these in matrices of the optimizer Muon)."""
    adapted = PARTS["language"] if adapter is not None else ()
    trained = [p for n, p in model.named_parameters() if p.requires_grad and not n.startswith(adapted)]
    learning = sum(p.numel() for p in trained)
    whole = sum(p.numel() for p in model.parameters())
    matrices = sum(p.numel() for p in trained if p.ndim == 2)
    frozen = frozen_bytes * (whole - learning)
    added = 0
    if adapter is not None:
        linears = adapted_matrices(model)
        added = sum(adapter.rank * (m.in_features + m.out_features) for m in linears)
        if adapter.quantize:
            numbers = sum(m.weight.numel() for m in linears)
            frozen += (QUANTIZED_BYTES[adapter.quantize] - frozen_bytes) * numbers
    return frozen + 4 * (learning + added), learning + added, matrices + added


def memory_estimate(
    model: nn.Module, devices: int, kind: str, adapter: AdapterSettings | None, frozen_bytes: float = 2.0
) -> float:
    """Estimate GiB per device for weights, gradients and moments of AdamW, without activations.

    Args:
        model: with requires_grad set, without adapters.
        devices: number of devices.
        kind: "ddp", "zero2", "zero3" or "fsdp".
        adapter: if given, the language model is frozen except for the adapters.
        frozen_bytes: bytes per frozen weight.
    """
    weights, learning, _ = weights_and_trained(model, adapter, frozen_bytes)
    moving = 12.0 * learning
    if kind in ("fsdp", "zero3"):
        weights /= devices
    if kind in ("fsdp", "zero2", "zero3"):
        moving /= devices
    return (weights + moving) / GIB


def layer_bytes(
    tokens: int, hidden: int, inner: int, keys: int, learns: str, adapter: AdapterSettings | None = None, size: int = 2
) -> float:
    """Return the bytes that one layer of a transformer saves for its backward pass, with memory-efficient attention.

    Args:
        tokens: in the row.
        hidden: width; queries have it, too.
        inner: width of the feed-forward part.
        keys: width of keys, and of values.
        learns: "whole", "adapters" or "frozen"; a frozen matrix does not need its input.
        adapter: for "adapters".
        size: bytes per number of a product.
    """
    norms = 2 * 4 * hidden + 2 * 4  # float32 inputs of the two norms, and the scale of every token
    attention = size * (2 * hidden + 2 * keys) + 4 * hidden / 128  # queries, result, keys, values, logarithms of sums
    feed_forward = 3 * size * inner  # input and result of the activation function, the factor beside it
    matrices = 0.0
    if learns == "whole":
        norms += 2 * 4 * hidden  # normalised inputs, for the gradients of the norms' weights
        matrices = size * (5 * hidden + inner)  # inputs of q, k, v, gate, up and down; that of o is the attention's
    elif learns == "adapters" and adapter is not None:
        dropped = 1 if adapter.dropout else 0  # a mask of bytes
        matrices = (size + dropped) * (6 * hidden + inner) + 7 * size * adapter.rank
    return tokens * (norms + attention + feed_forward + matrices)


def tokens_per_pass(settings: TrainSettings) -> int:
    """Return the tokens of one forward pass on one device, as far as the settings limit them."""
    batch = settings.batch
    return batch.row_tokens or batch.samples * min(n for n in (batch.max_tokens, batch.pack, PADDED_TOKENS) if n)


def language_bytes(model: Any, settings: TrainSettings, tokens: int) -> float:
    """Return the bytes of the language model's activations at the peak of the backward pass."""
    config = model.config.text_config
    size = settings.dtype.itemsize
    trained = trainable_counts(model)["language"][0] > 0
    learns = "adapters" if trained and settings.adapter else "whole" if trained else "frozen"
    keys = config.num_key_value_heads * config.hidden_size // config.num_attention_heads
    layer = layer_bytes(tokens, config.hidden_size, config.intermediate_size, keys, learns, settings.adapter, size)
    residual = tokens * config.hidden_size * (4 if learns == "whole" else size)
    # Attention of packed rows by sdpa has a mask, whose float copy the kernel keeps: (tokens, tokens).
    mask = tokens**2 * (1 + size) if settings.attention == "sdpa" and settings.batch.row_tokens else 0
    layers = config.num_hidden_layers
    return mask + (layers * residual + layer if settings.checkpointing else layers * layer)


def compressor_bytes(model: Any, tokens: int, size: int) -> float:
    """Return the bytes of the activations of both experts for a number of visual tokens."""
    vision = model.config.vision_config
    merged = vision.hidden_size * vision.spatial_merge_size**2
    per_expert = merged * (4 + 4 + size) + 3 * size * merged + 2 * size * vision.out_hidden_size
    return 2 * tokens * per_expert


def vision_bytes(model: Any, settings: TrainSettings, tokens: int, frozen_bytes: float) -> float:
    """Return the bytes needed to encode a number of visual tokens."""
    vision = model.config.vision_config
    patches, size = tokens * vision.spatial_merge_size**2, settings.dtype.itemsize
    if settings.features is not None:
        return patches * vision.hidden_size * size
    width, inner = vision.hidden_size, vision.intermediate_size
    pixels = patches * PIXEL_VALUES * (4 + size)
    trained = trainable_counts(model)["vision"][0] > 0
    if trained:
        layer = layer_bytes(patches, width, inner, width, "whole", None, size)
        return pixels + (vision.depth * patches * width * 4 + layer if settings.checkpointing else vision.depth * layer)
    # Without gradients, a layer frees its tensors: the stream, its normalised float32 copy, the feed-forward part.
    return pixels + patches * (width * (2 * size + 4) + 3 * size * inner)


def memory_plan(
    model: Any, settings: TrainSettings, frozen: torch.dtype, devices: int = 1, kind: str = "ddp"
) -> MemoryPlan:
    """Plan the memory of one device.

    All tokens of a row are counted as visual ones in vision and compressor, which is the largest that they can be.

    Args:
        model: with requires_grad set, without adapters; it may be on the meta device.
        settings: of the run.
        frozen: dtype of frozen parts.
        devices: number of devices.
        kind: "ddp", "zero2", "zero3" or "fsdp".
    """
    weights, learning, matrices = weights_and_trained(model, settings.adapter, frozen.itemsize)
    moments = 8.0 * learning if settings.optim.name == "adamw" else 8.0 * learning - 4.0 * matrices
    shared = devices if kind in ("fsdp", "zero3") else 1
    sharded = devices if kind in ("fsdp", "zero2", "zero3") else 1
    size, tokens = settings.dtype.itemsize, tokens_per_pass(settings)
    logits = TAUGHT_SHARE * tokens * model.config.text_config.vocab_size
    return MemoryPlan(
        weights=weights / shared,
        casts=(size if size < 4 else 0) * learning / shared,
        gradients=4.0 * learning / sharded,
        moments=moments / sharded,
        activations=language_bytes(model, settings, tokens) + compressor_bytes(model, tokens, size),
        vision=vision_bytes(model, settings, tokens, frozen.itemsize),
        logits=logits * (3 * 4 + (size if size < 4 else 0)),  # logits, their softmax, gradients; those of the product
    )


def plan_rows(plan: MemoryPlan) -> Iterator[tuple[str, float]]:
    """Yield the name and GiB of every entry of a plan."""
    for field in fields(plan):
        yield field.name, getattr(plan, field.name) / GIB
