"""The expression network of the npm package `@vladmandic/face-api` 1.7 (MIT, 324 thousand weights), as a judge.

Its weights are read as data from the unpacked package; nothing of it is run. It was not used in training the generator,
so it may judge rendered faces. The architecture follows the package's documentation of its layers: four dense blocks of
separable convolutions (face-api.js, Vincent Mühler), a mean, and a linear layer.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

LABELS = ("neutral", "happiness", "sadness", "anger", "fear", "disgust", "surprise")
SIDE = 112
MEAN = (122.782, 117.001, 104.298)
MANIFEST = "face_expression_model-weights_manifest.json"


def read_manifest(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a model in TensorFlow.js's form, dequantised, by name, as float32 tensors."""
    weights: dict[str, torch.Tensor] = {}
    for group in json.loads((folder / MANIFEST).read_text(encoding="utf-8")):
        stored, start = b"".join((folder / path).read_bytes() for path in group["paths"]), 0
        for entry in group["weights"]:
            quantization = entry.get("quantization")
            kind = np.dtype(quantization["dtype"] if quantization else entry["dtype"])
            count = int(np.prod(entry["shape"]))
            values = np.frombuffer(stored, kind, count, start).reshape(entry["shape"]).astype(np.float32)
            start += count * kind.itemsize
            if quantization:
                values = values * quantization["scale"] + quantization["min"]
            weights[entry["name"]] = torch.from_numpy(np.array(values, np.float32))
    return weights


class FaceApi:
    """The network as a function from a picture of a face to the share of each emotion.

    Args:
        folder: `model` of the unpacked npm package.
    """

    def __init__(self, folder: Path) -> None:
        self.weights = read_manifest(folder)

    def _convolved(self, x: torch.Tensor, name: str, stride: int) -> torch.Tensor:
        """Apply a plain or a separable convolution, padded as TensorFlow's SAME."""
        weights = self.weights
        x = F.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
        if f"{name}/filters" in weights:
            x = F.conv2d(x, weights[f"{name}/filters"].permute(3, 2, 0, 1), stride=stride)
        else:
            depthwise = weights[f"{name}/depthwise_filter"].permute(2, 3, 0, 1)
            x = F.conv2d(x, depthwise, stride=stride, groups=x.shape[1])
            x = F.conv2d(x, weights[f"{name}/pointwise_filter"].permute(3, 2, 0, 1))
        return x + weights[f"{name}/bias"][:, None, None]

    def _block(self, x: torch.Tensor, name: str) -> torch.Tensor:
        total = F.relu(self._convolved(x, f"{name}/conv0", 2))
        hidden = total
        for layer in ("conv1", "conv2", "conv3"):
            total = total + self._convolved(hidden, f"{name}/{layer}", 1)
            hidden = F.relu(total)
        return hidden

    @torch.no_grad()
    def __call__(self, picture: np.ndarray) -> dict[str, float]:
        """Return the share of each of `LABELS` for a picture (H, W, 3) uint8 RGB of one face."""
        height, width = picture.shape[:2]
        scale = SIDE / max(height, width)
        small = cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
        canvas = np.zeros((SIDE, SIDE, 3), np.float32)
        top, left = (SIDE - small.shape[0]) // 2, (SIDE - small.shape[1]) // 2
        canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
        x = torch.from_numpy((canvas - np.array(MEAN, np.float32)) / 255).permute(2, 0, 1)[None]
        for name in ("dense0", "dense1", "dense2", "dense3"):
            x = self._block(x, name)
        x = F.avg_pool2d(x, 7, 2).flatten(1)
        shares = (x @ self.weights["fc/weights"] + self.weights["fc/bias"]).softmax(dim=1)[0]
        return dict(zip(LABELS, shares.tolist(), strict=True))
