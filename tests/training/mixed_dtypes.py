"""One step of a model with frozen parts in bfloat16 and trained ones in float32, whole and sharded over two ranks.

Low-rank adapters stand beside frozen matrices, so that groups which are gathered together hold both dtypes.
"""

import json
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from emotion_qwen.data.collate import SampleCollator
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.processing.folder import load_processor
from emotion_qwen.records import Sample
from emotion_qwen.training.adapters import add_adapter
from emotion_qwen.training.plan import AdapterSettings
from emotion_qwen.training.precision import set_dtypes
from emotion_qwen.training.stages import STAGES, enter_stage


def samples(count: int) -> list[Sample]:
    """Pictures of noise with answers of unequal length."""
    rng, made = np.random.default_rng(0), []
    for number in range(count):
        picture = rng.integers(0, 255, (48, 48, 3), dtype=np.uint8)
        asked = [{"type": "image", "image": picture}, {"type": "text", "text": f"What is {number}?"}]
        answer = {"role": "assistant", "content": " ".join(["happy", "sad", "cat"][: 1 + number % 3])}
        made.append(Sample(str(number), ({"role": "user", "content": asked}, answer)))
    return made


def prepared(start: Path) -> nn.Module:
    """The tuning stage with adapters, frozen parts in bfloat16."""
    torch.manual_seed(0)
    model = EmotionQwenForConditionalGeneration.from_pretrained(start, dtype=torch.float32)
    learning = enter_stage(model, STAGES["tuning"], copy=False)
    whole = add_adapter(model, AdapterSettings.of({"rank": 4, "alpha": 8}), learning)
    for name, parameter in whole.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.05)  # zeros would hide what the other matrix of a pair learns
    set_dtypes(whole, torch.bfloat16)
    return whole.train()


def shard(whole: nn.Module, policy: MixedPrecisionPolicy) -> None:
    """Shard as Accelerate does, layer by layer."""
    inner = whole.get_base_model().model
    for block in (*inner.visual.blocks, *inner.language_model.layers):
        fully_shard(block, mp_policy=policy)
    fully_shard(whole, mp_policy=policy)


def step(whole: nn.Module, batch: dict) -> dict[str, torch.Tensor]:
    """Return the gradients of one step, complete and in float32, by name, and the loss as "loss"."""
    with torch.autocast("cpu", torch.bfloat16):
        loss = whole(**batch, supervised_only=True).loss
    loss.backward()
    found = {"loss": loss.detach().float()}
    for name, parameter in whole.named_parameters():
        if parameter.grad is not None:
            grad = parameter.grad
            found[name] = (grad.full_tensor() if isinstance(grad, DTensor) else grad).float()
    return found


POLICIES = {
    "stored": MixedPrecisionPolicy(),
    "products": MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32),
}
"""Name -> whether parameters are gathered in the dtype that they are stored in, or in that of the products."""


def main(folder: str, start: str) -> None:
    """Compare the sharded step of this rank with that of the whole model, and write what differs."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    try:
        whole = prepared(Path(start))
        model = whole.get_base_model().model
        batch = SampleCollator(load_processor(Path(start)), model.get_rope_index)(samples(4))
        inputs = {name: value for name, value in batch.items() if name != "domains"}
        wanted = step(whole, inputs)
        results = {}
        for name, policy in POLICIES.items():
            sharded = prepared(Path(start))
            shard(sharded, policy)
            dtypes = {}
            for parameter in sharded.parameters():
                kind = "trained" if parameter.requires_grad else "frozen"
                dtypes.setdefault(kind, set()).add(str(parameter.dtype))
            layer = sharded.get_base_model().model.language_model.layers[0]
            got = step(sharded, inputs)
            norm = torch.stack([value.norm() for name, value in wanted.items() if name != "loss"]).norm()
            difference = torch.stack([(wanted[name] - got[name]).norm() for name in wanted if name != "loss"]).norm()
            results[name] = {
                "dtypes": {kind: sorted(names) for kind, names in dtypes.items()},
                "layer": sorted({str(parameter.dtype) for parameter in layer.parameters()}),
                "same_names": sorted(wanted) == sorted(got),
                "loss": abs((wanted["loss"] - got["loss"]).item()),
                "gradients": (difference / norm).item(),
            }
        (Path(folder) / f"{os.environ['RANK']}.json").write_text(json.dumps(results), encoding="utf-8")
    finally:
        torch.distributed.destroy_process_group()
