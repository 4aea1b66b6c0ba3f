"""The entry point `lmms_eval.models`: the name under which the harness finds each of our classes."""

from __future__ import annotations

from typing import Any

NAME = "emotion_qwen"
_CLASSES = "emotion_qwen.integrations.lmms_eval.model"


def manifest() -> Any:
    """Return the harness's `ModelManifest` of our model; called by the harness while it loads its registry."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(
        NAME, simple_class_path=f"{_CLASSES}.EmotionQwenLmms", chat_class_path=f"{_CLASSES}.EmotionQwenChat"
    )
