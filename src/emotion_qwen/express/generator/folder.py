"""Read a trained model of `express` from its folder, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from transformers import PreTrainedModel

from emotion_qwen.errors import CheckpointError, SettingsError, listed

Model = TypeVar("Model", bound=PreTrainedModel)


def read_trained(folder: Path, model_class: type[Model], what: str, instead: str) -> Model:
    """Read a model for use.

    Args:
        folder: as `save_pretrained` writes it.
        model_class: of the model.
        what: is expected, for messages, such as "expression generator".
        instead: what can be used without one, for messages.

    Raises:
        CheckpointError: the folder holds no such model, or not all of its weights.
    """
    settings, expected = folder / "config.json", model_class.config_class.model_type
    if not settings.is_file():  # transformers would look for it on a hub
        raise CheckpointError(f"{str(folder)!r} holds no {what}; train one, or use {instead}")
    try:
        kind = json.loads(settings.read_text(encoding="utf-8")).get("model_type")
        if kind != expected:
            raise CheckpointError(f"{str(folder)!r} holds another model ({kind}); expected the model type {expected}")
        model, loaded = model_class.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    except (OSError, ValueError, AttributeError, RuntimeError, SafetensorError, SettingsError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{str(folder)!r} cannot be read as {what} ({line})") from error
    if missing := sorted(loaded["missing_keys"]):  # transformers would draw them at random
        raise CheckpointError(f"{str(folder)!r} lacks the weights {listed(missing, 3)}; copy the folder again")
    return model.eval()
