"""The encoder of a Whisper checkpoint folder: names and shapes, read before any weights.

Folders as transformers saves them, whole (`model.encoder.*` or `encoder.*`) or the encoder alone (bare names), and
folders in CTranslate2's format (`ctranslate2.py`) are read. The decoder is left out, because the language model
generates the words. Weights keep their values; only the compressor after the encoder is new.

An encoder can be cut. Its first layers contain more information about how something is said than the last ones, which
represent words, and they cost less. Its position vectors are sinusoids that depend on the position alone, so their
beginning suits a shorter window. The norm after the last layer is kept: it scales the frames as the compressor expects,
whichever layer they come from, and the cut model is still a Whisper encoder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError

from emotion_qwen.convert.ctranslate2 import PackedTensor
from emotion_qwen.convert.shards import StoredTensor
from emotion_qwen.errors import CheckpointError, SettingsError
from emotion_qwen.model.audio import EmotionQwenAudioTower
from emotion_qwen.model.configuration import ENCODER_FRAME_SECONDS, EmotionQwenAudioConfig
from emotion_qwen.model.folder import key_faults
from emotion_qwen.model.parts import AUDIO_ENCODER

PREFIXES = ("model.encoder.", "encoder.", "")
"""Prefixes of the encoder's keys in a checkpoint; the first that matches is used."""
# The fields of the encoder. The other fields of a Whisper configuration describe its decoder and its tokens.
REQUIRED = (
    "d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim", "num_mel_bins", "max_source_positions",
)  # fmt: skip
OPTIONAL = (
    "activation_function", "dropout", "attention_dropout", "activation_dropout", "encoder_layerdrop", "init_std",
    "scale_embedding",
)  # fmt: skip
POSITIONS = "embed_positions.weight"
LAYER_KEY = re.compile(r"layers\.(\d+)\.")
LISTED = 6


@dataclass(frozen=True)
class EncoderCut:
    """The part of an encoder to use, and how its frames become tokens.

    Attributes:
        frames_per_token: encoder frames (20 ms each) that become one audio token.
        layers: number of first layers; None uses all.
        seconds: length of a window; None takes the encoder's own, 30 s in every published Whisper.
        group_features: input of the compressor from the frames of a token: "frames" or "statistics".
    """

    frames_per_token: int = 4
    layers: int | None = None
    seconds: float | None = None
    group_features: str = "frames"


@dataclass(frozen=True)
class WhisperSource:
    """The encoder of a Whisper checkpoint, ready to be written into a model of this package.

    Attributes:
        folder: the checkpoint.
        config: configuration of the audio tower.
        token_id: of the placeholder that audio tokens replace.
        stored: source key -> tensor, of the encoder alone.
        sources: name in our model -> source key.
        dropped: source keys that are not carried over, with the reason.
    """

    folder: str
    config: EmotionQwenAudioConfig
    token_id: int
    stored: dict[str, StoredTensor | PackedTensor]
    sources: dict[str, str]
    dropped: dict[str, str]


def read_whisper(
    folder: Path,
    values: dict[str, Any],
    stored: Mapping[str, StoredTensor | PackedTensor],
    cut: EncoderCut,
    token_id: int,
) -> WhisperSource:
    """Map the encoder of a Whisper checkpoint by its headers; no weight is read.

    Args:
        folder: the checkpoint, for messages.
        values: its parsed config.json.
        stored: its tensors by their names in transformers.
        cut: how much of the encoder is taken.
        token_id: id of the audio placeholder in the tokenizer of the resulting model.

    Raises:
        CheckpointError: another model than Whisper, or keys or shapes that are not what config.json says; all of them
            are named.
        SettingsError: `cut` exceeds the encoder, or its groups do not divide a window.
    """
    whole = audio_config(values, EncoderCut(1), str(folder))
    config = audio_config(values, cut, str(folder))
    prefix = next(prefix for prefix in PREFIXES if any(key.startswith(prefix) for key in stored) or not prefix)
    encoder = {key: tensor for key, tensor in stored.items() if key.startswith(prefix)}
    expected = {prefix + name: shape for name, shape in encoder_shapes(whole).items()}
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
    taken = [key for key in expected if _layer(key.removeprefix(prefix)) < config.encoder_layers]
    encoder[prefix + POSITIONS] = encoder[prefix + POSITIONS].rows(0, config.max_source_positions)
    sources = {AUDIO_ENCODER + key.removeprefix(prefix): key for key in taken}
    dropped = {key: _why_left(key) for key in stored if key not in encoder}
    dropped.update({key: f"after the first {config.encoder_layers} layers" for key in expected if key not in taken})
    return WhisperSource(str(folder), config, token_id, encoder, sources, dropped)


def _layer(name: str) -> int:
    """Return the number of the layer that a tensor of the encoder belongs to, -1 for none."""
    match = LAYER_KEY.match(name)
    return int(match[1]) if match else -1


def audio_config(values: dict[str, Any], cut: EncoderCut, place: str) -> EmotionQwenAudioConfig:
    """Build the audio tower's configuration from a Whisper config.json.

    Raises:
        CheckpointError: another model than Whisper, or sizes that are missing or impossible.
        SettingsError: more layers or a longer window than the encoder has, a window that is no whole number of frames,
            or `frames_per_token` does not divide it.
    """
    if values.get("model_type") != "whisper":
        raise CheckpointError(
            f"{place}: model_type is {values.get('model_type')!r}, expected 'whisper'; only Whisper's encoder can be "
            "added"
        )
    missing = [name for name in REQUIRED if not isinstance(values.get(name), int) or values[name] < 1]
    if missing:
        raise CheckpointError(
            f"{place}: config.json has no positive whole number for {', '.join(missing)}; take the original file"
        )
    fields = {name: values[name] for name in (*REQUIRED, *OPTIONAL) if name in values} | _cut(values, cut)
    try:
        return EmotionQwenAudioConfig(
            **fields, frames_per_token=cut.frames_per_token, group_features=cut.group_features
        )
    except SettingsError:
        raise
    except (StrictDataclassError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{place}: config.json does not describe a Whisper encoder: {reason}; take the original file"
        ) from error


def _cut(values: dict[str, Any], cut: EncoderCut) -> dict[str, int]:
    """Return the fields of a configuration that a cut changes."""
    layers, positions = values["encoder_layers"], values["max_source_positions"]
    if cut.layers is not None and not 1 <= cut.layers <= layers:
        raise SettingsError(f"the first {cut.layers} encoder layers were requested; expected 1 to {layers}")
    seconds = positions * ENCODER_FRAME_SECONDS
    wanted = seconds if cut.seconds is None else cut.seconds
    frames = round(wanted / ENCODER_FRAME_SECONDS)
    if not 1 <= frames <= positions or abs(frames * ENCODER_FRAME_SECONDS - wanted) > 1e-6:
        raise SettingsError(
            f"a window of {wanted:g} s was requested; expected a multiple of {ENCODER_FRAME_SECONDS} s up to "
            f"{seconds:g} s, the encoder's maximum"
        )
    return {"encoder_layers": cut.layers or layers, "max_source_positions": frames}


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
    if "decoder." in key or key.startswith(("decoder/", "proj_out.")):
        return "Whisper's decoder; only its encoder is used"
    return "not part of Whisper's encoder"
