"""Load the processor of a model folder, with one-line errors, and save it over that of another model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.errors import CheckpointError
from emotion_qwen.model.folder import read_json
from emotion_qwen.model.source import IMAGE_FILES, missing_processor_files
from emotion_qwen.processing.patches import IMAGE_MEAN, IMAGE_STD
from emotion_qwen.processing.processor import EmotionQwenProcessor


def load_processor(folder: Path) -> EmotionQwenProcessor:
    """Load the processor of a folder; that of another model, for example Qwen2.5-VL's, becomes ours.

    Raises:
        CheckpointError: files of tokenizer or image processor are missing or damaged, or pictures are normalized in
            another way than Qwen2.5-VL's.
    """
    missing = missing_processor_files(folder)
    if missing:
        raise CheckpointError(
            f"{folder}: no {', no '.join(missing)}; copy the files of tokenizer and image processor from the model "
            "that the weights come from"
        )
    for name in ("tokenizer.json", "tokenizer_config.json", *IMAGE_FILES):
        _check_object(folder / name)
    try:
        processor = EmotionQwenProcessor.from_pretrained(folder)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{folder}: tokenizer or image processor cannot be loaded ({reason}); copy their files again"
        ) from error
    _check_normalization(processor, folder)
    return ours_from(processor) if takes_ours(folder) else processor


def _check_normalization(processor: EmotionQwenProcessor, folder: Path) -> None:
    """Refuse an image processor whose pictures would have other values than `patches.normalize` gives them."""
    given = (processor.image_processor.image_mean, processor.image_processor.image_std)
    if not np.allclose(given, (IMAGE_MEAN, IMAGE_STD), atol=1e-4):
        raise CheckpointError(
            f"{folder}: its image processor normalizes by mean {given[0]} and deviation {given[1]}; expected those of "
            "Qwen2.5-VL, because only its vision transformer is supported"
        )


def _check_object(path: Path) -> None:
    """Refuse a file that exists but is not a JSON object: the tokenizer's own error for it has no type to catch."""
    if not path.is_file():
        return
    values = read_json(path)
    if path.name == "tokenizer.json" and not {"model", "added_tokens"} <= values.keys():
        raise CheckpointError(f"{path}: unexpected content; copy the file again")


def takes_ours(folder: Path) -> bool:
    """Return whether a folder has all files of a processor of another model, for example Qwen2.5-VL's."""
    path = folder / "processor_config.json"
    kind = read_json(path).get("processor_class") if path.is_file() else None
    return kind != EmotionQwenProcessor.__name__ and not missing_processor_files(folder)


def ours_from(other: EmotionQwenProcessor, hearing: dict[str, Any] | None = None) -> EmotionQwenProcessor:
    """Make this package's processor from a tokenizer and an image processor, with its chat template.

    The template gives the same text as Qwen2.5-VL's, and marks the assistant's turns, which training needs.

    Args:
        other: a processor loaded from any model's folder.
        hearing: `hearing_settings` that replace its own.
    """
    settings = other.hearing_settings if hearing is None else hearing
    return EmotionQwenProcessor(
        other.image_processor, other.tokenizer, clip_settings=other.clip_settings, hearing_settings=settings
    )


def save_over(processor: EmotionQwenProcessor, folder: Path) -> None:
    """Save a processor over the files copied from its source, because older forms of these would contradict it."""
    for name in ("chat_template.json", "preprocessor_config.json", "vocab.json", "merges.txt", "added_tokens.json"):
        (folder / name).unlink(missing_ok=True)
    processor.save_pretrained(folder)
