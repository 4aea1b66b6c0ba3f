"""Tiny text-only models with random weights: a Llama or Qwen2 folder, and the same as a GGUF file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

RESERVED = ("<repo_name>", "<file_sep>", "<filename>", "<gh_stars>", "<issue_start>", "<jupyter_text>")
CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEXTS = ("the person shows happiness because the corners of the mouth rise 12 345", "你好 emotion")
KINDS = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}


def make_tokenizer(special: tuple[str, ...] = (*CHATML, *RESERVED), size: int = 300) -> PreTrainedTokenizerFast:
    """Train a byte-level tokenizer that takes digits one by one, as SmolLM2's does."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=special[2] if special else None, pad_token=special[2] if special else None
    )


def make_text_model(kind: str = "llama", rows: int = 300, **changes: Any) -> Any:
    """Build a random model; all parameters are drawn wide, so that every part moves the result."""
    config_class, model_class = KINDS[kind]
    fields = {
        "vocab_size": rows, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 1e5},
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, **changes,
    }  # fmt: skip
    model = model_class(config_class(**fields))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            wide = 0.3 if parameter.ndim > 1 else 0.1
            parameter.copy_((parameter == 1) + wide * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def save_text_folder(folder: Path, model: Any, tokenizer: PreTrainedTokenizerFast) -> Path:
    """Save as a folder of the hub holds it."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_gguf(path: Path, model: Any, tokenizer: PreTrainedTokenizerFast, **metadata: Any) -> Path:
    """Write a model as llama.cpp's converter does: q and k of a Llama reordered; matrices of 32 columns quantised."""
    import gguf

    config = model.config
    architecture = metadata.pop("architecture", config.model_type)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(metadata.pop("pre", "smollm"))
    tokens = [tokenizer.convert_ids_to_tokens(number) for number in range(len(tokenizer))]
    special = set(tokenizer.added_tokens_decoder)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if number in special else 1 for number in range(len(tokens))])
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    for name, value in metadata.items():
        writer.add_string(f"{architecture}.{name.replace('__', '.')}", value)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for key, tensor in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        module, _, suffix = key.rpartition(".")
        values = tensor.numpy()
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(module.split(".")[-1])
        if heads and config.model_type == "llama":
            rows = len(values)
            split = values.reshape(heads, 2, rows // heads // 2, *values.shape[1:])
            values = split.swapaxes(1, 2).reshape(values.shape)
        quantised = values.ndim == 2 and values.shape[1] % 32 == 0
        kind = gguf.GGMLQuantizationType.Q8_0 if quantised else gguf.GGMLQuantizationType.F32
        data = gguf.quantize(np.ascontiguousarray(values, dtype=np.float32), kind)
        writer.add_tensor(f"{names.get_name(module)}.{suffix}", data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
