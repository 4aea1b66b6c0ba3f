"""Emotion-Qwen in vLLM: the entry point that registers the model, and `emotion-qwen serve --engine vllm`.

vLLM calls `register` in each of its processes, through the entry point group `vllm.general_plugins`. The model's class
is given as a string, so that CUDA is not initialized before vLLM forks. vLLM is imported in functions only.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

from emotion_qwen.errors import MissingPackage, SettingsError
from emotion_qwen.model.source import NANO, find_model
from emotion_qwen.serving.limits import MIB, ServeSettings

ARCHITECTURE = "EmotionQwenForConditionalGeneration"
MODEL = "emotion_qwen.serving.vllm.model:EmotionQwenForVllm"
NOWHERE = "nowhere.invalid"
"""A reserved name (RFC 2606): with an empty list of allowed domains vLLM would fetch from any domain."""
HOW = "pip install 'vllm[audio]' and see docs/guides/serving_gpu.md, or serve with --engine own"
OURS_ALONE = (
    "default_tokens", "request_seconds", "analyses", "body_bytes", "media_frames", "messages", "decoders",
    "decode_seconds", "decode_bytes", "remote_seconds", "live",
)  # fmt: skip
"""Settings that only our own server has."""


def register() -> None:
    """Register the model and its video loader with vLLM, and the configuration with transformers."""
    from vllm import ModelRegistry

    import emotion_qwen.processing  # noqa: F401  registers configuration and processor with the Auto classes
    from emotion_qwen.model import EmotionQwenConfig
    from emotion_qwen.serving.vllm.video import register_video_loader

    register_video_loader(EmotionQwenConfig.model_type)
    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(ARCHITECTURE, MODEL)


def command(settings: ServeSettings, folder: Path | None = None) -> list[str]:
    """Compose the arguments of `vllm serve` from our settings.

    Args:
        settings: of our own server.
        folder: of the model; None passes the name in the settings.

    Raises:
        SettingsError: a setting has no equivalent in vLLM, or only a partial one.
    """
    _refuse_ours(settings)
    kinds = ("image", "video", "audio")
    arguments = [str(folder or settings.model or NANO), "--host", settings.host, "--port", str(settings.port)]
    arguments += ["--served-model-name", (settings.model or "nano").rstrip("/").rpartition("/")[2]]
    arguments += ["--max-num-seqs", str(settings.slots), "--max-num-queued-reqs", str(settings.slots + settings.queue)]
    arguments += ["--shutdown-timeout", str(round(settings.drain_seconds))]
    arguments += ["--limit-mm-per-prompt", json.dumps(dict.fromkeys(kinds, settings.parts))]
    arguments += ["--override-generation-config", json.dumps({"temperature": 0.0})]  # our default, not vLLM's of 1
    arguments += ["--allowed-media-domains", NOWHERE]
    if settings.context:
        arguments += ["--max-model-len", str(settings.context)]
    if settings.media_root:
        arguments += ["--allowed-local-media-path", str(settings.media_root)]
    if settings.origins:
        arguments += ["--allowed-origins", json.dumps(list(settings.origins))]
    if settings.dtype != "auto":
        arguments += ["--dtype", settings.dtype]
    return arguments


def environment_variables(settings: ServeSettings, key: str | None) -> dict[str, str]:
    """Return the environment variables for the other settings and the key: other users can read command lines."""
    variables = {
        "VLLM_MAX_IMAGE_PIXELS": str(settings.media_pixels),
        "VLLM_MAX_AUDIO_DECODE_DURATION_S": str(max(1, round(settings.media_seconds))),
        "VLLM_MAX_AUDIO_CLIP_FILESIZE_MB": str(max(1, settings.media_bytes // MIB)),
    }
    return {**variables, **({"VLLM_API_KEY": key} if key else {})}


def _refuse_ours(settings: ServeSettings) -> None:
    if settings.allow_remote:
        raise SettingsError(
            "--allow-remote with --engine vllm: vLLM would fetch any address, private ones too; leave it out, or run "
            "`vllm serve` yourself with --allowed-media-domains"
        )
    if settings.device not in ("auto", "cuda"):
        raise SettingsError(
            f"device {settings.device!r} with --engine vllm: vLLM uses the device it was built for; leave it out, and "
            "choose among GPUs by CUDA_VISIBLE_DEVICES"
        )
    fields = ServeSettings.model_fields
    changed = [name for name in OURS_ALONE if getattr(settings, name) != fields[name].default]
    if changed:
        raise SettingsError(f"{', '.join(changed)} with --engine vllm: vLLM has no such setting; leave it out")


def exec_vllm(settings: ServeSettings, key: str | None) -> NoReturn:
    """Replace this process by `vllm serve`, which has chat routes but no page, reports or decoding processes.

    Raises:
        MissingPackage: vLLM is not installed.
        CheckpointError: the model does not exist.
        SettingsError: see `command`; or the model is an adapter.
    """
    if importlib.util.find_spec("vllm") is None:
        raise MissingPackage(f"--engine vllm needs 'vllm', which is not installed; {HOW}")
    source = find_model(settings.model)
    if source.adapter is not None:
        raise SettingsError(
            f"{source.name} with --engine vllm: vLLM would leave out the experts and the gate of an adapter; merge it "
            "first: emotion-qwen merge ADAPTER BASE TARGET"
        )
    named = settings.model_copy(update={"model": settings.model or source.name})
    arguments = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", *command(named, source.base)]
    os.execve(sys.executable, arguments, {**os.environ, **environment_variables(settings, key)})
