"""Conversion: every layout, every refusal, and a target that is complete or absent."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.disk import room
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from emotion_qwen.cli import main
from emotion_qwen.convert.conversion import convert, parse_config
from emotion_qwen.convert.fresh import new_gate
from emotion_qwen.convert.layouts import key_map
from emotion_qwen.errors import CheckpointError, SettingsError
from emotion_qwen.model import PRESETS, EmotionQwenConfig, EmotionQwenForConditionalGeneration, preset

GATE = "model.compressor.gate."


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {key: value for path in sorted(folder.glob("*.safetensors")) for key, value in load_file(path).items()}


def nested(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename hub keys to those of newer transformers' modules."""

    def name(key: str) -> str:
        if key.startswith("visual."):
            return "model." + key
        return key.replace("model.", "model.language_model.", 1) if key.startswith("model.") else key

    return {name(key): value for key, value in tensors.items()}


def refused(source: Path, *texts: str, **options) -> str:
    target = source.parent / "refused"
    with pytest.raises(CheckpointError) as caught:
        convert(source, target, **options)
    for text in texts:
        assert text in str(caught.value)
    assert not target.exists() and not list(source.parent.glob(".refused*"))
    return str(caught.value)


# --- layouts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("layout", ["hub", "nested"])
@pytest.mark.parametrize("source_shards", ["5GB", "60KB"])
def test_qwen_layouts(qwen, rewrite, tmp_path, tied, layout, source_shards):
    source = qwen(max_shard_size=source_shards if layout == "hub" else "5GB", tie_word_embeddings=tied)
    before = weights(source)
    if layout == "nested":
        rewrite(source, nested)
    report = convert(source, tmp_path / "ours", max_shard_size=60e3)
    after = weights(tmp_path / "ours")
    assert report.layout == layout and report.written and len(report.weights) > 1
    for key, value in nested(before).items():
        if ".merger." in key:
            inner = key.split(".merger.")[1]
            assert torch.equal(after.pop(f"model.compressor.general.{inner}"), value)
            assert torch.equal(after.pop(f"model.compressor.emotion.{inner}"), value)
            assert f"model.compressor.emotion.{inner}" in report.cloned
        else:
            assert torch.equal(after.pop(key), value)
    assert sorted(after) == sorted(report.fresh) and len(report.fresh) == 14 and report.gate_seed == 0
    gate = new_gate(EmotionQwenConfig.from_pretrained(tmp_path / "ours"))
    assert all(torch.equal(after[key], gate[key]) for key in after)
    assert report.parts["output projection"] == ((0, 0) if tied else (1, 96 * 48))
    assert sum(count for count, _ in report.parts.values()) == len(weights(tmp_path / "ours"))
    for shard in (tmp_path / "ours").glob("*.safetensors"):
        assert shard.stat().st_size < 60e3 + 8e3
    EmotionQwenForConditionalGeneration.from_pretrained(tmp_path / "ours")


def test_ours_is_a_checked_copy(model, tmp_path):
    made = model(gate_pool="before", gate_threshold=0.01)
    made.save_pretrained(tmp_path / "one")
    report = convert(tmp_path / "one", tmp_path / "two")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert report.layout == "ours" and report.fresh == () and report.gate_seed is None and report.cloned == {}
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
    again = EmotionQwenConfig.from_pretrained(tmp_path / "two")
    assert (again.gate_pool, again.gate_threshold, again.gate_hidden_size) == ("before", 0.01, 16)
    fresh = convert(tmp_path / "one", tmp_path / "three", fresh_gate=True)
    assert len(fresh.fresh) == 14 and len(fresh.dropped) == 14
    assert not torch.equal(weights(tmp_path / "three")[f"{GATE}qkv.weight"], one[f"{GATE}qkv.weight"])


@pytest.mark.parametrize("size", ["3b", "7b", "32b", "72b"])
def test_keys_and_shapes_of_the_published_sizes(size):
    """Names and shapes of transformers' own model at full geometry, on the meta device, in every layout."""
    fields = {key: value for key, value in PRESETS[size].items() if not key.startswith("gate")}
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**fields))
        ours = EmotionQwenForConditionalGeneration(preset(size))
    inner = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    hub = {
        k.replace("model.visual.", "visual.").replace("model.language_model.", "model."): s for k, s in inner.items()
    }
    own = {key: tuple(value.shape) for key, value in ours.state_dict().items()}
    for layout, shapes in (("nested", inner), ("hub", hub), ("ours", own)):
        found = key_map(shapes, preset(size))
        assert found.layout == layout
        used = set(found.sources.values())
        assert used | found.dropped.keys() == shapes.keys()
        assert set(found.dropped) == ({"lm_head.weight"} if size == "3b" else set())
        assert found.sources.keys() | set(found.fresh) == found.shapes.keys()
        assert found.shapes == {key: shape for key, shape in own.items() if key not in found.dropped}
        assert len(found.fresh) == (0 if layout == "ours" else 14)
        assert len(found.cloned) == (0 if layout == "ours" else 5)


