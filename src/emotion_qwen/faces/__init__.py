"""Facial Emotion Capture: find faces, follow them over time, wash out the rest, cut a square per person.

Faces are located and followed by place and motion only; nothing here says or stores whose face it is.
"""

from __future__ import annotations

from emotion_qwen.faces.capture import best_box, capture, chosen_frames, person_crops
from emotion_qwen.faces.detect import CenterFaceDetector, Detections, FaceDetector, ScriptedDetector
from emotion_qwen.faces.track import track_faces

__all__ = [
    "CenterFaceDetector",
    "Detections",
    "FaceDetector",
    "ScriptedDetector",
    "best_box",
    "capture",
    "chosen_frames",
    "person_crops",
    "track_faces",
]
