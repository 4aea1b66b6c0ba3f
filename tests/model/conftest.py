"""Tiny models and checkpoints for the model tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from emotion_qwen.model import EmotionQwenConfig, EmotionQwenForConditionalGeneration

PATCH, IMAGE, VIDEO = 4, 5, 6
TEXT = {
    "hidden_size": 48,
    "intermediate_size": 56,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 96,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 2, 2]},
}
VISION = {
    "depth": 3,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_heads": 4,
    "out_hidden_size": 48,
    "patch_size": PATCH,
    "window_size": 4 * PATCH,
    "fullatt_block_indexes": [1],
    "tokens_per_second": 2,
}
TOKENS = {"image_token_id": IMAGE, "video_token_id": VIDEO, "vision_start_token_id": 3, "vision_end_token_id": 4}

# The published 3B config.json, flat as it is on the hub; other sizes differ in numbers only.
PUBLISHED = {
    "architectures": ["Qwen2_5_VLForConditionalGeneration"], "attention_dropout": 0.0, "bos_token_id": 151643,
    "eos_token_id": 151645, "vision_start_token_id": 151652, "vision_end_token_id": 151653, "vision_token_id": 151654,
    "image_token_id": 151655, "video_token_id": 151656, "hidden_act": "silu", "hidden_size": 2048,
    "initializer_range": 0.02, "intermediate_size": 11008, "max_position_embeddings": 128000, "max_window_layers": 70,
    "model_type": "qwen2_5_vl", "num_attention_heads": 16, "num_hidden_layers": 36, "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": True,
    "torch_dtype": "bfloat16", "transformers_version": "4.41.2", "use_cache": True, "use_sliding_window": False,
    "vision_config": {
        "depth": 32, "hidden_act": "silu", "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
        "in_chans": 3, "out_hidden_size": 2048, "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14,
        "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31], "tokens_per_second": 2, "temporal_patch_size": 2,
    },
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}, "vocab_size": 151936,
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny products are quicker on one thread, and a busy machine then disturbs them less."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def widen(model: torch.nn.Module, deviation: float = 0.1) -> torch.nn.Module:
    """Draw all parameters wider than usual, so that every part moves the result."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((parameter == 1) + deviation * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture
def config():
    """Return a maker of tiny configurations of ours."""

    def make(**changes) -> EmotionQwenConfig:
        gate = {"gate_num_heads": 4, "gate_hidden_size": 16}
        return EmotionQwenConfig(text_config=dict(TEXT), vision_config=dict(VISION), **{**TOKENS, **gate, **changes})

    return make


@pytest.fixture
def model(config):
    """Return a maker of tiny models of ours with wide random weights."""
    return lambda **changes: widen(EmotionQwenForConditionalGeneration(config(**changes)))


@pytest.fixture
def qwen_config():
    """Return a maker of tiny Qwen2.5-VL configurations."""
    return lambda **changes: Qwen2_5_VLConfig(
        text_config=dict(TEXT), vision_config=dict(VISION), **{**TOKENS, **changes}
    )


@pytest.fixture
def qwen(qwen_config, tmp_path):
    """Return a maker of saved tiny Qwen2.5-VL folders; options go to the configuration, or to `save_pretrained`."""

    def make(name: str = "qwen", *, dtype: torch.dtype = torch.float32, max_shard_size: str = "5GB", **changes) -> Path:
        source = widen(Qwen2_5_VLForConditionalGeneration(qwen_config(**changes))).to(dtype)
        source.save_pretrained(tmp_path / name, max_shard_size=max_shard_size)
        return tmp_path / name

    return make


@pytest.fixture
def rewrite():
    """Return a function that replaces a folder's single weight file by what a function makes of its tensors."""

    def apply(folder: Path, change) -> Path:
        path = folder / "model.safetensors"
        save_file({k: v.contiguous() for k, v in change(load_file(path)).items()}, path)
        return folder

    return apply


@pytest.fixture
def edit_config():
    """Return a function that changes fields of a folder's config.json; a value of None removes the field."""

    def apply(folder: Path, **changes) -> None:
        values = json.loads((folder / "config.json").read_text())
        values = {key: value for key, value in {**values, **changes}.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(values))

    return apply


@pytest.fixture
def visual_inputs():
    """Return a maker of model inputs: one row of text with the given picture grids."""

    def make(grids: list[list[int]]) -> dict[str, torch.Tensor]:
        row = [10, 11]
        for times, rows, columns in grids:
            row += [3, *[IMAGE] * (times * rows * columns // 4), 4, 12]
        ids = torch.tensor([row])
        inputs = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": (ids == IMAGE).int(),
            "image_grid_thw": torch.tensor(grids),
        }
        inputs["pixel_values"] = torch.randn(int(inputs["image_grid_thw"].prod(-1).sum()), 3 * 2 * PATCH**2)
        return inputs

    return make


@pytest.fixture
def published():
    """Return a copy of the published flat configuration."""
    return json.loads(json.dumps(PUBLISHED))
