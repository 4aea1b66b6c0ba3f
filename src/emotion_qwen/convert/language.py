"""A text-only checkpoint as our language model: Llama or Qwen2, in a safetensors folder or a GGUF file.

Qwen2.5-VL's language model is a Llama with biases on query, key and value, and with rotary positions on three axes. On
text the three axes are equal, so a Llama with zero biases gives the same logits, whatever the `mrope_section`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import LlamaConfig, PreTrainedTokenizerBase, Qwen2Config

from emotion_qwen.convert.layouts import EMBEDDING, TIED_HEAD
from emotion_qwen.convert.shards import ReadableTensor
from emotion_qwen.errors import CheckpointError
from emotion_qwen.model.folder import key_faults
from emotion_qwen.model.parts import LANGUAGE

TEXT_MODELS = {"llama": LlamaConfig, "qwen2": Qwen2Config}
"""model_type -> configuration class of the text models that are read."""
KEPT = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "hidden_act", "max_position_embeddings", "initializer_range", "rms_norm_eps", "attention_dropout",
)  # fmt: skip
ROPE_TYPES = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary positions that do not depend on the length of the text."""
QWEN_SECTIONS = (16, 24, 24)
BIASES = tuple(f"self_attn.{name}_proj.bias" for name in "qkv")


@dataclass(frozen=True)
class LanguageSource:
    """The language model of a text-only checkpoint, ready to be written into a model of this package.

    Attributes:
        source: the folder or file.
        layout: name of its kind in reports, for example "llama" or "llama GGUF".
        text: fields of our text configuration.
        tied: the embedding serves as output projection.
        tensors: name in our model -> where its values are read; zero biases are absent.
        keys: name in our model -> key in the source.
        dropped: source keys that are not carried over, with the reason.
        tokenizer: as the source has it.
    """

    source: Path
    layout: str
    text: dict[str, Any]
    tied: bool
    tensors: dict[str, ReadableTensor]
    keys: dict[str, str]
    dropped: dict[str, str]
    tokenizer: PreTrainedTokenizerBase