# --- configuration and companions ------------------------------------------------------------------------------------


def test_a_published_flat_configuration_keeps_every_value(published, tmp_path):
    parse_config(published).save_pretrained(tmp_path)
    config = EmotionQwenConfig.from_pretrained(tmp_path)
    text, vision = config.text_config, config.vision_config
    for key, value in published["vision_config"].items():
        assert list(value) == list(getattr(vision, key)) if isinstance(value, list) else getattr(vision, key) == value
    assert vision.in_channels == 3
    top = {"vision_start_token_id", "vision_end_token_id", "vision_token_id", "image_token_id", "video_token_id"}
    own = {"architectures", "model_type", "transformers_version", "vision_config"}
    other = {"rope_theta", "rope_scaling", "torch_dtype", "sliding_window", "tie_word_embeddings"}
    for key in published.keys() - own - other:
        assert getattr(config if key in top else text, key) == published[key], key
    assert text.rope_parameters["rope_theta"] == 1e6 and text.rope_parameters["mrope_section"] == [16, 24, 24]
    assert config.tie_word_embeddings and config.dtype == torch.bfloat16
    assert text.sliding_window is None  # transformers' reading of use_sliding_window = false
    assert (config.gate_num_heads, config.gate_hidden_size) == (16, 320)


def test_companions_are_copied_byte_for_byte(qwen, tmp_path):
    source = qwen()
    files = {"tokenizer.json": b'{"a": 1}\r\n', "chat_template.jinja": b"{{ x }}", "preprocessor_config.json": b"{ }"}
    for name, content in files.items():
        (source / name).write_bytes(content)
    (source / "modeling_custom.py").write_text("raise SystemExit")
    generation = (source / "generation_config.json").read_bytes()
    report = convert(source, tmp_path / "ours")
    assert set(report.companions) == {*files, "generation_config.json"}
    for name, content in {**files, "generation_config.json": generation}.items():
        assert (tmp_path / "ours" / name).read_bytes() == content
    assert not (tmp_path / "ours" / "modeling_custom.py").exists()
    written = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert written["model_type"] == "emotion_qwen"
    assert written["architectures"] == ["EmotionQwenForConditionalGeneration"]
    assert written["vision_config"]["tokens_per_second"] == 2 and written["image_token_id"] == 5


def test_bf16_is_kept_and_dtypes_can_be_changed(qwen, tmp_path):
    source = qwen(dtype=torch.bfloat16)
    report = convert(source, tmp_path / "kept")
    assert set(report.dtypes) == {"bfloat16"}
    assert {value.dtype for value in weights(tmp_path / "kept").values()} == {torch.bfloat16}
    assert EmotionQwenForConditionalGeneration.from_pretrained(tmp_path / "kept").dtype == torch.bfloat16
    convert(source, tmp_path / "wide", dtype="float32")
    wide, kept = weights(tmp_path / "wide"), weights(tmp_path / "kept")
    assert all(torch.equal(wide[k], kept[k].float()) for k in wide if not k.startswith(GATE))
    assert EmotionQwenForConditionalGeneration.from_pretrained(tmp_path / "wide").dtype == torch.float32
    with pytest.raises(SettingsError, match="unknown dtype 'bf16'; expected one of: bfloat16, float16, float32"):
        convert(source, tmp_path / "none", dtype="bf16")


def test_values_beyond_float16_are_not_turned_into_infinity(qwen, rewrite):
    source = rewrite(qwen(), lambda t: {**t, "model.norm.weight": t["model.norm.weight"] * 0 + 1e6})
    refused(source, "model.language_model.norm.weight: values up to 1e+06 do not fit torch.float16", dtype="float16")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [None, "float16"])
@pytest.mark.parametrize("key", ["model.norm.weight", "visual.merger.ln_q.weight"])
def test_a_value_that_is_no_number_is_refused(value, dtype, key, qwen, rewrite):
    def spoil(tensors):
        tensors[key] = tensors[key].clone()
        tensors[key][-1] = value
        return tensors

    refused(rewrite(qwen(), spoil), "weight: 1 value(s) are NaN or infinite; the checkpoint is damaged", dtype=dtype)


