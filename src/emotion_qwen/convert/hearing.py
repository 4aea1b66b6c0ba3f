"""Add audio input: Whisper's encoder to the weights, audio tokens and `hearing_settings` to the processor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emotion_qwen.convert.conversion import KeyReport, convert, read_config
from emotion_qwen.convert.ctranslate2 import WEIGHTS, PackedTensor, read_ctranslate2
from emotion_qwen.convert.shards import StoredTensor, read_tensors
from emotion_qwen.convert.whisper import EncoderCut, audio_config, read_whisper
from emotion_qwen.errors import CheckpointError
from emotion_qwen.model.configuration import ENCODER_FRAME_SECONDS, EmotionQwenAudioConfig
from emotion_qwen.processing.chat import AUDIO_TOKENS
from emotion_qwen.processing.folder import load_processor, ours_from, save_over
from emotion_qwen.processing.processor import EmotionQwenProcessor

WHOLE = EncoderCut()


def convert_with_whisper(
    source: Path, target: Path, whisper: Path, *, cut: EncoderCut = WHOLE, **options: Any
) -> KeyReport:
    """Convert a checkpoint folder as `conversion.convert` does, and add the encoder of a Whisper checkpoint.

    The encoder's weights are copied unchanged, with integers de-quantised. The compressor that turns its frames into
    tokens is new, so the model cannot use audio until it is trained; without audio it answers like the source. The
    folder also gets the processor, with `hearing_settings` and this package's chat template.

    Args:
        source: as of `convert`, with tokenizer and image processor.
        target: folder to make.
        whisper: folder with config.json and safetensors weights, as transformers saves Whisper: whole, or its encoder;
            or with a model.bin in CTranslate2's format, as faster-whisper uses it.
        cut: how much of the encoder is taken.
        options: as of `convert`.

    Raises:
        CheckpointError: as of `convert`; a Whisper folder that cannot be read or does not fit its config.json; a source
            without processor, or without free rows for the audio tokens.
        SettingsError: `cut` exceeds the encoder, or `frames_per_token` does not divide a window.
    """
    source, whisper = Path(source), Path(whisper)
    stored: Mapping[str, StoredTensor | PackedTensor]
    if (whisper / WEIGHTS).is_file():
        values, stored = read_ctranslate2(whisper)
    else:
        values, stored = read_config(whisper), read_tensors(whisper)
    config = audio_config(values, cut, str(whisper))
    processor = hearing_processor(source, config)
    encoder = read_whisper(whisper, values, stored, cut, processor.audio_token_id)
    return convert(source, target, whisper=encoder, finish=lambda folder: save_over(processor, folder), **options)


def hearing_processor(source: Path, config: EmotionQwenAudioConfig) -> EmotionQwenProcessor:
    """Load a folder's processor and add the settings and tokens for this audio tower.

    Raises:
        CheckpointError: the folder has no processor, or its model has no rows for the audio tokens.
    """
    values = read_config(source)
    processor = load_processor(source)
    tokenizer = processor.tokenizer
    tokenizer.add_tokens(list(AUDIO_TOKENS), special_tokens=True)  # known tokens stay unchanged
    rows = (values.get("text_config") or values).get("vocab_size", 0)
    if len(tokenizer) > rows:
        raise CheckpointError(
            f"{source}: the model has {rows} token rows and its tokenizer would have {len(tokenizer)} tokens with "
            f"{', '.join(AUDIO_TOKENS)}; resize the embedding first"
        )
    return ours_from(processor, hearing_settings(config))


def hearing_settings(config: EmotionQwenAudioConfig) -> dict[str, Any]:
    """Return the processor's `hearing_settings` for an audio tower."""
    return {
        "mels": config.num_mel_bins,
        "window_seconds": config.max_source_positions * ENCODER_FRAME_SECONDS,
        "frames_per_token": config.frames_per_token,
    }
