"""The memory plan of a run, against what PyTorch saves for models of 3B and 7B whose tensors have no memory."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from emotion_qwen.model import EmotionQwenForConditionalGeneration, preset
from emotion_qwen.training import memory
from emotion_qwen.training.adapters import add_adapter
from emotion_qwen.training.memory import layer_bytes, memory_plan, tokens_per_pass, weights_and_trained
from emotion_qwen.training.optimizer import make_optimizer
from emotion_qwen.training.plan import AdapterSettings, empty_model, read_settings
from emotion_qwen.training.precision import set_dtypes
from emotion_qwen.training.stages import enter_stage

CONFIGS = Path(__file__).parents[2] / "configs" / "train"
TOKENS, WITHIN = 8192, 0.1
ADAPTER = AdapterSettings.of({"rank": 64, "dropout": 0.0})


@pytest.fixture(autouse=True)
def no_moves(monkeypatch):
    """PEFT moves its modules to where they are already, which tensors without memory do not allow."""
    monkeypatch.setattr(nn.Module, "to", lambda self, *args, **kwargs: self)


def fake_model(size: str, layers: int, learns: str):
    config = preset(size)
    text = config.text_config
    text.num_hidden_layers, text.layer_types = layers, text.layer_types[:layers]
    config.vision_config.depth, config.vision_config.fullatt_block_indexes = 2, [1]
    model = EmotionQwenForConditionalGeneration(config).requires_grad_(False)
    if learns == "whole":
        model.model.language_model.requires_grad_(True)
    if learns == "adapters":
        model = add_adapter(model, ADAPTER, ("language",))
    set_dtypes(model, torch.bfloat16)
    return model.train()


def saved_bytes(size: str, layers: int, learns: str, checkpointing: bool) -> int:
    """Count the bytes of all tensors that the language model saves for its backward pass, parameters aside."""
    with FakeTensorMode():
        model = fake_model(size, layers, learns)
        base = model.get_base_model() if learns == "adapters" else model
        if checkpointing:
            base.gradient_checkpointing_enable({"use_reentrant": False})
        language, width = base.model.language_model, base.config.text_config.hidden_size
        embeds = torch.empty(
            1, TOKENS, width, dtype=torch.float32 if learns == "whole" else torch.bfloat16, requires_grad=True
        )
        weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
        sizes: dict[int, int] = {}
        kept = []  # so that no address is used twice

        def pack(tensor):
            storage = tensor.untyped_storage()
            is_weight = tensor.ndim == 2 and TOKENS not in tensor.shape  # the copy of one, in the dtype of products
            if storage._cdata not in weights and not is_weight:
                sizes[storage._cdata] = storage.nbytes()
                kept.append(tensor)
            return tensor

        positions = torch.zeros(3, 1, TOKENS, dtype=torch.long)
        masks = {"full_attention": None}
        hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
        with hooks, torch.autocast("cpu", dtype=torch.bfloat16):
            language(inputs_embeds=embeds, position_ids=positions, use_cache=False, attention_mask=masks)
        return sum(sizes.values())


@pytest.mark.parametrize("learns", ["frozen", "adapters", "whole"])
@pytest.mark.parametrize("size", [pytest.param("3b", marks=pytest.mark.slow), "7b"])
def test_a_layer_saves_what_the_plan_says(size, learns):
    config = preset(size).text_config
    per_layer = saved_bytes(size, 2, learns, False) - saved_bytes(size, 1, learns, False)
    keys = config.num_key_value_heads * config.hidden_size // config.num_attention_heads
    planned = layer_bytes(TOKENS, config.hidden_size, config.intermediate_size, keys, learns, ADAPTER)
    assert abs(planned - per_layer) <= WITHIN * per_layer


def optimizer_states(model, settings) -> int:
    """Return the bytes of the states after one step, of tensors without memory."""
    optimizer = make_optimizer(model, settings.optim, 1e-4)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.empty_like(parameter)
    optimizer.step()
    states = (t for state in optimizer.state.values() for t in state.values() if torch.is_tensor(t) and t.ndim)
    return sum(t.numel() * t.itemsize for t in states)


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(CONFIGS.glob("[37]b_*.yaml")), ids=lambda path: path.stem)
def test_the_plan_of_a_configuration_is_within_ten_percent_of_what_is_counted(path):
    """Weights, gradients and states by their true dtypes; activations of all layers from those of one and two."""
    settings = read_settings(path, ("adapter.dropout=0.0",) if "tuning" in path.stem else ())
    size = path.stem[:2]
    model = empty_model(preset(size))
    learning = enter_stage(model, settings.plan, copy=False)
    plan = memory_plan(model, settings, torch.bfloat16)
    layers = model.config.text_config.num_hidden_layers
    learns = "adapters" if settings.adapter else "frozen"
    deeper, shallower = (saved_bytes(size, n, learns, settings.checkpointing) for n in (3, 2))
    one = saved_bytes(size, 2, learns, False) - saved_bytes(size, 1, learns, False)
    activations = layers * (deeper - shallower) + one * settings.checkpointing
    activations += tokens_per_pass(settings) ** 2 * 3  # the mask of sdpa, as a bool and in bfloat16
    activations += memory.compressor_bytes(model, TOKENS, 2)
    if settings.adapter:
        with torch.device("meta"):
            model = add_adapter(model, settings.adapter, learning)
    for parameter in model.parameters():  # as `set_dtypes`, which replaces the data that tensors here do not have
        dtype = torch.float32 if parameter.requires_grad else torch.bfloat16
        parameter.data = torch.empty(parameter.shape, dtype=dtype, device="meta")
    weights = sum(p.numel() * p.itemsize for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    counted = {"weights": weights, "gradients": 4 * trained, "moments": optimizer_states(model, settings)}
    counted |= {"activations": activations, "casts": 2 * trained, "vision": plan.vision, "logits": plan.logits}
    for name, size_in_bytes in counted.items():
        assert abs(getattr(plan, name) - size_in_bytes) <= WITHIN * size_in_bytes, name
    assert abs(plan.total - sum(counted.values())) <= WITHIN * sum(counted.values())


def test_quantised_matrices_take_their_bytes_and_the_rest_its_own():
    model = empty_model(preset("7b")).requires_grad_(False)
    matrices = sum(m.weight.numel() for m in memory.adapted_matrices(model))
    whole = sum(p.numel() for p in model.parameters())
    adapters = 64 * sum(m.in_features + m.out_features for m in memory.adapted_matrices(model))
    for kind, size in (("nf4", 0.5625), ("int8", 1.0)):
        weights, trained, _ = weights_and_trained(model, AdapterSettings.of({"quantize": kind}), 2.0)
        assert trained == adapters and weights == size * matrices + 2 * (whole - matrices) + 4 * adapters
    assert 6.4e9 < matrices < 6.6e9


def test_checkpointing_sharding_and_dtypes_change_the_plan_as_they_change_memory(config_file):
    model = empty_model(preset("7b"))

    def planned(frozen=torch.bfloat16, devices=1, kind="ddp", **changes):
        settings = read_settings(config_file(precision="bfloat16", **changes))
        enter_stage(model, settings.plan, copy=False)
        return memory_plan(model, settings, frozen, devices, kind)

    rows = {"batch": {"row_tokens": 8192}}
    kept, recomputed = planned(**rows), planned(**rows, checkpointing=True)
    assert recomputed.activations < 0.2 * kept.activations and recomputed.weights == kept.weights
    assert planned(torch.float32, **rows).weights > 1.9 * kept.weights
    assert planned(**rows, attention="flex").activations == kept.activations - 3 * 8192**2
    sharded = planned(devices=8, kind="fsdp", **rows)
    assert sharded.weights == kept.weights / 8 and sharded.activations == kept.activations
    assert planned(devices=8, kind="zero2", **rows).weights == kept.weights
    muon = planned(optim={"steps": 2, "name": "muon"}, **rows)
    assert 0.5 * kept.moments < muon.moments < 0.55 * kept.moments
    half = planned(batch={"row_tokens": 4096})
    assert half.logits == kept.logits / 2 and half.vision == kept.vision / 2
    trained = planned(stage="scratch", **rows)
    assert trained.vision > 10 * kept.vision and trained.activations > kept.activations
