"""Models of Qwen2.5-VL's layout, loaded by their folder: equal to the bit to convert-then-load, and nothing written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.convert.test_convert import nested
from tests.model.conftest import TEXT, TOKENS, VISION, widen
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from emotion_qwen.convert.conversion import convert
from emotion_qwen.convert.loading import load_config, load_model
from emotion_qwen.errors import CheckpointError
from emotion_qwen.model.source import NANO, find_model
from emotion_qwen.processing.folder import load_processor
from emotion_qwen.training.adapters import merge_adapter

PROCESSOR = ("tokenizer.json", "tokenizer_config.json")
LANGUAGE = ["q_proj", "v_proj", "gate_proj"]


def with_processor(folder: Path) -> Path:
    """Give a folder the processor files of Qwen2.5-VL's form, with nano's tokenizer."""
    for name in PROCESSOR:
        shutil.copyfile(NANO / name, folder / name)
    settings = json.loads((NANO / "processor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(settings["image_processor"]))
    return folder


def logits(model, ids: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=ids).logits


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("layout", "shards"), [("hub", "5GB"), ("hub", "60KB"), ("nested", "5GB")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_published_folder_loads_as_it_would_after_conversion(qwen, rewrite, tmp_path, tied, layout, shards, dtype):
    source = qwen(max_shard_size=shards, tie_word_embeddings=tied, dtype=torch.bfloat16)
    if layout == "nested":
        rewrite(source, nested)
    (source / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 9], "max_new_tokens": 11}))
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    convert(source, tmp_path / "ours")
    converted, direct = (
        load_model(find_model(tmp_path / "ours"), dtype=dtype),
        load_model(find_model(source), dtype=dtype),
    )
    expected = converted.state_dict()
    assert direct.state_dict().keys() == expected.keys()
    for name, value in direct.state_dict().items():
        assert value.dtype == expected[name].dtype and torch.equal(value, expected[name]), name
    assert dict(direct.named_buffers()).keys() == dict(converted.named_buffers()).keys()
    assert all(torch.equal(b, dict(converted.named_buffers())[n]) for n, b in direct.named_buffers())
    assert direct.generation_config.eos_token_id == [7, 9] and direct.generation_config.max_new_tokens == 11
    assert direct.config.to_dict() | {"_name_or_path": ""} == converted.config.to_dict() | {"_name_or_path": ""}
    ids = torch.arange(8, 40).view(2, 16)
    assert torch.equal(logits(direct, ids), logits(converted, ids))
    assert {path.name: path.read_bytes() for path in source.iterdir()} == before


def test_the_first_use_says_what_the_model_is(qwen, capsys):
    source = qwen("stock")
    load_model(find_model(source))
    load_model(find_model(source))
    assert capsys.readouterr().err.count("has Qwen2.5-VL's layout and is converted in memory") == 1


def test_configuration_without_weights(qwen):
    source = find_model(qwen())
    config = load_config(source)
    assert config.model_type == "emotion_qwen" and config.text_config.hidden_size == 48 and source.published


@pytest.mark.parametrize("fault", ["nan", "missing", "pickled", "other"])
def test_a_damaged_folder_is_one_line(qwen, rewrite, edit_config, fault):
    source = qwen()
    if fault == "nan":
        rewrite(source, lambda tensors: {**tensors, "lm_head.weight": tensors["lm_head.weight"] * float("nan")})
    elif fault == "missing":
        rewrite(source, lambda tensors: {key: value for key, value in tensors.items() if "layers.1.mlp" not in key})
    elif fault == "pickled":
        (source / "model.safetensors").rename(source / "pytorch_model.bin")
    else:
        edit_config(source, model_type="qwen2_vl")
    text = {"nan": "NaN", "missing": "missing keys", "pickled": "pickle", "other": "model_type is 'qwen2_vl'"}[fault]
    with pytest.raises(CheckpointError, match=text) as caught:
        load_model(find_model(source))
    assert "\n" not in str(caught.value)


# --- adapters --------------------------------------------------------------------------------------------------------


def lora(base: Path, target: Path, modules, **options) -> torch.nn.Module:
    """Put a LoRA adapter with unequal numbers on Qwen2.5-VL by peft, and save it."""
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(base).eval()
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=3, lora_alpha=5, target_modules=modules, **options))
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if "lora_" in name:
                value.copy_(torch.randn_like(value) / 8)
    adapted.save_pretrained(target)
    return adapted.eval()


def older(folder: Path) -> None:
    """Give an adapter's keys the names that they have before transformers 4.52: "model.layers", "visual"."""
    path = folder / "adapter_model.safetensors"
    renames = (("base_model.model.model.language_model.", "base_model.model.model."),
               ("base_model.model.model.visual.", "base_model.model.visual."))  # fmt: skip
    tensors = load_file(path)
    for old, new in renames:
        tensors = {key.replace(old, new): value for key, value in tensors.items()}
    save_file(tensors, path)


