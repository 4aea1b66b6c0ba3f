"""Train low-rank adapters of the language model with PEFT, on full or quantised weights, and merge them.

Adapters are applied only to the projections of the language model: PEFT's "all-linear" and plain names such as
`gate_proj` would also match the vision transformer, the experts and the gate. Other parts that a stage trains (experts,
gate) are saved with the adapters.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from emotion_qwen.convert.loading import add_trained_adapter, load_model, merge_into_base
from emotion_qwen.engine.calibration import Calibration
from emotion_qwen.errors import CheckpointError, SettingsError
from emotion_qwen.extras import optional
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.model.folder import staged_folder
from emotion_qwen.model.parts import PARTS
from emotion_qwen.model.source import ADAPTER_CONFIG, ModelSource, check_adapter, find_model, locate
from emotion_qwen.processing.folder import load_processor
from emotion_qwen.training.plan import AdapterSettings

TARGETS = r".*language_model\.layers\.\d+\.(self_attn|mlp)\.(q|k|v|o|gate|up|down)_proj"
MERGED_LIKE_ADAPTED = 1e-4  # largest difference of logits allowed after merging, fp32, as a share of the largest logit
KEPT_WHOLE = ("general", "emotion", "gate", "audio")
"""Parts that are trained along with adapters; they are small and saved completely."""


def add_adapter(
    model: EmotionQwenForConditionalGeneration,
    settings: AdapterSettings,
    learning: tuple[str, ...],
    rows: Sequence[int] = (),
) -> Any:
    """Add adapters to the language model; other trained parts are saved completely.

    Args:
        model: prepared by `enter_stage`.
        settings: rank, scale and dropout.
        learning: parts that the stage trains; must contain "language".
        rows: of the embedding, trained too; all others are frozen.

    Returns:
        The PEFT model.

    Raises:
        SettingsError: the stage does not train the language model, or it trains the vision transformer.
    """
    if "language" not in learning:
        raise SettingsError(f"adapters were asked for, but the stage trains {', '.join(learning)}; add `language`")
    if "vision" in learning:
        raise SettingsError("adapters and a learning vision transformer do not go together; take `vision` out")
    whole = [prefix.rstrip(".") for part in KEPT_WHOLE if part in learning for prefix in PARTS[part]]
    peft = optional("peft", "train")
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=TARGETS,
        modules_to_save=whole or None,
        trainable_token_indices={"embed_tokens": list(rows)} if rows else None,
        task_type="CAUSAL_LM",
    )
    return peft.get_peft_model(model, config)


def added_rows(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids of the plain tokens that were added to a tokenizer's vocabulary.

    Raises:
        SettingsError: there are none.
    """
    rows = [number for number, token in tokenizer.added_tokens_decoder.items() if not token.special]
    if not rows:
        raise SettingsError("adapter.new_tokens: the tokenizer has no added plain token; set it to false")
    return rows


def load_quantized(
    source: Path, kind: str, dtype: torch.dtype = torch.float32, others: torch.dtype = torch.float32
) -> EmotionQwenForConditionalGeneration:
    """Load a model whose language model is quantised to "nf4" or "int8" by bitsandbytes.

    Args:
        source: model folder.
        kind: "nf4" or "int8".
        dtype: of the products with 4-bit weights; that of the training step.
        others: of vision transformer, compressor, audio encoder, head for facial actions and output projection, which
            are not quantised.

    Raises:
        MissingPackage: bitsandbytes is not installed.
    """
    optional("bitsandbytes", "quantize")
    from transformers import BitsAndBytesConfig

    kept = ["model.visual", "model.compressor", "model.audio", "model.actions", "lm_head"]
    config = (
        BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype, llm_int8_skip_modules=kept
        )
        if kind == "nf4"
        else BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept)
    )
    return EmotionQwenForConditionalGeneration.from_pretrained(source, quantization_config=config, dtype=others)


@torch.no_grad()
def merge_adapter(adapter: str | Path, base: str | Path, target: Path, probe: int = 48) -> float:
    """Merge an adapter into its base, check that the result answers like the adapted model, and save it.

    Args:
        adapter: folder saved by PEFT, or its hub name.
        base: name of the model on which the adapter was trained; see `model.source`.
        target: new folder.
        probe: number of tokens of the test text.

    Returns:
        The largest difference of logits between the adapted and the merged model, fp32, as a share of the largest
        logit.

    Raises:
        CheckpointError: adapter or base do not exist, the target exists, the adapter does not fit its base or contains
            NaN, or the merged model answers differently.
    """
    folder = locate(adapter)
    if not (folder / ADAPTER_CONFIG).is_file():
        raise CheckpointError(f"{adapter}: no {ADAPTER_CONFIG}; give the folder that a run with `adapter` saved")
    check_adapter(folder)
    if target.exists():
        raise CheckpointError(f"{target} exists already; give a folder that does not")
    whole = find_model(base)
    source = ModelSource(str(adapter), whole.base, folder, whole.published)
    processor = load_processor(source.processor)
    adapted = add_trained_adapter(load_model(whole, dtype=torch.float32), source).eval()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, adapted.config.text_config.vocab_size - 64, (2, probe), generator=generator)
    before = adapted(input_ids=ids).logits
    merged = merge_into_base(adapted, source)
    difference = float((merged(input_ids=ids).logits - before).abs().max() / before.abs().max())
    if not difference <= MERGED_LIKE_ADAPTED:
        raise CheckpointError(
            f"merged logits differ from adapted ones by {difference:.1e} of the largest, at most "
            f"{MERGED_LIKE_ADAPTED:.0e} is expected; adapter or base is damaged, take an earlier checkpoint"
        )
    calibration = Calibration.read(folder)  # also valid for the merged model, which answers like the adapted one
    with staged_folder(target) as draft:
        merged.save_pretrained(draft)
        processor.save_pretrained(draft)
        if calibration.channels:
            calibration.write(draft)
    return difference
