"""Low-rank adapters of the language model through PEFT, on full or quantised weights, and merging them back.

Adapters go on the language model's projections only: PEFT's "all-linear" and bare names such as `gate_proj` would also
hit the vision transformer, the experts and the gate. What else a stage trains (experts, gate) is saved beside them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch

from emotion_qwen.errors import CheckpointError, MissingPackage, SettingsError
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.model.modeling import check_folder
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.training.plan import AdapterSettings

TARGETS = r".*language_model\.layers\.\d+\.(self_attn|mlp)\.(q|k|v|o|gate|up|down)_proj"
MERGED_LIKE_ADAPTED = 1e-4  # largest difference of logits allowed after merging, fp32


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingPackage("adapters need the package peft; pip install 'emotion-qwen[train]'") from error
    return peft


def add_adapter(
    model: EmotionQwenForConditionalGeneration, settings: AdapterSettings, learning: tuple[str, ...]
) -> Any:
    """Put adapters on the language model; other parts that learn are kept whole.

    Args:
        model: with its stage entered.
        settings: rank, scale and dropout.
        learning: parts that the stage trains; must hold "language".

    Returns:
        The PEFT model.

    Raises:
        SettingsError: the language model is not to learn, or the vision transformer is.
    """
    if "language" not in learning:
        raise SettingsError(f"adapters were asked for, but the stage trains {', '.join(learning)}; add `language`")
    if "vision" in learning:
        raise SettingsError("adapters and a learning vision transformer do not go together; take `vision` out")
    whole = [f"compressor.{part}" for part in ("general", "emotion", "gate") if part in learning]
    peft = _peft()
    if settings.quantize:
        model = peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=TARGETS,
        modules_to_save=whole or None,
        task_type="CAUSAL_LM",
    )
    return peft.get_peft_model(model, config)


def load_quantized(source: Path, kind: str) -> EmotionQwenForConditionalGeneration:
    """Load a model whose language model is quantised to "nf4" or "int8" by bitsandbytes.

    Vision transformer, compressor and output projection stay as they are.

    Raises:
        MissingPackage: bitsandbytes is not installed.
    """
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise MissingPackage("quantised training needs the package bitsandbytes; pip install bitsandbytes") from error
    from transformers import BitsAndBytesConfig

    kept = ["model.visual", "model.compressor", "lm_head"]
    config = (
        BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32,
            llm_int8_skip_modules=kept,
        )
        if kind == "nf4"
        else BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept)
    )  # fmt: skip
    return EmotionQwenForConditionalGeneration.from_pretrained(source, quantization_config=config, dtype=torch.float32)


@torch.no_grad()
def merge_adapter(adapter: Path, base: Path, target: Path, probe: int = 48) -> float:
    """Merge an adapter into its base and save the result, once it answers as the adapted model does.

    Args:
        adapter: folder that PEFT saved.
        base: model folder the adapter was trained on.
        target: new folder.
        probe: tokens of the probing text.

    Returns:
        The largest difference of logits between the adapted and the merged model, fp32.

    Raises:
        CheckpointError: no adapter or base there, the target exists, or the merged model answers otherwise.
    """
    if not (adapter / "adapter_config.json").is_file():
        raise CheckpointError(f"{adapter}: no adapter_config.json; give the folder that a run with `adapter` saved")
    if target.exists():
        raise CheckpointError(f"{target} exists already; give a folder that does not")
    check_folder(base)
    model = EmotionQwenForConditionalGeneration.from_pretrained(base, dtype=torch.float32)
    adapted = _peft().PeftModel.from_pretrained(model, adapter).eval()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, model.config.text_config.vocab_size - 64, (2, probe), generator=generator)
    before = adapted(input_ids=ids).logits
    merged = adapted.merge_and_unload(safe_merge=True)
    difference = float((merged(input_ids=ids).logits - before).abs().max())
    if not difference <= MERGED_LIKE_ADAPTED:
        raise CheckpointError(
            f"merged logits differ from adapted ones by {difference:.1e}, at most {MERGED_LIKE_ADAPTED:.0e} is "
            "expected; the adapter does not belong to this base"
        )
    staging = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(staging, ignore_errors=True)
    merged.save_pretrained(staging)
    EmotionQwenProcessor.from_pretrained(base).save_pretrained(staging)
    os.replace(staging, target)
    return difference