@dataclass(frozen=True)
class ZeroTensor:
    """A tensor of zeros: a bias that the source lacks."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    def read(self) -> torch.Tensor:
        """Make the zeros."""
        return torch.zeros(self.shape, dtype=self.dtype)


def text_fields(values: Mapping[str, Any], place: str) -> tuple[dict[str, Any], bool]:
    """Turn a text model's configuration into the fields of our text configuration.

    Args:
        values: the parsed config.json, or a GGUF file's metadata in its form.
        place: name of the source in messages.

    Returns:
        The fields, with an `mrope_section` in the proportion of Qwen's, and whether the embeddings are tied.

    Raises:
        CheckpointError: another architecture, or something that Qwen2.5-VL's language model does not have.
    """
    kind = values.get("model_type")
    if kind not in TEXT_MODELS:
        raise CheckpointError(f"{place}: model_type is {kind!r}, expected one of {', '.join(TEXT_MODELS)}")
    try:
        config = TEXT_MODELS[kind](**{key: value for key, value in values.items() if key != "model_type"})
    except (StrictDataclassError, TypeError, ValueError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{place}: its configuration does not describe a {kind} model ({reason}); take the original file"
        ) from error
    hidden, heads = config.hidden_size, config.num_attention_heads
    if hidden % heads or (getattr(config, "head_dim", None) or hidden // heads) != hidden // heads:
        raise CheckpointError(
            f"{place}: head_dim is {config.head_dim}, but Qwen2.5-VL's attention needs hidden_size / "
            f"num_attention_heads, {hidden} / {heads}; this checkpoint cannot be converted"
        )
    for field in ("attention_bias", "mlp_bias", "use_sliding_window"):
        if getattr(config, field, False):
            raise CheckpointError(
                f"{place}: {field} is set, which Qwen2.5-VL's language model does not have; this checkpoint cannot be "
                "carried over"
            )
    fields = {name: getattr(config, name) for name in KEPT}
    fields["max_window_layers"] = config.num_hidden_layers
    fields["bos_token_id"] = fields["eos_token_id"] = None  # Qwen's by default; the processor names them
    fields["rope_parameters"] = _rope(config, hidden // heads, place)
    return fields, bool(config.tie_word_embeddings)


def _rope(config: Any, head_dim: int, place: str) -> dict[str, Any]:
    rope = dict(config.rope_parameters or {})
    kind = rope.get("rope_type", "default")
    if kind not in ROPE_TYPES or rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise CheckpointError(
            f"{place}: its rotary positions are of the kind {rope}; only {', '.join(ROPE_TYPES)} over the whole head "
            "can be carried over"
        )
    return {**rope, "mrope_section": mrope_section(head_dim, place)}


def mrope_section(head_dim: int, place: str) -> list[int]:
    """Divide half a head among time, height and width in the proportion of Qwen2.5-VL's 16, 24 and 24.

    Raises:
        CheckpointError: the head is too small or odd.
    """
    half, whole = head_dim // 2, sum(QWEN_SECTIONS)
    time, height = (round(half * part / whole) for part in QWEN_SECTIONS[:2])
    sections = [time, height, half - time - height]
    if head_dim % 2 or min(sections) < 1:
        raise CheckpointError(f"{place}: heads of {head_dim} values; three axes of positions need an even 6 or more")
    return sections


def check_tensors(
    tensors: Mapping[str, ReadableTensor],
    keys: Mapping[str, str],
    text: Mapping[str, Any],
    tied: bool,
    unexpected: list[str],
    place: str,
) -> dict[str, ReadableTensor]:
    """Compare tensors with the configuration, and add zero biases where the source has none.

    Raises:
        CheckpointError: unexpected, missing or wrongly shaped tensors; all of them are named.
    """
    expected = language_shapes(text, tied)
    biases = {name for name in expected if name.endswith(BIASES)}
    absent = biases - tensors.keys()
    wrong = [
        f"{keys[name]} {tensors[name].shape} instead of {shape}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ]
    faults = key_faults(
        {
            "missing tensors": [_plain(name) for name in expected if name not in tensors.keys() | absent],
            "unexpected tensors": [*unexpected, *(keys[name] for name in tensors if name not in expected)],
            "wrong shapes": wrong,
        },
        6,
    )
    if faults:
        raise CheckpointError(
            f"{place}: the weights do not fit the configuration: {faults}. Take both from the same checkpoint"
        )
    dtype = tensors[EMBEDDING].dtype
    zeros = {name: ZeroTensor(dtype, expected[name]) for name in absent}
    return {name: tensors[name] if name in tensors else zeros[name] for name in expected}


def language_shapes(text: Mapping[str, Any], tied: bool) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of our language model and its output projection."""
    hidden, mlp, rows = text["hidden_size"], text["intermediate_size"], text["vocab_size"]
    head_dim = hidden // text["num_attention_heads"]
    narrow = head_dim * (text["num_key_value_heads"] or text["num_attention_heads"])
    shapes: dict[str, tuple[int, ...]] = {EMBEDDING: (rows, hidden)}
    for layer in range(text["num_hidden_layers"]):
        for part, shape in (
            ("self_attn.q_proj.weight", (hidden, hidden)), ("self_attn.q_proj.bias", (hidden,)),
            ("self_attn.k_proj.weight", (narrow, hidden)), ("self_attn.k_proj.bias", (narrow,)),
            ("self_attn.v_proj.weight", (narrow, hidden)), ("self_attn.v_proj.bias", (narrow,)),
            ("self_attn.o_proj.weight", (hidden, hidden)),
            ("mlp.gate_proj.weight", (mlp, hidden)), ("mlp.up_proj.weight", (mlp, hidden)),
            ("mlp.down_proj.weight", (hidden, mlp)),
            ("input_layernorm.weight", (hidden,)), ("post_attention_layernorm.weight", (hidden,)),
        ):  # fmt: skip
            shapes[f"{LANGUAGE}layers.{layer}.{part}"] = shape
    shapes[f"{LANGUAGE}norm.weight"] = (hidden,)
    return shapes if tied else {**shapes, TIED_HEAD: (rows, hidden)}


def _plain(name: str) -> str:
    return name.replace(LANGUAGE, "model.", 1)
