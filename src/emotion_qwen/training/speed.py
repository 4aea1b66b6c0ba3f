"""Training speed: tokens per second, and the share of the device's arithmetic that the model uses (MFU).

Model FLOPs utilisation counts the forward and backward pass, without recomputation by checkpointing
(Chowdhery et al. 2022, PaLM, https://arxiv.org/abs/2204.02311, appendix B). A frozen matrix needs no gradient of its
own, only that of its input, and the frozen vision transformer no backward pass at all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from emotion_qwen.model.modeling import IGNORE

PEAKS = {
    "B200": 2250e12, "H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L40": 181e12,
    "A40": 150e12, "A6000": 155e12, "RTX 4090": 165e12, "L4": 121e12,
}  # fmt: skip
"""Part of a device's name -> dense bfloat16 FLOPs per second with float32 sums, from the vendor's data sheets. The
first that occurs counts."""


def peak_flops(device: str) -> float | None:
    """Return the FLOPs per second of a device by its name; None if it is not listed."""
    return next((peak for name, peak in PEAKS.items() if name in device), None)


def linear_flops(module: Any, rows: int, gradient: bool) -> float:
    """Return the FLOPs of all matrices of a module for a number of rows.

    Args:
        module: whose linear layers are counted.
        rows: of their input.
        gradient: whether the input needs a gradient.
    """
    flops = 0.0
    for part in module.modules():
        if isinstance(part, nn.Linear):  # also quantised ones, whose weights are packed
            product = 2.0 * rows * part.in_features * part.out_features
            flops += product * (1 + gradient + part.weight.requires_grad)
    return flops


def attention_flops(lengths: torch.Tensor, width: int, layers: int, causal: bool, passes: int) -> float:
    """Return the FLOPs of attention within segments of the given lengths; a causal one needs half of them."""
    return float(4 * lengths.double().square().sum() * width * layers * passes) / (2 if causal else 1)


def step_flops(model: Any, batch: Mapping[str, Any]) -> float:
    """Return the FLOPs of forward and backward pass on one batch.

    Args:
        model: without adapters around it; adapters within its layers are counted.
        batch: arguments of its `forward`.
    """
    text, vision, base = model.config.text_config, model.config.vision_config, model.model
    tokens = batch["input_ids"].numel()
    lengths = batch["cu_seq_lens_q"].diff() if "cu_seq_lens_q" in batch else torch.tensor(batch["input_ids"].shape[1:])
    repeats = 1 if "cu_seq_lens_q" in batch else len(batch["input_ids"])
    flops = linear_flops(base.language_model, tokens, True)
    flops += repeats * attention_flops(lengths, text.hidden_size, text.num_hidden_layers, True, 3)
    flops += linear_flops(model.lm_head, int((batch["labels"][:, 1:] != IGNORE).sum()), True)
    for kind, pixels in (("image", "pixel_values"), ("video", "pixel_values_videos")):
        grid = batch.get(f"{kind}_grid_thw")
        if grid is None:
            continue
        patches = int(grid.prod(-1).sum())
        merged = patches // vision.spatial_merge_size**2
        compressor = base.compressor
        learned = compressor.mode == "learned"
        for expert in (compressor.general, compressor.emotion) if learned else (getattr(compressor, compressor.mode),):
            flops += linear_flops(expert, merged, next(expert.parameters()).requires_grad)  # its norm is trained, too
        if learned:
            flops += linear_flops(compressor.gate.qkv, merged, False) + linear_flops(compressor.gate.proj, merged, True)
        if batch.get(pixels) is None:
            continue  # cached features
        trained = next(base.visual.parameters()).requires_grad
        per_time = torch.repeat_interleave(grid[:, 1] * grid[:, 2], grid[:, 0])
        full = len(vision.fullatt_block_indexes)
        window = torch.full((max(patches // 64, 1),), 64)
        flops += linear_flops(base.visual, patches, trained)
        flops += 2.0 * patches * base.visual.patch_embed.proj.weight.numel() * (1 + trained)  # a convolution
        flops += attention_flops(per_time, vision.hidden_size, full, False, 3 if trained else 1)
        flops += attention_flops(window, vision.hidden_size, vision.depth - full, False, 3 if trained else 1)
    return flops


@dataclass
class Speedometer:
    """Measures the steps between two entries of the log.

    Attributes:
        peak: FLOPs per second of the device; None omits MFU.
        tokens: of this device since the last entry, without padding.
        flops: of this device since then.
        since: time of the last entry, seconds.
    """

    peak: float | None = None
    tokens: int = 0
    flops: float = 0.0
    since: float = field(default_factory=time.perf_counter)

    def add(self, model: Any, batch: Mapping[str, Any], padding: int) -> None:
        """Count a batch in which `padding` is the token without meaning."""
        self.tokens += int((batch["input_ids"] != padding).sum())
        self.flops += step_flops(model, batch) if self.peak else 0.0

    def figures(self) -> dict[str, float]:
        """Return the figures since the last call, per device, and reset the counters."""
        now = time.perf_counter()
        seconds, tokens, flops = now - self.since, self.tokens, self.flops
        self.since, self.tokens, self.flops = now, 0, 0.0
        if not tokens or seconds <= 0:
            return {}
        mfu = {"mfu": round(flops / seconds / self.peak, 4)} if self.peak else {}
        return {"tokens_per_second": round(tokens / seconds, 1), **mfu}
