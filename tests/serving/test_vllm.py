"""The vLLM plug-in, as far as it can be seen without a GPU.

vLLM's own classes need its compiled parts, so stand-ins take their places: they have the modules, and so the names of
weights, that vLLM 0.33 has. If vLLM's Python sources are there (installed, or a folder named by
EMOTION_QWEN_VLLM_SOURCES), its real table of names and real mapper are read from them; else those here are
used, which are copied from that version, and the test of the sources is skipped.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import sys
import tomllib
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from emotion_qwen.errors import MissingPackage, SettingsError, ShapeError
from emotion_qwen.serving import vllm_plugin
from emotion_qwen.serving.limits import ServeSettings

PREFIXES = {
    "model.language_model.": "language_model.model.",
    "model.visual.": "visual.",
    "lm_head.": "language_model.lm_head.",
    "model.": "language_model.model.",
}
STACKED = {
    ".attn.q.": (".attn.qkv.", "q"), ".attn.k.": (".attn.qkv.", "k"), ".attn.v.": (".attn.qkv.", "v"),
    ".mlp.gate_proj.": (".mlp.gate_up_proj.", 0), ".mlp.up_proj.": (".mlp.gate_up_proj.", 1),
}  # fmt: skip
LANGUAGE_STACKED = {
    ".q_proj.": ".qkv_proj.", ".k_proj.": ".qkv_proj.", ".v_proj.": ".qkv_proj.",
    ".gate_proj.": ".gate_up_proj.", ".up_proj.": ".gate_up_proj.",
}  # fmt: skip


def sources() -> Path | None:
    named = os.environ.get("EMOTION_QWEN_VLLM_SOURCES")
    if named:
        return Path(named) / "vllm"
    found = importlib.util.find_spec("vllm")
    return Path(found.submodule_search_locations[0]) if found and found.submodule_search_locations else None


@dataclass
class Mapper:
    """Renames by prefix, as vLLM's `WeightsMapper` does: every prefix that fits, in order."""

    orig_to_new_prefix: Mapping[str, str] = field(default_factory=dict)
    orig_to_new_stacked: Mapping[str, Any] = field(default_factory=dict)

    def map_name(self, key: str) -> str:
        for old, (new, _) in self.orig_to_new_stacked.items():
            if old in key:
                key = key.replace(old, new, 1)
        for old, new in self.orig_to_new_prefix.items():
            if key.startswith(old):
                key = key.replace(old, new, 1)
        return key


def linears(**shapes: tuple[int, int] | int) -> nn.Module:
    """A module whose parts have a weight, and a bias if they are given as (out, in)."""
    found = nn.Module()
    for name, shape in shapes.items():
        part = nn.Module()
        part.weight = nn.Parameter(torch.empty(shape))
        found.add_module(name, part)
    return found


def joined(**parts: nn.Module) -> nn.Module:
    found = nn.Module()
    for name, part in parts.items():
        found.add_module(name, part)
    return found


class Vision(nn.Module):
    """Stands for vLLM's vision transformer: calls `merger` with features in window order."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        vision = config.vision_config
        block = lambda: joined(  # noqa: E731
            norm1=linears(), norm2=linears(), attn=linears(qkv=(1, 1), proj=(1, 1)),
            mlp=linears(gate_up_proj=(1, 1), down_proj=(1, 1)),
        )  # fmt: skip
        self.blocks = nn.ModuleList([block() for _ in range(vision.depth)])
        self.patch_embed = linears(proj=(1, 1))
        self.merger = nn.Identity()

    def forward(self, features: torch.Tensor, grid_thw: Any = None) -> torch.Tensor:
        return self.merger(features.unsqueeze(1))


class Base(nn.Module):
    """Stands for vLLM's `Qwen2_5_VLForConditionalGeneration`."""

    hf_to_vllm_mapper = Mapper(orig_to_new_prefix=PREFIXES)

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__()
        self.visual = Vision(vllm_config.model_config.hf_config)


