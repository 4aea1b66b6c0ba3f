"""Loading a model by its source: whole, or as an adapter that is merged into its base.

A model in the layout of Qwen2.5-VL is converted in memory, as `conversion.convert` does on disk; nothing is written.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import GenerationConfig

from emotion_qwen.convert.adapters import renamed_adapter
from emotion_qwen.convert.conversion import finished_config, output_tensors, parse_config, read_config, read_mapped
from emotion_qwen.convert.shards import OutputTensor
from emotion_qwen.errors import CheckpointError
from emotion_qwen.extras import optional
from emotion_qwen.model.configuration import EmotionQwenConfig
from emotion_qwen.model.folder import read_json
from emotion_qwen.model.modeling import EmotionQwenForConditionalGeneration
from emotion_qwen.model.source import ADAPTER_WEIGHTS, STAGE_PROOF, ModelSource

GENERATION = "generation_config.json"


def load_model(source: ModelSource, **options: Any) -> EmotionQwenForConditionalGeneration:
    """Load a model; an adapter is merged into its base.

    Args:
        source: of `find_model`.
        options: of `from_pretrained`, for example `dtype` or `device_map`.

    Raises:
        CheckpointError: weights that do not fit, or an adapter that does not belong to its base.
        MissingPackage: the model is an adapter and peft is not installed.
    """
    if source.adapter is not None:
        optional("peft", "train")  # fail before the weights are read rather than after
    if source.published:
        _say_untrained(source.name)
        model = _converted(source.base, **options)
    else:
        model = EmotionQwenForConditionalGeneration.from_pretrained(source.base, **options)
    _check_numbers(model, source.base)
    return model if source.adapter is None else merge_into_base(add_trained_adapter(model, source), source)


def load_config(source: ModelSource) -> EmotionQwenConfig:
    """Read the configuration of a model without its weights.

    Raises:
        CheckpointError: it does not describe such a model.
    """
    if source.published:
        return finished_config(parse_config(read_config(source.base)))
    return EmotionQwenConfig.from_pretrained(source.base)


class _Unread:
    """A tensor that is read when it is indexed, which `from_pretrained` does for one tensor after the other."""

    def __init__(self, tensor: OutputTensor) -> None:
        self.tensor = tensor

    def __getitem__(self, part: Any) -> torch.Tensor:
        return self.tensor.read()[part]


def _converted(folder: Path, **options: Any) -> EmotionQwenForConditionalGeneration:
    """Load a checkpoint of Qwen2.5-VL's layout, bit-identical to one that was converted to a folder first.

    Beyond the weights themselves, memory contains the few tensors that are read at a time.
    """
    mapping, tensors = read_mapped(folder)
    state = {tensor.name: _Unread(tensor) for tensor in output_tensors(mapping, tensors)}
    config = finished_config(mapping.config)
    model = EmotionQwenForConditionalGeneration.from_pretrained(None, config=config, state_dict=state, **options)
    if (folder / GENERATION).is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder)
    return model


@functools.cache
def _say_untrained(name: str) -> None:
    line = f"model: {name} has Qwen2.5-VL's layout and is converted in memory; its shares of labels are not calibrated"
    print(line, file=sys.stderr)


def merge_into_base(adapted: Any, source: ModelSource) -> EmotionQwenForConditionalGeneration:
    """Merge an adapter into its base, in place.

    Raises:
        CheckpointError: the result contains NaN or infinite values.
    """
    try:
        merged = adapted.merge_and_unload(safe_merge=True)
    except ValueError as error:  # NaN in a matrix that the adapter is merged into
        raise CheckpointError(f"{source.folder}: {error}; the adapter is damaged, take an earlier one") from error
    _check_numbers(merged, source.folder)
    return merged


def _check_numbers(model: nn.Module, folder: Path) -> None:
    """Refuse weights that contain NaN or infinite values; otherwise their sums are finite, and need no memory."""
    read = {n: p.detach() for n, p in model.named_parameters() if p.device.type != "meta"}  # as what is left on a disk
    suspicious = {n: p for n, p in read.items() if not p.sum(dtype=torch.float32).isfinite()}
    wrong = [name for name, parameter in suspicious.items() if not parameter.isfinite().all()]
    if wrong:
        raise CheckpointError(
            f"{folder}: {len(wrong)} tensor(s) hold NaN or infinite values ({', '.join(wrong[:3])}); the checkpoint is "
            "damaged, take another copy or an earlier one"
        )


def add_trained_adapter(model: EmotionQwenForConditionalGeneration, source: ModelSource) -> Any:
    """Put a trained adapter on its base.

    Args:
        model: the base.
        source: with an adapter.

    Returns:
        The PEFT model, with the gate mode that the adapter was trained with.

    Raises:
        CheckpointError: the adapter is damaged or belongs to another model.
        MissingPackage: peft is not installed.
    """
    peft = optional("peft", "train")
    assert source.adapter is not None
    try:
        if source.published and not (source.adapter / STAGE_PROOF).is_file():
            config, values = renamed_adapter(source.adapter)
            adapted = peft.get_peft_model(model, config)
            peft.set_peft_model_state_dict(adapted, values)
            stored = set(values)
        else:
            adapted = peft.PeftModel.from_pretrained(model, source.adapter)
            with safe_open(source.adapter / ADAPTER_WEIGHTS, "pt") as file:
                stored = set(file.keys())
        expected = set(peft.get_peft_model_state_dict(adapted, save_embedding_layers=False))
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(_misfit(source, reason)) from error
    if stored != expected:
        different = sorted(stored ^ expected)
        raise CheckpointError(_misfit(source, f"{len(different)} keys are in only one of them, first {different[0]}"))
    gate = _stage_gate(source.adapter)
    if gate is not None:
        adapted.get_base_model().set_gate_mode(gate)
    return adapted


def _misfit(source: ModelSource, reason: str) -> str:
    return (
        f"{source.adapter}: the adapter does not fit its base {source.base} ({reason}); give the base that it was "
        "trained on"
    )


def _stage_gate(folder: Path | None) -> str | None:
    """Return the gate mode that an adapter was trained with; it may differ from its base's."""
    path = (folder or Path()) / STAGE_PROOF
    return read_json(path).get("gate") if path.is_file() else None