@pytest.mark.parametrize("layout", ["present", "older"])
@pytest.mark.parametrize(
    ("modules", "options"),
    [
        (LANGUAGE, {}),
        ("all-linear", {"use_rslora": True}),
        (r".*language_model.*(q_proj|o_proj)", {"rank_pattern": {"q_proj": 2}}),
        (["q_proj"], {"modules_to_save": ["lm_head"]}),
        (["v_proj"], {"use_dora": True}),
    ],
)
def test_an_adapter_trained_on_qwen_answers_as_there(qwen, visual_inputs, tmp_path, layout, modules, options):
    source = with_processor(qwen(tie_word_embeddings=False))
    reference = lora(source, tmp_path / "adapter", modules, **options)
    if layout == "older":
        older(tmp_path / "adapter")
    ours = load_model(find_model(tmp_path / "adapter"), dtype=torch.float32)
    inputs = visual_inputs([[1, 4, 4], [1, 2, 6]])
    with torch.inference_mode():
        wanted, plain = reference(**inputs).logits, Qwen2_5_VLForConditionalGeneration.from_pretrained(source)(**inputs)
        assert (wanted - plain.logits).abs().max() > 0.05  # the adapter does something
        assert torch.allclose(ours(**inputs).logits, wanted, atol=2e-5)
    if "lm_head" in options.get("modules_to_save", ()):
        return  # peft keeps a whole copy there, which `merge` handles like any other
    merge_adapter(tmp_path / "adapter", source, tmp_path / "merged")
    merged = load_model(find_model(tmp_path / "merged"), dtype=torch.float32)
    assert torch.allclose(merged(**inputs).logits, wanted, atol=2e-5)


def test_an_adapter_of_another_architecture_is_one_line(qwen, tmp_path):
    source = qwen()
    lora(source, tmp_path / "adapter", LANGUAGE)
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file({key.replace("language_model.layers", "decoder.h"): v for key, v in load_file(path).items()}, path)
    with pytest.raises(CheckpointError) as caught:
        load_model(find_model(tmp_path / "adapter"), dtype=torch.float32)
    assert "\n" not in str(caught.value) and "decoder.h" in str(caught.value)


# --- use -------------------------------------------------------------------------------------------------------------


def test_the_processor_becomes_ours(qwen):
    processor = load_processor(with_processor(qwen()))
    text = processor.apply_chat_template([{"role": "user", "content": "Hello"}], tokenize=False)
    assert text.startswith("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHello")
    assert "generation" in processor.chat_template


PEAK = """
import resource, sys, torch
from emotion_qwen.convert.loading import load_model
from emotion_qwen.model.source import find_model
import peft, transformers.models.qwen2_5_vl.modeling_qwen2_5_vl
torch.set_num_threads(1)
source = find_model(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model = load_model(source, dtype=getattr(torch, sys.argv[2]))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
size = sum(p.numel() * p.element_size() for p in model.parameters())
print((after - before) * 1024 / size)
"""


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("kind", ["untied", "tied", "sharded", "adapter"])
def test_memory_stays_below_1_3_of_the_weights(tmp_path, kind, dtype):
    text = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 24, "vocab_size": 40000}
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [16, 24, 24]}
    config = Qwen2_5_VLConfig(
        text_config={**TEXT, **text, "rope_parameters": rope},
        vision_config={**VISION, "out_hidden_size": 512},
        tie_word_embeddings=kind == "tied",
        **TOKENS,
    )
    model = widen(Qwen2_5_VLForConditionalGeneration(config)).bfloat16()
    model.save_pretrained(tmp_path / "q", max_shard_size="40MB" if kind == "sharded" else "5GB")
    assert len(list((tmp_path / "q").glob("*.safetensors"))) == 1 or kind == "sharded"
    name = tmp_path / "q"
    if kind == "adapter":
        name = tmp_path / "adapter"
        lora(with_processor(tmp_path / "q"), name, LANGUAGE)
    command = [sys.executable, "-c", PEAK, str(name), dtype]
    ratio = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])
    assert ratio < 1.3