class Registry:
    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def get_supported_archs(self) -> Iterable[str]:
        return self.known

    def register_model(self, name: str, place: str) -> None:
        self.known[name] = place

    def register_processor(self, *args: Any, **kwargs: Any) -> Any:
        return lambda cls: cls


@pytest.fixture
def model_module(monkeypatch):
    """`serving.vllm_model`, imported over stand-ins."""
    registry = Registry()
    names = ("Qwen2_5_VLDummyInputsBuilder", "Qwen2_5_VLMultiModalProcessor", "Qwen2_5_VLProcessingInfo")
    modules = {
        "vllm": {"ModelRegistry": registry},
        "vllm.model_executor": {},
        "vllm.model_executor.models": {},
        "vllm.model_executor.models.qwen2_5_vl": {
            **{name: type(name, (), {}) for name in names}, "Qwen2_5_VLForConditionalGeneration": Base,
        },
        "vllm.model_executor.models.utils": {"WeightsMapper": Mapper},
        "vllm.multimodal": {"MULTIMODAL_REGISTRY": registry},
    }  # fmt: skip
    for name, content in modules.items():
        module = types.ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "emotion_qwen.serving.vllm_model", raising=False)
    yield importlib.import_module("emotion_qwen.serving.vllm_model"), registry
    sys.modules.pop("emotion_qwen.serving.vllm_model", None)


def config_of(hf_config: Any) -> Any:
    return types.SimpleNamespace(model_config=types.SimpleNamespace(hf_config=hf_config))


def test_the_entry_point_names_what_registers_the_class(model_module):
    module, registry = model_module
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    target = project["entry-points"]["vllm.general_plugins"]["emotion_qwen"]
    assert target == "emotion_qwen.serving.vllm_plugin:register"
    vllm_plugin.register()
    vllm_plugin.register()
    assert registry.known == {
        "EmotionQwenForConditionalGeneration": "emotion_qwen.serving.vllm_model:EmotionQwenForVllm"
    }
    place, _, name = registry.known["EmotionQwenForConditionalGeneration"].partition(":")
    assert place == module.__name__ and hasattr(module, name)


def test_every_weight_finds_a_place(model_module, deaf):
    """Each saved name becomes a parameter's; each parameter of the compressor gets one, whole and of its shape."""
    module, _ = model_module
    with torch.device("meta"):
        model = module.EmotionQwenForVllm(vllm_config=config_of(deaf.model.config))
    own = {name: value.shape for name, value in model.visual.merger.named_parameters(prefix="visual.merger")}
    mapper, vision = module.EmotionQwenForVllm.hf_to_vllm_mapper, Mapper(orig_to_new_stacked=STACKED)
    places = {name for name, _ in model.named_parameters()}
    reached = set()
    for name, value in deaf.model.state_dict().items():
        new = vision.map_name(mapper.map_name(name))
        if new.startswith("visual.merger."):
            assert own[new] == value.shape
            reached.add(new)
        elif new.startswith("visual."):
            stem = re.sub(r"\.(bias|weight)$", ".weight", new)
            assert stem in places or re.search(r"norm[12]\.weight$", new), new
        else:
            new = next((new.replace(old, to) for old, to in LANGUAGE_STACKED.items() if old in new), new)
            known = r"language_model\.(lm_head|model\.(embed_tokens|norm|layers\.\d+\.(self_attn\.(qkv_proj|o_proj)|"
            known += r"mlp\.(gate_up_proj|down_proj)|(input|post_attention)_layernorm)))\.(weight|bias)"
            assert re.fullmatch(known, new), new
    assert reached == set(own)


