"""The vLLM plug-in without vLLM; `test_vllm_engine.py` runs it inside vLLM, where that is installed.

Stand-ins take the places of vLLM's classes: they have the modules, and so the names of weights, that vLLM 0.33 has. If
vLLM's Python sources are there (installed, or a folder named by EMOTION_QWEN_VLLM_SOURCES), the stand-ins, the methods
that are overridden and the options of `vllm serve` are compared with them; else that test is skipped.
"""

from __future__ import annotations

import ast
import contextlib
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

import numpy as np
import pytest
import torch
from torch import nn
from transformers.models.auto.video_processing_auto import VIDEO_PROCESSOR_MAPPING_NAMES

from emotion_qwen.errors import MissingPackage, SettingsError, ShapeError
from emotion_qwen.media.clip import read_clip
from emotion_qwen.serving.limits import ServeSettings
from emotion_qwen.serving.vllm import plugin as vllm_plugin

LIMITS = types.SimpleNamespace(VLLM_MAX_IMAGE_PIXELS=10**7, VLLM_MAX_AUDIO_DECODE_DURATION_S=60)
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
    is_multimodal_pruning_enabled = False

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__()
        self.visual, self.config = Vision(vllm_config.model_config.hf_config), vllm_config.model_config.hf_config

    @contextlib.contextmanager
    def _mark_tower_model(self, vllm_config: Any, modalities: Any) -> Any:
        yield

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str:
        return f"<{modality}>"


class Registry:
    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.loaders: dict[str, tuple[type, str]] = {}

    def register(self, name: str, *, video_processor: str) -> Any:
        return lambda cls: self.loaders.setdefault(name, (cls, video_processor))

    def get_supported_archs(self) -> Iterable[str]:
        return self.known

    def register_model(self, name: str, place: str) -> None:
        self.known[name] = place

    def register_processor(self, *args: Any, **kwargs: Any) -> Any:
        return lambda cls: cls


