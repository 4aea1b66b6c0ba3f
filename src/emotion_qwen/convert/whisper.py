"""The encoder of a Whisper checkpoint folder, as transformers saves it: names and shapes, before any weight is read.

Whole checkpoints (`model.encoder.*` or `encoder.*`) and encoders saved alone (bare names) are read. The decoder is left
out: here the language model makes words. Weights keep their bytes; only the compressor behind the encoder is new.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError

from emotion_qwen.convert.shards import StoredTensor, read_tensors
from emotion_qwen.errors import CheckpointError, SettingsError
from emotion_qwen.model.audio import EmotionQwenAudioTower
from emotion_qwen.model.configuration import EmotionQwenAudioConfig
from emotion_qwen.model.folder import key_faults
from emotion_qwen.model.parts import AUDIO_ENCODER

PREFIXES = ("model.encoder.", "encoder.", "")
"""Where the encoder's keys stand in a checkpoint; the first that fits counts."""
# What the encoder is made of. The other fields of a Whisper configuration speak of its decoder and its tokens.
REQUIRED = (
    "d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim", "num_mel_bins", "max_source_positions",
)  # fmt: skip
OPTIONAL = (
    "activation_function", "dropout", "attention_dropout", "activation_dropout", "encoder_layerdrop", "init_std",
    "scale_embedding",
)  # fmt: skip
LISTED = 6


@dataclass(frozen=True)
class WhisperSource:
    """The encoder of a Whisper checkpoint, ready to be written into a model of ours.

    Attributes:
        folder: the checkpoint.
        config: of the audio side.
        token_id: of the placeholder that audio tokens replace.
        stored: source key -> tensor, of the encoder alone.
        sources: name in our model -> source key.
        dropped: source keys that are not carried over, with the reason.
    """

    folder: str
    config: EmotionQwenAudioConfig
    token_id: int
    stored: dict[str, StoredTensor]
    sources: dict[str, str]
    dropped: dict[str, str]


def read_whisper(folder: Path, values: dict[str, Any], frames_per_token: int, token_id: int) -> WhisperSource:
    """Read the headers of a Whisper checkpoint and map its encoder; no weight is read.

    Args:
        folder: the checkpoint, with safetensors weights.
        values: its parsed config.json.
        frames_per_token: encoder frames (20 ms each) that become one audio token.
        token_id: id of the audio placeholder in the tokenizer of the model that is to hear.

    Raises:
        CheckpointError: another model than Whisper, pickled weights, or keys or shapes that are not what config.json
            says; all of them are named.
        SettingsError: `frames_per_token` does not divide a window.
    """
    config = audio_config(values, frames_per_token, str(folder))
    stored = read_tensors(folder)
    prefix = next(prefix for prefix in PREFIXES if any(key.startswith(prefix) for key in stored) or not prefix)
    encoder = {key: tensor for key, tensor in stored.items() if key.startswith(prefix)}
    expected = {prefix + name: shape for name, shape in encoder_shapes(config).items()}
    wrong = [
        f"{key} {encoder[key].shape} instead of {shape}"
        for key, shape in expected.items()
        if key in encoder and encoder[key].shape != shape
    ]
    missing = [key for key in expected if key not in encoder]
    unexpected = [key for key in encoder if key not in expected]
    kinds = {"missing keys": missing, "unexpected keys": unexpected, "wrong shapes": wrong}
    if faults := key_faults(kinds, LISTED):
        raise CheckpointError(
            f"{folder}: the encoder's weights do not fit its config.json: {faults}. "
            "Take weights and config.json from the same Whisper checkpoint"
        )
    sources = {AUDIO_ENCODER + key.removeprefix(prefix): key for key in expected}
    dropped = {key: _why_left(key) for key in stored if key not in encoder}
    return WhisperSource(str(folder), config, token_id, encoder, sources, dropped)


def audio_config(values: dict[str, Any], frames_per_token: int, place: str) -> EmotionQwenAudioConfig:
    """Build the audio side's configuration from a Whisper config.json.

    Raises:
        CheckpointError: another model than Whisper, or sizes that are missing or impossible.
        SettingsError: `frames_per_token` does not divide a window.
    """
    if values.get("model_type") != "whisper":
        raise CheckpointError(
            f"{place}: model_type is {values.get('model_type')!r}, expected 'whisper'; only Whisper's encoder can be "
            "added"
        )
    missing = [name for name in REQUIRED if not isinstance(values.get(name), int) or values[name] < 1]
    if missing:
        raise CheckpointError(
            f"{place}: config.json gives no positive whole number for {', '.join(missing)}; take the original file"
        )
    fields = {name: values[name] for name in (*REQUIRED, *OPTIONAL) if name in values}
    try:
        return EmotionQwenAudioConfig(**fields, frames_per_token=frames_per_token)
    except SettingsError:
        raise
    except (StrictDataclassError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{place}: config.json does not describe a Whisper encoder: {reason}; take the original file"
        ) from error


def encoder_shapes(config: EmotionQwenAudioConfig) -> dict[str, tuple[int, ...]]:
    """Build the encoder without memory and return the name and shape of each of its tensors.

    Raises:
        CheckpointError: the configuration's sizes contradict each other.
    """
    try:
        with torch.device("meta"):
            encoder = EmotionQwenAudioTower(config, 1).encoder
    except (ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"config.json describes no Whisper encoder: {reason}; take the original file") from error
    return {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}


def _why_left(key: str) -> str:
    if "decoder." in key or key.startswith("proj_out."):
        return "Whisper's decoder; only its encoder is used"
    return "no part of Whisper's encoder"
