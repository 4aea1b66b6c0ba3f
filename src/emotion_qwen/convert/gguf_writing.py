"""Write the language model of an Emotion-Qwen as a GGUF file, for programs that only need text.

The file has the architecture `qwen2`: for text, the multimodal rotary positions of Qwen2.5-VL are the plain ones.
Vision transformer, compressor and audio encoder have no form in GGUF and are left out, so the file takes no pictures
and no sound. Matrices are quantised with the package `gguf` of llama.cpp; norms and biases stay in float32.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from emotion_qwen.convert.gguf_file import MODULES, SPLITS
from emotion_qwen.errors import CheckpointError, SettingsError, unknown_choice
from emotion_qwen.extras import optional
from emotion_qwen.files import staged
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.model.parts import LANGUAGE

KINDS = {"f32": "F32", "f16": "F16", "bf16": "BF16", "q8_0": "Q8_0", "q5_1": "Q5_1", "q5_0": "Q5_0", "q4_1": "Q4_1"}
KINDS |= {"q4_0": "Q4_0"}
"""Name on the command line -> type of gguf for matrices."""
NAMES = {ours: theirs for theirs, ours in MODULES.items()}
"""Module of our language model -> module in a GGUF file."""
NORMAL, CONTROL, UNUSED = 1, 3, 5
"""Types of tokens in a GGUF file."""


def write_gguf(
    model: EmotionQwenForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, target: Path, kind: str
) -> None:
    """Write the language model and its tokenizer.

    Args:
        model: whole.
        tokenizer: of the model; byte-level BPE with a rule for splitting text that GGUF has a name for.
        target: the file.
        kind: of the matrices, a key of `KINDS`. One whose rows are not divisible into blocks is stored in float16.

    Raises:
        CheckpointError: the tokenizer or the rotary positions have no form in GGUF.
        MissingPackage: gguf is not installed.
        SettingsError: an unknown kind.
    """
    if kind not in KINDS:
        raise SettingsError(unknown_choice("gguf", kind, KINDS))
    gguf = optional("gguf", "gguf")
    text = model.config.text_config
    if (positions := text.rope_parameters.get("rope_type", "default")) != "default":
        raise CheckpointError(f"rotary positions of type {positions!r} cannot be written as GGUF; only plain ones can")
    rule, vocabulary = _tokenizer(tokenizer)
    with staged(target) as draft:
        writer = gguf.GGUFWriter(str(draft), "qwen2")
        writer.add_name(target.stem)
        writer.add_context_length(text.max_position_embeddings)
        writer.add_block_count(text.num_hidden_layers)
        writer.add_embedding_length(text.hidden_size)
        writer.add_feed_forward_length(text.intermediate_size)
        writer.add_head_count(text.num_attention_heads)
        writer.add_head_count_kv(text.num_key_value_heads)
        writer.add_layer_norm_rms_eps(text.rms_norm_eps)
        writer.add_rope_freq_base(text.rope_parameters["rope_theta"])
        _add_tokenizer(writer, tokenizer, rule, vocabulary, text.vocab_size)
        for name, values in tensors(model):
            wanted = gguf.GGMLQuantizationType[KINDS[kind]] if values.ndim == 2 else gguf.GGMLQuantizationType.F32
            if values.shape[-1] % gguf.GGML_QUANT_SIZES[wanted][0]:
                wanted = gguf.GGMLQuantizationType.F16
            writer.add_tensor(name, gguf.quantize(values, wanted), raw_dtype=wanted)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def tensors(model: EmotionQwenForConditionalGeneration) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name in GGUF and the float32 values of every tensor of the language model; a tied head is left out."""
    for key, tensor in model.state_dict().items():
        if key == "lm_head.weight":
            name = None if model.config.tie_word_embeddings else "output.weight"
        elif key.startswith(LANGUAGE):
            *place, kind = key.removeprefix(LANGUAGE).split(".")
            block = f"blk.{place[1]}." if place[0] == "layers" else ""
            module = ".".join(place[2:] if block else place)
            name = f"{block}{NAMES[module]}.{kind}"
        else:
            continue
        if name is not None:
            yield name, tensor.detach().to(torch.float32).cpu().contiguous().numpy()


def _tokenizer(tokenizer: PreTrainedTokenizerBase) -> tuple[str, dict[str, Any]]:
    """Return the name in GGUF of how a tokenizer splits text, and its description.

    Raises:
        CheckpointError: there is no such name.
    """
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    splits = described.get("pre_tokenizer") or {}
    steps = splits.get("pretokenizers", [splits])
    patterns = [step["pattern"].get("Regex") for step in steps if step.get("type") == "Split"]
    kinds = [step.get("type") for step in steps]
    rule = None
    if described["model"]["type"] == "BPE" and kinds[-1:] == ["ByteLevel"]:
        if len(patterns) == 1 and len(kinds) == 2:
            rule = next((name for name, pattern in SPLITS.items() if pattern == patterns[0]), None)
        elif kinds == ["ByteLevel"]:
            rule = "gpt-2"
        elif kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits"):
            rule = "smollm"
    if rule is None:
        raise CheckpointError(
            f"the tokenizer splits text by {' and '.join(map(str, kinds))}, for which GGUF has no name; only models "
            f"with the rules of {', '.join(dict.fromkeys(SPLITS))} can be written"
        )
    return rule, described


def _add_tokenizer(
    writer: Any, tokenizer: PreTrainedTokenizerBase, rule: str, described: dict[str, Any], rows: int
) -> None:
    added = tokenizer.added_tokens_decoder
    by_number = {number: token for token, number in tokenizer.get_vocab().items()}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(rule)
    writer.add_token_list([by_number.get(number, f"[PAD{number}]") for number in range(rows)])
    kinds = {number: CONTROL if token.special else NORMAL for number, token in added.items()}
    writer.add_token_types([kinds.get(n, NORMAL if n in by_number else UNUSED) for n in range(rows)])
    merges = described["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    if tokenizer.eos_token_id is not None:
        writer.add_eos_token_id(tokenizer.eos_token_id)
    if tokenizer.pad_token_id is not None:
        writer.add_pad_token_id(tokenizer.pad_token_id)