@pytest.fixture
def model_module(monkeypatch):
    """`serving.vllm.model`, imported over stand-ins."""
    registry = Registry()
    empty = lambda *names: {name: type(name, (), {}) for name in names}  # noqa: E731
    modules = {
        "vllm": {"ModelRegistry": registry, "envs": LIMITS},
        "vllm.model_executor": {},
        "vllm.model_executor.models": {},
        "vllm.model_executor.models.module_mapping": empty("MultiModelKeys"),
        "vllm.model_executor.models.qwen2_vl": empty("Qwen2VLMultiModalDataParser"),
        "vllm.model_executor.models.qwen2_5_vl": {
            **empty("Qwen2_5_VLDummyInputsBuilder", "Qwen2_5_VLMultiModalProcessor", "Qwen2_5_VLProcessingInfo"),
            "Qwen2_5_VLForConditionalGeneration": Base,
        },
        "vllm.model_executor.models.utils": {"WeightsMapper": Mapper},
        "vllm.multimodal": {"MULTIMODAL_REGISTRY": registry},
        "vllm.multimodal.inputs": empty("MultiModalFieldConfig"),
        "vllm.multimodal.processing": empty("PromptReplacement"),
        "vllm.multimodal.video": {"VIDEO_LOADER_REGISTRY": registry, **empty("VideoLoader")},
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    ours = [f"emotion_qwen.serving.vllm.{part}" for part in ("model", "processing", "video")]
    for name in ours:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(ours[0]), registry
    for name in ours:
        sys.modules.pop(name, None)
    VIDEO_PROCESSOR_MAPPING_NAMES.pop("emotion_qwen", None)


def config_of(hf_config: Any) -> Any:
    return types.SimpleNamespace(model_config=types.SimpleNamespace(hf_config=hf_config))


def test_the_entry_point_names_what_registers_the_class(model_module):
    module, registry = model_module
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    target = project["entry-points"]["vllm.general_plugins"]["emotion_qwen"]
    assert target == "emotion_qwen.serving.vllm.plugin:register"
    vllm_plugin.register()
    vllm_plugin.register()
    assert registry.known == {
        "EmotionQwenForConditionalGeneration": "emotion_qwen.serving.vllm.model:EmotionQwenForVllm"
    }
    place, _, name = registry.known["EmotionQwenForConditionalGeneration"].partition(":")
    assert place == module.__name__ and hasattr(module, name)
    loader, known_as = registry.loaders["emotion_qwen"]
    assert VIDEO_PROCESSOR_MAPPING_NAMES["emotion_qwen"] == known_as, "vLLM finds the loader by this name"
    data, _ = loader.load_bytes(b"any file", num_frames=32)
    assert data.dtype == np.uint8 and data.tobytes() == b"any file"


@pytest.mark.parametrize("which", ["nano", "deaf"])
def test_every_weight_finds_a_place(model_module, which, request):
    """Each saved name becomes a parameter's; each parameter of ours gets one, whole and of its shape."""
    module, _ = model_module
    engine = request.getfixturevalue(which)
    with torch.device("meta"):
        model = module.EmotionQwenForVllm(vllm_config=config_of(engine.model.config))
    own = {
        name: value.shape for name, value in model.named_parameters() if name.startswith(("visual.merger.", "audio."))
    }
    assert any(name.startswith("audio.") for name in own) == (which == "nano")
    mapper, vision = module.EmotionQwenForVllm.hf_to_vllm_mapper, Mapper(orig_to_new_stacked=STACKED)
    places = {name for name, _ in model.named_parameters()}
    reached = set()
    for name, value in engine.model.state_dict().items():
        new = vision.map_name(mapper.map_name(name))
        if new.startswith(("visual.merger.", "audio.")):
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


def test_the_gate_weighs_as_ours_however_visuals_are_packed(model_module, deaf, bare):
    module, _ = model_module
    model = module.EmotionQwenForVllm(vllm_config=config_of(deaf.model.config))
    ours = bare.model.compressor
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
    with pytest.raises(ShapeError, match="pass their grids first"):
        model.visual(features[:8], grid_thw=grids)


def test_thinning_of_videos_is_refused(model_module, deaf, monkeypatch):
    module, _ = model_module
    monkeypatch.setattr(Base, "is_multimodal_pruning_enabled", True)
    with pytest.raises(SettingsError, match="--video-pruning-rate: this model was not trained with pruned videos"):
        module.EmotionQwenForVllm(vllm_config=config_of(deaf.model.config))


def test_grids_are_told_for_one_call_only(model_module, deaf):
    """Else a call that tells none would be weighed by the visuals of the one before."""
    module, _ = model_module
    merger = module.VisualCompressor(deaf.model.config)
    merger.expect([[1, 4, 4]])
    features = torch.randn(16, deaf.model.config.vision_config.hidden_size)
    merger(features)
    with pytest.raises(ShapeError, match="16 patch features for visuals of 0; pass their grids first"):
        merger(features)


def test_sounds_become_tokens_item_by_item(model_module, nano, bare):
    """Windows of all sounds come in one tensor; `sound_windows` tells where one ends."""
    module, _ = model_module
    model = module.EmotionQwenForVllm(vllm_config=config_of(nano.model.config))
    model.audio.load_state_dict(bare.model.audio.state_dict())
    torch.manual_seed(0)
    own = nano.processor(audio=[torch.randn(52_800) / 9, torch.randn(17_600) / 9])
    with torch.inference_mode():
        wanted = bare.model.get_audio_features(own["input_features"], own["feature_lengths"]).pooler_output
        found = model.embed_multimodal(**own, sound_windows=torch.tensor([[2], [1]]))
    assert [len(one) for one in found] == [17, 6]
    assert torch.equal(torch.cat(found), torch.cat(wanted))


def test_positions_are_those_of_our_model(model_module, nano):
    """Also after a video, where vLLM's own rule goes on elsewhere, and for a video's sound, which has its clock."""
    module, _ = model_module
    model = module.EmotionQwenForVllm(vllm_config=config_of(nano.model.config))
    grids = {"image": [1, 4, 6], "video": [5, 4, 4]}
    tokens = {"image": 6, "video": 20, "audio": 7}
    kinds, features = [], []
    for kind, told in (("image", 3), ("video", 2), ("audio", 2)):
        kinds += [0] * told
        place = types.SimpleNamespace(offset=len(kinds), length=tokens[kind])
        facts = (
            {f"{kind}_grid_thw": torch.tensor(grids[kind]), "second_per_grid_ts": torch.tensor(0.7)}
            if kind in grids
            else {}
        )
        data = {name: types.SimpleNamespace(data=value) for name, value in facts.items()}
        features.append(types.SimpleNamespace(modality=kind, mm_position=place, data=data))
        kinds += [{"image": 1, "video": 2, "audio": 3}[kind]] * tokens[kind]
    kinds += [0] * 4
    wanted, delta = nano.model.model.get_rope_index(
        torch.zeros(1, len(kinds), dtype=torch.long), torch.tensor([kinds]), second_per_grid_ts=torch.tensor([0.7]),
        image_grid_thw=torch.tensor([grids["image"]]), video_grid_thw=torch.tensor([grids["video"]]),
    )  # fmt: skip
    found, offset = model.get_mrope_input_positions([0] * len(kinds), features[::-1])
    assert torch.equal(found, wanted[:, 0]) and offset == int(delta)
    plain, none = model.get_mrope_input_positions([0] * 5, [])
    assert plain.tolist() == [[0, 1, 2, 3, 4]] * 3 and none == 0


def test_a_video_is_read_as_by_our_own_reader(model_module, gray_clip, nano):
    processing = importlib.import_module("emotion_qwen.serving.vllm.processing")
    settings = nano.processor.settings
    own = read_clip(gray_clip, settings)
    found = processing.clip_of(np.frombuffer(gray_clip.read_bytes(), np.uint8), {}, settings)
    assert np.array_equal(found.frames, own.frames) and np.array_equal(found.times, own.times)
    frames = np.zeros((3, 16, 16, 3), np.uint8)
    told = processing.clip_of(frames, {"fps": 10.0, "frames_indices": [0, 5, 10]}, settings)
    assert told.times.tolist() == [0.0, 0.5, 1.0] and told.fps == 2.0
    assert processing.clip_of(frames, {}, settings).fps == settings.fps


def test_a_video_that_is_refused_is_a_fault_of_the_request(model_module, gray_clip, nano, monkeypatch):
    """vLLM answers a ValueError with 400, anything else with 500."""
    processing = importlib.import_module("emotion_qwen.serving.vllm.processing")
    with pytest.raises(ValueError, match="'the video' is text") as told:
        processing.clip_of(np.frombuffer(b"no video at all" * 9, np.uint8), {}, nano.processor.settings)
    assert "emotion-qwen-" not in str(told.value), "where the file lay is nobody's business"
    monkeypatch.setattr(LIMITS, "VLLM_MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="expected at most 100, reduce it"):
        processing.clip_of(np.frombuffer(gray_clip.read_bytes(), np.uint8), {}, nano.processor.settings)


def test_a_fault_of_ffmpeg_is_one_of_the_request(model_module, gray_clip, nano, monkeypatch):
    processing = importlib.import_module("emotion_qwen.serving.vllm.processing")

    def fail(*_: Any) -> None:
        raise OverflowError("a timestamp beyond all numbers")

    monkeypatch.setattr(processing, "read_clip", fail)
    with pytest.raises(ValueError, match=r"the video is damaged \(OverflowError\); save it again"):
        processing.clip_of(np.frombuffer(gray_clip.read_bytes(), np.uint8), {}, nano.processor.settings)


def test_sound_without_scale_is_refused(model_module):
    processing = importlib.import_module("emotion_qwen.serving.vllm.processing")
    assert processing.checked_wave([0.5, -1.0]).dtype == np.float32
    with pytest.raises(ValueError, match="is unscaled; vLLM reads sound correctly only with 'soundfile'"):
        processing.checked_wave(np.array([3, -12_000, 9], np.int16))
    with pytest.raises(ValueError, match="holds no sample"):
        processing.checked_wave(np.zeros(0))


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


OVERRIDDEN = {
    "model_executor/models/qwen2_5_vl.py": (
        "supports_mm_device_do_normalize = True", "def embed_multimodal(self, **kwargs: object)",
        "def get_encoder_cudagraph_config(self):", "def get_mm_mapping(self)", "self.is_multimodal_pruning_enabled = (",
    ),
    "model_executor/models/qwen2_vl.py": (
        "def get_image_processor(self, **kwargs: object)", "def get_supported_mm_limits(self)",
        "def get_data_parser(self):", "self, max_pixels: int | None = None",
    ),
    "multimodal/processing/processor.py": (
        "def _get_hf_mm_inputs(", "def _call_hf_processor(", 'hf_data["audio"] = hf_data.pop("audios")',
    ),
    "multimodal/processing/context.py": (
        "def get_supported_mm_processor_kwargs(self)", "def get_mm_max_tokens_per_item(",
    ),
    "transformers_utils/processor.py": ("VIDEO_PROCESSOR_MAPPING_NAMES.get(",),
    "entrypoints/cli/main.py": ('if __name__ == "__main__":',),
}  # fmt: skip


def test_what_is_overridden_is_there_to_be_overridden():
    """A method that vLLM renames would silently no longer be ours."""
    found = sources()
    if found is None:
        pytest.skip("vLLM's sources are not here; name them by EMOTION_QWEN_VLLM_SOURCES")
    for place, needles in OVERRIDDEN.items():
        text = (found / place).read_text(encoding="utf-8")
        assert not [needle for needle in needles if needle not in text], place
    options = "".join(path.read_text(encoding="utf-8") for path in (found / "engine").glob("arg_utils.py"))
    options += "".join(path.read_text(encoding="utf-8") for path in (found / "entrypoints").rglob("cli_args.py"))
    given = ServeSettings.of({"context": 64, "media_root": ".", "origins": ["http://a"], "dtype": "float16"})
    for name in [one for one in vllm_plugin.command(given) if one.startswith("--")]:
        assert f'"{name}"' in options or re.search(rf"^    {name[2:].replace('-', '_')}: ", options, re.M), name
    variables = (found / "envs.py").read_text(encoding="utf-8")
    assert not [name for name in vllm_plugin.environment_variables(given, "k") if f'"{name}"' not in variables]


def test_the_hand_over_composes_vllms_command(tmp_path):
    settings = ServeSettings.of({"model": "my/model", "slots": 8, "context": 2048, "media_root": str(tmp_path)})
    told = " ".join(vllm_plugin.command(settings))
    assert told.startswith("my/model --host 127.0.0.1 --port 8000 --served-model-name model")
    assert "--max-num-seqs 8 --max-num-queued-reqs 72" in told and "--max-model-len 2048" in told
    assert f"--allowed-local-media-path {tmp_path}" in told and "--allowed-origins" not in told
    assert '--override-generation-config {"temperature": 0.0}' in told, "our default, and no other"
    assert "--allowed-media-domains nowhere.invalid" in told, "vLLM fetches from everywhere unless told"
    assert vllm_plugin.environment_variables(settings, "secret")["VLLM_API_KEY"] == "secret" and "secret" not in told
    assert "VLLM_API_KEY" not in vllm_plugin.environment_variables(settings, None)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"allow_remote": True}, "vLLM would fetch any address, private ones too"),
        ({"device": "cuda:1"}, "choose among GPUs by CUDA_VISIBLE_DEVICES"),
        ({"decoders": 4, "live": 1}, "decoders, live with --engine vllm: vLLM has no such setting"),
    ],
)
def test_a_setting_that_vllm_cannot_keep_is_refused(values, why):
    with pytest.raises(SettingsError, match=why):
        vllm_plugin.command(ServeSettings.of(values))


def test_the_hand_over_becomes_vllm_of_the_same_python(monkeypatch):
    """Not the first `vllm` on the path: that may be of another environment."""
    became: list[Any] = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(os, "execve", lambda *all_of_it: became.extend(all_of_it))
    vllm_plugin.exec_vllm(ServeSettings.of({}), "secret")
    program, arguments, environment = became
    assert program == sys.executable and arguments[:4] == [program, "-m", "vllm.entrypoints.cli.main", "serve"]
    assert environment["VLLM_API_KEY"] == "secret" and environment["PATH"] == os.environ["PATH"]


def test_without_vllm_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match="--engine vllm needs 'vllm', which is not installed; pip install 'vllm"):
        vllm_plugin.exec_vllm(ServeSettings.of({}), None)
