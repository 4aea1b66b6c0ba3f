"""The text-only checkpoints that are read: a safetensors folder of a Llama or Qwen2, or a GGUF file of one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from emotion_qwen.convert.conversion import read_config
from emotion_qwen.convert.gguf_file import read_gguf
from emotion_qwen.convert.language import TEXT_MODELS, LanguageSource, check_tensors, text_fields
from emotion_qwen.convert.layouts import COMPUTED, TIED_HEAD
from emotion_qwen.convert.shards import ReadableTensor, StoredTensor, read_tensors, same_bytes
from emotion_qwen.errors import CheckpointError
from emotion_qwen.model.folder import read_json
from emotion_qwen.model.parts import HEAD, LANGUAGE
from emotion_qwen.model.source import GGUF_SUFFIX, TOKENIZER_FILES


def is_text_source(source: Path) -> bool:
    """Return whether a path is a GGUF file, or a folder whose config.json is that of a supported text model."""
    if source.is_file():
        return source.suffix.lower() == GGUF_SUFFIX
    path = source / "config.json"
    return path.is_file() and read_json(path).get("model_type") in TEXT_MODELS


def read_language(source: Path) -> LanguageSource:
    """Read names and shapes of a text-only checkpoint, and its tokenizer; no weight is read.

    Args:
        source: a folder with config.json, safetensors weights and tokenizer, or a GGUF file.

    Raises:
        CheckpointError: a source that is incomplete or damaged, another architecture, or one that Qwen2.5-VL's language
            model cannot express, such as scaled rotary positions of a kind that depends on the text's length.
        MissingPackage: the source is a GGUF file and gguf is not installed.
    """
    if source.is_file():
        return read_gguf(source)
    values = read_config(source)
    text, tied = text_fields(values, str(source))
    stored = read_tensors(source)
    tensors: dict[str, ReadableTensor] = {}
    keys, dropped, unexpected = {}, {}, []
    for key, tensor in stored.items():
        if COMPUTED.search(key):
            dropped[key] = "computed from the configuration"
        elif key == TIED_HEAD and tied:
            _check_tied_head(stored)
            dropped[key] = "tied to the embedding"
        elif key.startswith("model."):
            name = LANGUAGE + key.removeprefix("model.")
            tensors[name], keys[name] = tensor, key
        elif key.startswith(HEAD):
            tensors[key], keys[key] = tensor, key
        else:
            unexpected.append(key)
    checked = check_tensors(tensors, keys, text, tied, unexpected, str(source))
    return LanguageSource(source, values["model_type"], text, tied, checked, keys, dropped, _load_tokenizer(source))


def _check_tied_head(stored: Mapping[str, StoredTensor]) -> None:
    embedding = stored.get("model.embed_tokens.weight")
    if embedding is not None and not same_bytes(stored[TIED_HEAD], embedding):
        raise CheckpointError(
            f"{TIED_HEAD} differs from the embedding although config.json sets tie_word_embeddings; "
            "set it to false there to keep both"
        )


def _load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a folder, by transformers' class for all that the `tokenizers` library reads."""
    if not (folder / TOKENIZER_FILES[0][0]).is_file():
        raise CheckpointError(
            f"{folder}: no {TOKENIZER_FILES[0][0]}; copy the tokenizer's files from the model that the weights come "
            "from"
        )
    try:
        return PreTrainedTokenizerFast.from_pretrained(folder)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{folder}: its tokenizer cannot be loaded ({reason}); copy its files again") from error
