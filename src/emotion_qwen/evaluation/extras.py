"""Optional packages of evaluation."""

from __future__ import annotations

from types import ModuleType

from emotion_qwen import extras


def optional(module: str) -> ModuleType:
    """Import a module as `extras.optional` does, and name the extra `eval` where it is missing."""
    return extras.optional(module, "eval")