def test_missing_files_of_the_processor_are_named(qwen, tmp_path, capsys):
    source = qwen()
    assert main(["convert", str(source), str(tmp_path / "bare")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"not in {source}: tokenizer.json, processor_config.json or preprocessor_config.json; copy them into" in told
    for name in ("vocab.json", "merges.txt", "preprocessor_config.json"):
        (source / name).write_text("{}")
    assert convert(source, tmp_path / "whole").missing == ()
    (source / "merges.txt").unlink()
    assert convert(source, tmp_path / "half").missing == ("tokenizer.json",)


# --- refusals --------------------------------------------------------------------------------------------------------


def test_missing_unexpected_and_wrong_keys_are_listed(qwen, rewrite):
    def spoil(tensors):
        del tensors["visual.blocks.0.norm1.weight"], tensors["visual.merger.ln_q.weight"]
        return {**tensors, "visual.extra": torch.zeros(1), "model.norm.weight": torch.zeros(7)}

    refused(
        rewrite(qwen(), spoil),
        "the weights (hub layout) do not fit config.json",
        "missing keys: visual.blocks.0.norm1.weight, visual.merger.ln_q.weight;",
        "unexpected keys: visual.extra;",
        "wrong shapes: model.norm.weight (7,) instead of (48,).",
    )


def test_a_missing_shard_is_named(qwen):
    source = qwen(max_shard_size="60KB")
    shards = sorted(source.glob("*.safetensors"))
    shards[1].unlink()
    refused(source, f"1 of {len(shards)} shards missing: {shards[1].name}; copy the folder again")


def test_an_index_that_promises_more_than_its_shards_hold(qwen):
    source = qwen(max_shard_size="60KB")
    index = source / "model.safetensors.index.json"
    values = json.loads(index.read_text())
    values["weight_map"]["visual.phantom"] = next(iter(values["weight_map"].values()))
    index.write_text(json.dumps(values))
    refused(source, "its shards lack visual.phantom")


def test_a_truncated_file_is_noticed(qwen):
    path = qwen() / "model.safetensors"
    size = path.stat().st_size
    os.truncate(path, size - 10)
    refused(path.parent, f"{size - 10} bytes that are not a complete safetensors file", "copy it again")
    path.write_bytes(b"no safetensors file at all")
    refused(path.parent, "26 bytes that are not a complete safetensors file")


def test_pickles_are_refused_unread(qwen):
    source = qwen()
    (source / "model.safetensors").unlink()
    refused(source, "neither model.safetensors nor model.safetensors.index.json")
    (source / "pytorch_model-00001-of-00002.bin").write_bytes(b"not even a pickle")
    refused(source, "only pickled weights (pytorch_model-00001-of-00002.bin)", "Convert to safetensors first")


def test_integers_and_quantised_checkpoints_are_refused(qwen, rewrite, edit_config):
    source = qwen()
    rewrite(source, lambda t: {**t, "model.norm.weight": torch.zeros(48, dtype=torch.int8)})
    refused(source, "model.norm.weight is stored as I8, expected one of F64, F32, F16, BF16")
    edit_config(source, quantization_config={"quant_method": "awq"})
    refused(source, "a quantised checkpoint (awq)")


def test_other_models_and_broken_configurations_are_refused(qwen, edit_config, rewrite, tmp_path):
    source = qwen()
    edit_config(source, model_type="qwen2_vl")
    refused(source, "model_type is 'qwen2_vl', expected 'qwen2_5_vl' or 'emotion_qwen'")
    edit_config(source, model_type="qwen2_5_vl", vision_config={"depth": "three"})
    refused(source, "config.json does not describe a Qwen2.5-VL model", "'depth' expected int, got str")
    (source / "config.json").write_text("{")
    refused(source, "config.json: not valid JSON")
    (source / "config.json").unlink()
    refused(source, "no config.json")
    refused(tmp_path / "Qwen" / "Qwen2.5-VL-3B-Instruct", "is not a folder; a model on the hub is downloaded first")


def test_keys_of_no_layout_are_refused(qwen, rewrite, edit_config):
    source = rewrite(qwen(), lambda t: {"bert.pooler.weight": torch.zeros(2)})
    refused(source, "keys of no known layout: bert.pooler.weight", "visual.* with model.layers.*")
    rewrite(source, lambda t: {"vpm.patch_embed.proj.weight": torch.zeros(2), "llm.norm.weight": torch.zeros(2)})
    edit_config(source, model_type="emotionqwen_vl")
    refused(source, "keys of no known layout: llm.norm.weight, vpm.patch_embed.proj.weight;", "model.compressor.*")


def test_a_tied_head_that_is_stored_must_equal_the_embedding(qwen, rewrite, tmp_path):
    source = rewrite(
        qwen(tie_word_embeddings=True), lambda t: {**t, "lm_head.weight": t["model.embed_tokens.weight"].clone()}
    )
    report = convert(source, tmp_path / "ours")
    assert report.dropped == {"lm_head.weight": "tied to the embedding"}
    rewrite(source, lambda t: {**t, "lm_head.weight": t["lm_head.weight"] + 1})
    refused(
        source, "lm_head.weight differs from model.embed_tokens.weight although config.json sets tie_word_embeddings"
    )


# --- the target ------------------------------------------------------------------------------------------------------


def test_a_target_that_holds_something_is_left_alone(qwen, tmp_path):
    source, target = qwen(), tmp_path / "kept"
    target.mkdir()
    convert(source, target)  # empty: allowed
    before = sorted(path.name for path in target.iterdir())
    with pytest.raises(CheckpointError, match="is not empty; choose another name or remove it first"):
        convert(source, target)
    assert sorted(path.name for path in target.iterdir()) == before


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interrupted_conversion_leaves_nothing(qwen, tmp_path, fault):
    source = qwen()

    def stop(done: int, total: int) -> None:
        if done == total // 2:
            assert [path.name for path in tmp_path.glob(".ours.partial-*")]
            raise fault

    with pytest.raises((KeyboardInterrupt, CheckpointError)) as caught:
        convert(source, tmp_path / "ours", progress=stop)
    if isinstance(fault, OSError):
        assert "could not be written ([Errno 28] No space left on device); the incomplete folder was removed" in str(
            caught.value
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["qwen"]


def test_a_disk_that_is_too_small_is_refused_before_writing(qwen, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    refused(qwen(), "needs 0.00 GB and", "0.00 GB free; make room")


def test_a_disk_that_becomes_full_leaves_nothing(qwen):
    source = qwen()
    with room(10_000):
        refused(source, "could not be written (", "the incomplete folder was removed. Check space and permissions")


def test_a_dry_run_writes_nothing(qwen, tmp_path):
    report = convert(qwen(), tmp_path / "ours", dry_run=True)
    assert not report.written and report.weights == () and report.layout == "hub"
    assert not (tmp_path / "ours").exists()


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_converts_and_reports(qwen, tmp_path, capsys):
    source, target, report = qwen(), tmp_path / "ours", tmp_path / "report.json"
    assert main(["convert", str(source), str(target), "--dtype", "bfloat16", "--report", str(report)]) == 0
    out = capsys.readouterr().out
    assert "the merger, cloned" in out and "new, seed 0" in out and f"written to {target}" in out
    values = json.loads(report.read_text())
    assert values["layout"] == "hub" and values["dtypes"] == {"bfloat16": len(weights(target))}
    assert main(["convert", str(source), str(target)]) == 2
    assert "error: target" in capsys.readouterr().err
    assert main(["convert", str(source), str(tmp_path / "dry"), "--dry-run"]) == 0
    assert "dry run; nothing written" in capsys.readouterr().out and not (tmp_path / "dry").exists()
    assert main(["convert", str(source), str(tmp_path / "x"), "--dtype", "int8"]) == 2


def test_the_command_shows_what_was_left_out(model, tmp_path, capsys):
    model().save_pretrained(tmp_path / "one")
    assert main(["convert", str(tmp_path / "one"), str(tmp_path / "two"), "--fresh-gate"]) == 0
    assert f"left out: {GATE}head.bias (a new gate was requested)" in capsys.readouterr().out


def test_the_gate_is_drawn_alike_every_time(config):
    one, two = new_gate(config()), new_gate(config())
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not torch.equal(one[f"{GATE}qkv.weight"], new_gate(config(), seed=1)[f"{GATE}qkv.weight"])
    assert not one[f"{GATE}head.bias"].any()


def test_saved_files_are_readable_by_the_reference_reader(qwen, tmp_path):
    """`load_file` above is that reader; a mixed dtype folder keeps its alignment too."""
    source = qwen()
    tensors = load_file(source / "model.safetensors")
    tensors = {k: (v.bfloat16() if "norm" in k else v) for k, v in tensors.items()}
    save_file(tensors, source / "model.safetensors")
    report = convert(source, tmp_path / "ours")
    after = weights(tmp_path / "ours")
    assert set(report.dtypes) == {"bfloat16", "float32"}
    assert torch.equal(after["model.language_model.norm.weight"], tensors["model.norm.weight"])
