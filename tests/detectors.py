"""Detectors of faces for worker processes: this file imports no torch, so that a worker starts in a second."""

from __future__ import annotations

import numpy as np

from emotion_qwen.faces import Detections


def bright(frame: np.ndarray) -> Detections:
    """Find one "face" in a frame that is brighter than half, and none in a darker one."""
    if frame.mean() < 128:
        return Detections.none()
    height, width = frame.shape[:2]
    return Detections(np.array([[4, 4, width - 4, height - 4]], np.float32), np.array([0.9], np.float32))
