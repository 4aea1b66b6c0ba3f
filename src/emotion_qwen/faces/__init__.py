"""Facial Emotion Capture: detect faces, track them over time, fade out the rest, and crop a square per person.

Faces are tracked by position and motion only; nothing here identifies a person.
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
