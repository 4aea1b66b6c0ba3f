"""Emotion-Qwen inside vLLM: the entry point that registers the model, and the hand-over of `emotion-qwen serve`.

vLLM calls `register` in each of its processes, through the entry point group `vllm.general_plugins`. The model's
class is named by a string, so that nothing of CUDA is touched before vLLM forks. Nothing here imports vLLM at import.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import NoReturn

from emotion_qwen.errors import MissingPackage
from emotion_qwen.inference.engine import NANO
from emotion_qwen.serving.limits import ServeSettings

ARCHITECTURE = "EmotionQwenForConditionalGeneration"
MODEL = "emotion_qwen.serving.vllm_model:EmotionQwenForVllm"


def register() -> None:
    """Tell vLLM of the model; the configuration is told to transformers by importing it."""
    from vllm import ModelRegistry

    import emotion_qwen.processing  # noqa: F401  registers configuration and processor with the Auto classes

    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(ARCHITECTURE, MODEL)


def command(settings: ServeSettings) -> list[str]:
    """Compose vLLM's own command line from our settings."""
    arguments = ["vllm", "serve", settings.model or str(NANO), "--host", settings.host, "--port", str(settings.port)]
    arguments += ["--served-model-name", (settings.model or "nano").rstrip("/").rpartition("/")[2]]
    arguments += ["--max-num-seqs", str(settings.slots)]
    if settings.context:
        arguments += ["--max-model-len", str(settings.context)]
    if settings.media_root:
        arguments += ["--allowed-local-media-path", str(settings.media_root)]
    if settings.dtype != "auto":
        arguments += ["--dtype", settings.dtype]
    return arguments


def hand_over(settings: ServeSettings, key: str | None) -> NoReturn:
    """Become `vllm serve`: its chat routes, without our page, reports and decoding processes.

    Raises:
        MissingPackage: vLLM is not installed.
    """
    if importlib.util.find_spec("vllm") is None or shutil.which("vllm") is None:
        raise MissingPackage("--engine vllm needs 'vllm', which is not installed; see docs/guides/serving.md")
    environment = {**os.environ, **({"VLLM_API_KEY": key} if key else {})}  # a command line can be read by everybody
    os.execvpe("vllm", command(settings), environment)
