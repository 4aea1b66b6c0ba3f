"""Drawn scenes for the face tests: frames, times and scripted detections."""

from __future__ import annotations

import numpy as np

from emotion_qwen.faces import Detections
from emotion_qwen.records import FaceTrack


def square(x: float, y: float, side: float = 40.0, score: float = 0.9) -> tuple[float, ...]:
    return (x, y, x + side, y + side, score)


def seen(*faces: tuple[float, ...]) -> Detections:
    table = np.array(faces, np.float32).reshape(-1, 5)
    return Detections(table[:, :4], table[:, 4])


def frames(count: int, height: int = 120, width: int = 320) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (count, height, width, 3), dtype=np.uint8)


def times(count: int, fps: float = 2.0) -> np.ndarray:
    return np.arange(count) / fps


def track(boxes: dict[int, tuple[float, float, float, float]], scores: list[float] | None = None) -> FaceTrack:
    return FaceTrack(
        person=1,
        frames=np.array(list(boxes), np.int64),
        boxes=np.array(list(boxes.values()), np.float32),
        scores=np.array(scores or [0.9] * len(boxes), np.float32),
    )
