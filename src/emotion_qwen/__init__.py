"""Emotion-Qwen: emotion in video, and a model that keeps its general vision-language skill.

Public names are loaded when first touched, so that `import emotion_qwen` loads neither torch nor transformers.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "EmotionQwen": "emotion_qwen.notebook.model",
    "EmotionReport": "emotion_qwen.records",
    "Report": "emotion_qwen.notebook.report",
    "FailedClip": "emotion_qwen.export.reports",
    "read_reports": "emotion_qwen.notebook.model",
    "save_reports": "emotion_qwen.notebook.tables",
    "to_frame": "emotion_qwen.notebook.tables",
    "EmotionQwenConfig": "emotion_qwen.model",
    "EmotionQwenModel": "emotion_qwen.model",
    "EmotionQwenForConditionalGeneration": "emotion_qwen.model",
    "EmotionQwenProcessor": "emotion_qwen.processing",
    "load_ver": "emotion_qwen.ver.export",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'emotion_qwen' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