def test_the_gate_weighs_as_ours_however_visuals_are_packed(model_module, deaf):
    module, _ = model_module
    model = module.EmotionQwenForVllm(vllm_config=config_of(deaf.model.config))
    ours = deaf.model.model.compressor
    model.visual.merger.load_state_dict(ours.state_dict())
    grids = [[1, 8, 8], [2, 4, 6], [1, 6, 4]]
    sizes = [t * h * w for t, h, w in grids]
    torch.manual_seed(0)
    features = torch.randn(sum(sizes), deaf.model.config.vision_config.hidden_size)
    order = torch.arange(sum(sizes) // 4)
    with torch.inference_mode():
        wanted, weights = ours(features, order, torch.tensor(grids))
        assert torch.equal(model.visual(features, grid_thw=grids), wanted)
        alone = [model.visual(part, [grid]) for part, grid in zip(features.split(sizes), grids, strict=True)]
    assert torch.allclose(torch.cat(alone), wanted, atol=1e-5) and len(weights) == 3
    with pytest.raises(ShapeError, match="leave CUDA graphs of the encoder off"):
        model.visual(features)
    with pytest.raises(ShapeError, match="tell their grids first"):
        model.visual(features[:8], grid_thw=grids)


def test_a_model_that_hears_is_refused(model_module, nano):
    module, _ = model_module
    config = types.SimpleNamespace(vision_config=nano.model.config.vision_config, hearing=object())
    with pytest.raises(SettingsError, match="does not carry sound; serve this model with --engine own"):
        module.EmotionQwenForVllm(vllm_config=config_of(config))


def test_the_stand_ins_are_as_vllms_sources_say():
    found = sources()
    if found is None:
        pytest.skip("vLLM's sources are not here; name them by EMOTION_QWEN_VLLM_SOURCES")
    models = found / "model_executor" / "models"
    text = (models / "qwen2_5_vl.py").read_text(encoding="utf-8")
    tables = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            for part in node.body:
                if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "hf_to_vllm_mapper":
                    tables[node.name] = {k.arg: ast.literal_eval(k.value) for k in part.value.keywords}
    assert tables["Qwen2_5_VLForConditionalGeneration"] == {"orig_to_new_prefix": PREFIXES}
    assert tables["Qwen2_5_VisionTransformer"] == {"orig_to_new_stacked": STACKED}
    vision = text[text.index("class Qwen2_5_VisionTransformer(") : text.index("class Qwen2_5_VLDummyInputsBuilder")]
    assert (
        "hidden_states = self.merger(hidden_states)\n        hidden_states = hidden_states[reverse_indices, :]"
        in vision
    )
    assert "grid_thw: list[list[int]] | None," in vision and "self.visual(pixel_values, grid_thw=grid_thw_list)" in text
    utils = (models / "utils.py").read_text(encoding="utf-8")
    (mapper,) = [n for n in ast.parse(utils).body if isinstance(n, ast.ClassDef) and n.name == "WeightsMapper"]
    space: dict[str, Any] = {"dataclass": dataclass, "field": field, "Mapping": Mapping, "Iterable": Iterable, "re": re,
                             "torch": torch, "Any": Any, "WeightRenaming": object, "ShardIds": Any}  # fmt: skip
    exec(compile(ast.Module([mapper], []), "utils.py", "exec"), space)
    prefixes = {"model.compressor.": "visual.merger.", **PREFIXES}
    real, ours = space["WeightsMapper"](orig_to_new_prefix=prefixes), Mapper(orig_to_new_prefix=prefixes)
    for name in ("model.compressor.gate.qkv.weight", "model.visual.blocks.0.attn.qkv.bias", "lm_head.weight",
                 "model.language_model.layers.3.mlp.up_proj.weight"):  # fmt: skip
        assert real.map_name(name) == ours.map_name(name)
    assert real.map_name("model.compressor.general.ln_q.weight") == "visual.merger.general.ln_q.weight"


def test_the_hand_over_composes_vllms_command_and_says_what_is_missing(tmp_path):
    settings = ServeSettings.of({"model": "my/model", "slots": 8, "context": 2048, "media_root": str(tmp_path)})
    told = " ".join(vllm_plugin.command(settings))
    assert told.startswith("vllm serve my/model --host 127.0.0.1 --port 8000 --served-model-name model")
    assert "--max-num-seqs 8 --max-model-len 2048 --allowed-local-media-path" in told
    if importlib.util.find_spec("vllm") is None:
        with pytest.raises(MissingPackage, match="--engine vllm needs 'vllm', which is not installed"):
            vllm_plugin.hand_over(settings, None)
