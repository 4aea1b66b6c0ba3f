"""GGUF files: a language model and its tokenizer in one file, read tensor by tensor with the package `gguf`.

Quantised tensors are turned back into fp32 one at a time, when they are written. llama.cpp stores the rows of a Llama's
query and key in another order, which is undone here; Qwen2's keep theirs. transformers converts the tokenizer; how a
byte-level one splits text before merging is set here, because transformers does not know all the names that
`tokenizer.ggml.pre` can have, and a wrong split gives other tokens without an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from emotion_qwen.convert.language import LanguageSource, check_tensors, text_fields
from emotion_qwen.convert.layouts import TIED_HEAD
from emotion_qwen.convert.shards import ReadableTensor
from emotion_qwen.errors import CheckpointError
from emotion_qwen.extras import optional
from emotion_qwen.model.parts import LANGUAGE

ARCHITECTURES = ("llama", "qwen2")
FIELDS = {
    "context_length": "max_position_embeddings",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "embedding_length": "hidden_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
}
"""Metadata key after the architecture's name -> field of a Hugging Face configuration."""
REQUIRED = tuple(FIELDS)[:5]
EPSILON = "attention.layer_norm_rms_epsilon"
MODULES = {
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
"""Module in a GGUF file -> module of our language model."""
# How text is split before byte pairs are merged, by the names that llama.cpp gives these rules.
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS: dict[str, str] = {
    "gpt-2": "words",
    "smollm": "digits", "starcoder": "digits", "refact": "digits", "command-r": "digits", "codeshell": "digits",
    "qwen2": _WORDS % "", "llama-bpe": _WORDS % "{1,3}", "llama-v3": _WORDS % "{1,3}", "llama3": _WORDS % "{1,3}",
}  # fmt: skip
PROBES = ("Hello, world!", "\n\n1. In 2024 it's  12:30 (x_1 = 10).", "你好，世界", "naïve café 😀")
"""Texts that every tokenizer must reproduce."""


@dataclass(frozen=True, eq=False)
class GgufTensor:
    """A tensor in a GGUF file.

    Attributes:
        stored: gguf's `ReaderTensor`, mapped from the file.
        dtype: float16 or bfloat16 where it is stored so, else float32.
        shape: of the values.
        heads: of a Llama's query or key, whose rows are put back into order; None elsewhere.
    """

    stored: Any
    dtype: torch.dtype
    shape: tuple[int, ...]
    heads: int | None = None

    def read(self) -> torch.Tensor:
        """Read the values, de-quantised.

        Raises:
            CheckpointError: a kind of quantisation that the installed gguf cannot read.
        """
        gguf = optional("gguf", "gguf")
        try:
            values = gguf.dequantize(self.stored.data, self.stored.tensor_type)
        except (NotImplementedError, ValueError) as error:
            raise CheckpointError(
                f"{self.stored.name}: {' '.join(str(error).split())}; take a GGUF file of another quantisation"
            ) from error
        if self.heads is not None:
            rows = len(values)
            values = values.reshape(self.heads, rows // self.heads // 2, 2, -1).swapaxes(1, 2)
        return torch.from_numpy(np.array(values)).reshape(self.shape).to(self.dtype)  # a copy: the file is mapped


def read_gguf(path: Path) -> LanguageSource:
    """Read metadata, tokenizer and tensor table of a GGUF file; no weight is read.

    Raises:
        CheckpointError: no GGUF file or half of one, another architecture, scaled rotary positions, a tokenizer whose
            way of splitting text is not known, or tensors that do not fit the metadata.
        MissingPackage: gguf is not installed.
    """
    reader = _open(path)
    metadata = {name: _value(field) for name, field in reader.fields.items() if name != "tokenizer.ggml.merges"}
    architecture = metadata.get("general.architecture")
    if architecture not in ARCHITECTURES:
        raise CheckpointError(
            f"{path}: a GGUF file of architecture {architecture!r}; expected one of {', '.join(ARCHITECTURES)}"
        )
    stored = {tensor.name: tensor for tensor in reader.tensors}
    text, tied = text_fields(_configuration(architecture, metadata, stored, path), str(path))
    tensors: dict[str, ReadableTensor] = {}
    keys, unexpected = {}, []
    heads = {"attn_q": text["num_attention_heads"], "attn_k": text["num_key_value_heads"]}
    for key, tensor in stored.items():
        name, module = _our_name(key)
        if name is None:
            unexpected.append(key)
            continue
        order = heads.get(module) if architecture == "llama" else None
        shape = tuple(int(size) for size in reversed(tensor.shape))
        tensors[name], keys[name] = GgufTensor(tensor, _dtype(tensor), shape, order), key
    checked = check_tensors(tensors, keys, text, tied, unexpected, str(path))
    tokenizer = _tokenizer(path, metadata)
    return LanguageSource(path, f"{architecture} GGUF", text, tied, checked, keys, {}, tokenizer)


def _open(path: Path) -> Any:
    gguf = optional("gguf", "gguf")
    try:
        reader = gguf.GGUFReader(path)
        end = max((tensor.data_offset + tensor.n_bytes for tensor in reader.tensors), default=0)
    except (OSError, ValueError, KeyError, IndexError, OverflowError, UnicodeDecodeError, MemoryError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: not a complete GGUF file ({reason}); copy or download it again") from error
    if end > path.stat().st_size:
        raise CheckpointError(
            f"{path}: {path.stat().st_size} bytes, but its tensors end at {end}; copy or download it again"
        )
    return reader


def _value(field: Any) -> Any:
    try:
        return field.contents()
    except (IndexError, ValueError, UnicodeDecodeError):
        return None


def _configuration(
    architecture: str, metadata: Mapping[str, Any], stored: Mapping[str, Any], path: Path
) -> dict[str, Any]:
    """Convert a file's metadata to the fields of config.json."""
    absent = [f"{architecture}.{name}" for name in (*REQUIRED, EPSILON) if f"{architecture}.{name}" not in metadata]
    if absent or "token_embd.weight" not in stored:
        lacking = ", ".join(absent) or "token_embd.weight"
        raise CheckpointError(f"{path}: no {lacking}; copy or download the file again")
    scaling = metadata.get(f"{architecture}.rope.scaling.type", "none")
    if scaling != "none" or "rope_freqs.weight" in stored:
        kind = f"of type {scaling!r}" if scaling != "none" else "by factors (rope_freqs.weight)"
        raise CheckpointError(
            f"{path}: its rotary positions are scaled {kind}; convert the safetensors checkpoint instead, whose "
            "config.json describes the scaling"
        )
    values = {
        name: metadata[f"{architecture}.{key}"] for key, name in FIELDS.items() if f"{architecture}.{key}" in metadata
    }
    head_dim = values["hidden_size"] // values["num_attention_heads"]
    turned = metadata.get(f"{architecture}.rope.dimension_count", head_dim)
    if turned != head_dim:
        raise CheckpointError(f"{path}: {turned} of {head_dim} values of a head carry positions; all of them must")
    return {
        **values,
        "rms_norm_eps": float(f"{values['rms_norm_eps']:.6g}"),  # stored as fp32
        "model_type": architecture,
        "vocab_size": int(stored["token_embd.weight"].shape[1]),
        "tie_word_embeddings": "output.weight" not in stored,
    }


def _our_name(key: str) -> tuple[str | None, str]:
    """Turn `blk.3.attn_q.weight` into our name; None for a tensor that our language model does not have."""
    *place, module, kind = key.split(".") if key.count(".") else ("", key, "")
    if (place, module) == ([], "output"):
        return (TIED_HEAD if kind == "weight" else None), module
    if module not in MODULES or kind not in ("weight", "bias"):
        return None, module
    if not place:
        return f"{LANGUAGE}{MODULES[module]}.{kind}", module
    if len(place) == 2 and place[0] == "blk" and place[1].isdecimal():
        return f"{LANGUAGE}layers.{place[1]}.{MODULES[module]}.{kind}", module
    return None, module


def _dtype(tensor: Any) -> torch.dtype:
    return {"F16": torch.float16, "BF16": torch.bfloat16}.get(tensor.tensor_type.name, torch.float32)


def _tokenizer(path: Path, metadata: Mapping[str, Any]) -> PreTrainedTokenizerBase:
    """Convert the tokenizer, set how it splits text, and check that it has the file's tokens and loses no text."""
    kind, split = metadata.get("tokenizer.ggml.model"), str(metadata.get("tokenizer.ggml.pre"))
    if kind == "gpt2" and split not in SPLITS:
        raise CheckpointError(
            f"{path}: its tokenizer splits text by the rule {split!r}; expected one of {', '.join(SPLITS)}. Convert "
            "the safetensors checkpoint instead, which has a tokenizer.json"
        )
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(path.parent, gguf_file=path.name)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path}: its tokenizer cannot be converted ({reason}); take another file") from error
    if kind == "gpt2":
        backend = tokenizer.backend_tokenizer
        backend.pre_tokenizer = _split(SPLITS[split])
        backend.normalizer = normalizers.NFC() if split == "qwen2" else None  # type: ignore[assignment]
        backend.model.ignore_merges = split.startswith("llama")  # type: ignore[attr-defined]
    tokens = metadata["tokenizer.ggml.tokens"]
    known = tokenizer.get_vocab()
    differing = [token for number, token in enumerate(tokens) if known.get(token) != number]
    if differing or len(known) != len(tokens):
        raise CheckpointError(
            f"{path}: {len(differing) or abs(len(known) - len(tokens))} of its {len(tokens)} tokens have other ids "
            "after conversion; convert the safetensors checkpoint instead"
        )
    for text in PROBES:
        back = tokenizer.decode(tokenizer.encode(text, add_special_tokens=False), clean_up_tokenization_spaces=False)
        if back.strip() != text.strip():
            raise CheckpointError(
                f"{path}: its converted tokenizer turns {text!r} into {back!r}; convert the safetensors checkpoint "
                "instead"
            )
    return tokenizer


def _split(rule: str) -> Any:
    if rule == "words":
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    if rule == "digits":
        return pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(rule), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
