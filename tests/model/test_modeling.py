"""Saving, loading, refusing, and encoding once for many questions."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText

from emotion_qwen.errors import CheckpointError, SettingsError
from emotion_qwen.model import (
    EmotionQwenConfig,
    EmotionQwenForConditionalGeneration,
    EmotionQwenModel,
    preset,
)

GRIDS = [[1, 4, 6], [1, 8, 4]]
load = EmotionQwenForConditionalGeneration.from_pretrained


@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_a_saved_model_loads_equal(model, visual_inputs, tmp_path, tied):
    made, inputs = model(tie_word_embeddings=tied, gate_pool="before"), visual_inputs(GRIDS)
    made.save_pretrained(tmp_path, max_shard_size="80KB")
    again = load(tmp_path)
    assert again.config.gate_pool == "before" and len(list(tmp_path.glob("*.safetensors"))) > 1
    assert torch.equal(made(**inputs).logits, again(**inputs).logits)


def test_the_auto_classes_know_the_model(model, tmp_path):
    model().save_pretrained(tmp_path)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), EmotionQwenConfig)
    assert isinstance(AutoModelForImageTextToText.from_pretrained(tmp_path), EmotionQwenForConditionalGeneration)
    assert isinstance(AutoModel.from_config(model().config), EmotionQwenModel)


@torch.no_grad()
def test_visuals_encoded_once_give_the_same_answer(model, visual_inputs):
    made, inputs = model(), visual_inputs(GRIDS)
    encoded = made.encode_media(inputs)
    assert set(encoded) == {"image"}
    assert encoded["image"].gate_weights.shape == (2, 2)
    assert [len(tokens) for tokens in encoded["image"].pooler_output] == [6, 8]
    rest = {key: value for key, value in inputs.items() if key != "pixel_values"}
    assert torch.equal(made(**inputs).logits, made(**rest, mm_encoder_outputs=encoded).logits)
    options = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
    assert torch.equal(made.generate(**inputs, **options), made.generate(**rest, mm_encoder_outputs=encoded, **options))


@torch.no_grad()
def test_set_gate_mode_changes_model_and_configuration_and_nothing_else(model, visual_inputs):
    made, inputs = model(), visual_inputs(GRIDS)
    before, attention = made(**inputs).logits, made.config._attn_implementation
    made.set_gate_mode("emotion")
    assert (made.config.gate_mode, made.model.compressor.mode) == ("emotion", "emotion")
    assert not torch.allclose(made(**inputs).logits, before)
    assert made.encode_media(inputs)["image"].gate_weights.tolist() == [[0.0, 1.0], [0.0, 1.0]]
    made.set_gate_mode("learned")
    assert torch.equal(made(**inputs).logits, before)
    assert made.config._attn_implementation == attention  # losing it would silently lose the causal mask


def test_unknown_gate_choices_are_refused(model, config):
    made = model()
    with pytest.raises(SettingsError, match="unknown gate_mode 'emotional'; .* Did you mean 'emotion'?"):
        made.set_gate_mode("emotional")
    assert (made.config.gate_mode, made.model.compressor.mode) == ("learned", "learned")
    with pytest.raises(SettingsError, match="unknown gate_mode 'both'; expected one of: emotion, general, learned"):
        config(gate_mode="both")
    with pytest.raises(SettingsError, match="unknown gate_pool 'middle'; expected one of: after, before"):
        config(gate_pool="middle")
    with pytest.raises(SettingsError, match="unknown size '7B'; expected one of: 32b, 3b, 72b, 7b, mini, nano"):
        preset("7B")


@pytest.fixture
def saved(model, tmp_path):
    model().save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def refused(folder, *texts: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    for text in texts:
        assert text in str(caught.value)


def test_a_missing_key_is_refused(saved, rewrite):
    name = "model.compressor.gate.head.bias"
    rewrite(saved, lambda tensors: {k: v for k, v in tensors.items() if k != name})
    refused(saved, f"the weights do not fit the model: missing keys: {name}.", "`emotion-qwen convert`")


def test_an_unexpected_key_is_refused(saved, rewrite):
    rewrite(saved, lambda tensors: {**tensors, "model.audio.weight": torch.zeros(2)})
    refused(saved, "unexpected keys: model.audio.weight")


def test_a_wrong_shape_is_refused(saved, rewrite):
    name = "model.compressor.gate.head.bias"
    rewrite(saved, lambda tensors: {**tensors, name: torch.zeros(3)})
    refused(saved, f"mismatched keys: {name} (3,) instead of (2,)")


def test_many_missing_keys_are_counted(saved, rewrite):
    rewrite(saved, lambda tensors: {k: v for k, v in tensors.items() if "compressor" not in k})
    refused(saved, "missing keys: model.compressor.emotion.ln_q.weight", "and 12 more")


def test_a_missing_shard_is_refused(model, tmp_path):
    model().save_pretrained(tmp_path, max_shard_size="80KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    shards[1].unlink()
    refused(tmp_path, f"1 of {len(shards)} shards missing: {shards[1].name}; copy the folder again")


def test_a_raw_qwen_folder_is_refused(qwen):
    folder = qwen()
    refused(folder, "model_type is 'qwen2_5_vl', expected 'emotion_qwen'", f"`emotion-qwen convert {folder} OUTPUT`")


def test_folders_without_a_model_are_refused(tmp_path, saved):
    refused(tmp_path / "nowhere", f"model folder {str(tmp_path / 'nowhere')!r} does not exist")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no config.json; expected a folder saved by `save_pretrained`")
    (saved / "model.safetensors").unlink()
    refused(saved, "neither model.safetensors nor model.safetensors.index.json")
    (saved / "config.json").write_text("{")
    refused(saved, "config.json: not valid JSON")


def test_loading_info_is_still_returned_on_request(saved):
    made, info = load(saved, output_loading_info=True)
    assert isinstance(made, EmotionQwenForConditionalGeneration) and not info["missing_keys"]
    assert json.loads((saved / "config.json").read_text())["architectures"] == ["EmotionQwenForConditionalGeneration"]
