"""Convert a text-only checkpoint to a folder of this package: its language model, with another vision transformer.

The vision transformer is copied from another folder, or new in the size of the preset `mini`. The experts after it are
also copied if their output has the width of this language model; otherwise they are new. The result therefore cannot
use pictures until it is trained, while text has the same logits as in the source.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emotion_qwen.convert.conversion import (
    KeyReport,
    WriteOptions,
    parse_config,
    read_config,
    write_mapped,
)
from emotion_qwen.convert.language import LanguageSource
from emotion_qwen.convert.layouts import EMBEDDING, TIED_HEAD, KeyMap, expected_shapes, key_map
from emotion_qwen.convert.shards import ReadableTensor, read_tensors
from emotion_qwen.convert.special_tokens import GrownTensor, PlacedTokens, place_tokens
from emotion_qwen.convert.text_sources import read_language
from emotion_qwen.errors import CheckpointError
from emotion_qwen.model.configuration import EmotionQwenConfig
from emotion_qwen.model.parts import ACTIONS, EMOTION, GATE, GENERAL, VISION
from emotion_qwen.model.presets import PRESETS
from emotion_qwen.model.source import NANO
from emotion_qwen.processing.folder import load_processor, save_over
from emotion_qwen.processing.processor import EmotionQwenProcessor

PRESET = "mini"
GATE_FIELDS = ("gate_mode", "gate_pool", "gate_num_heads", "gate_hidden_size", "gate_threshold")
NOTICES = ("LICENSE", "NOTICE")


def convert_text_model(
    source: Path,
    target: Path,
    *,
    vision: Path | None = None,
    further_tokens: Sequence[str] = (),
    fresh_gate: bool = False,
    **options: Any,
) -> KeyReport:
    """Convert a text-only checkpoint.

    Args:
        source: a folder of a Llama or Qwen2 model with safetensors weights and tokenizer, or a GGUF file of one.
        target: folder to make; it must not exist or be empty.
        vision: folder of this package or of Qwen2.5-VL with the vision transformer and image processor to use; None
            makes a new vision transformer of the preset `mini`.
        further_tokens: plain tokens to add to the tokenizer; each row starts at the mean of its pieces.
        fresh_gate: start a new gate although `vision` has one.
        options: of `WriteOptions`, without `finish`.

    Returns:
        The report for every key, and the embedding row of each of our tokens.

    Raises:
        CheckpointError: as of `conversion.convert` and `read_language`.
        SettingsError: an unknown dtype.
        MissingPackage: the source is a GGUF file and gguf is not installed.
    """
    source, target = Path(source), Path(target)
    WriteOptions(**options).check(target)
    language = read_language(source)
    placed = place_tokens(
        language.tokenizer, language.text["vocab_size"], language.text["max_position_embeddings"], further_tokens
    )
    config, seeing, keys = _vision(vision, language, fresh_gate)
    pictures = load_processor(vision or NANO)
    processor = EmotionQwenProcessor(
        pictures.image_processor, placed.tokenizer, clip_settings=pictures.clip_settings, hearing_settings=None
    )
    config.text_config.vocab_size = placed.rows
    processor.name_tokens(config)
    config.dtype = language.tensors[EMBEDDING].dtype
    writing = WriteOptions(**options, finish=lambda folder: save_over(processor, folder))
    tensors = {**seeing, **language_tensors(language, placed)}
    shapes = expected_shapes(config)
    fresh = tuple(name for name in shapes if name not in tensors)
    cloned = tuple(name for name in keys if name.startswith(EMOTION) and keys[name] == keys[_general(name)])
    mapping = KeyMap(language.layout, config, shapes, {**keys, **language.keys}, cloned, fresh, language.dropped)
    return write_mapped(
        source,
        target,
        mapping,
        tensors,
        writing,
        companions=NOTICES,
        vision=None if vision is None else str(vision),
        tokens=_origins(placed, language.text["vocab_size"]),
    )


def language_tensors(language: LanguageSource, placed: PlacedTokens) -> dict[str, ReadableTensor]:
    """Return the tensors of a language model whose embedding has a row for every token."""
    tensors = dict(language.tensors)
    for name in (EMBEDDING, TIED_HEAD):
        if name in tensors and placed.rows > tensors[name].shape[0]:
            tensors[name] = GrownTensor(tensors[name], placed.rows, placed.pieces)
    return tensors


def _general(name: str) -> str:
    return GENERAL + name.removeprefix(EMOTION)


def _vision(
    folder: Path | None, language: LanguageSource, fresh_gate: bool
) -> tuple[EmotionQwenConfig, dict[str, ReadableTensor], dict[str, str]]:
    """Return the configuration of the whole model, and the tensors before the language model with their source keys."""
    text, width = language.text, language.text["hidden_size"]
    if folder is None:
        made = PRESETS[PRESET]
        seen = {**made["vision_config"], "out_hidden_size": width}
        gate = {name: made[name] for name in GATE_FIELDS if name in made}
        whole = EmotionQwenConfig(text_config=text, vision_config=seen, tie_word_embeddings=language.tied, **gate)
        return whole, {}, {}
    other = parse_config(read_config(folder))
    stored = read_tensors(folder)
    mapping = key_map({key: tensor.shape for key, tensor in stored.items()}, other, fresh_gate=fresh_gate)
    seen = {key: value for key, value in other.vision_config.to_dict().items() if key not in ("model_type", "dtype")}
    taken = [VISION, GATE, ACTIONS]
    if seen["out_hidden_size"] == width:
        taken += [GENERAL, EMOTION]
    keys = {name: key for name, key in mapping.sources.items() if name.startswith(tuple(taken))}
    if not any(name.startswith(VISION) for name in keys):
        raise CheckpointError(f"{folder}: no vision transformer; give a folder of this package or of Qwen2.5-VL")
    kept = {name: getattr(other, name) for name in (*GATE_FIELDS, "facial_actions")}
    seen["out_hidden_size"] = width
    whole = EmotionQwenConfig(text_config=text, vision_config=seen, tie_word_embeddings=language.tied, **kept)
    return whole, {name: stored[key] for name, key in keys.items()}, keys


def _origins(placed: PlacedTokens, rows: int) -> dict[str, str]:
    """Describe the source of the embedding row of every token with a new meaning."""
    names = {number: placed.tokenizer.convert_ids_to_tokens(number) for number, _ in placed.pieces}
    return {name: f"id {number}, {_origin(name, number, placed, rows)}" for number, name in names.items()}


def _origin(name: str, number: int, placed: PlacedTokens, rows: int) -> str:
    if name in placed.reused:
        return f"which was {placed.reused[name]}"
    return "an unused row" if number < rows else "a new row, the mean of its pieces"
