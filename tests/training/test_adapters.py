import json
import shutil

import pytest
import torch

from emotion_qwen.cli import main
from emotion_qwen.errors import CheckpointError, SettingsError
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.model.presets import NANO_HEARING
from emotion_qwen.processing.folder import load_processor
from emotion_qwen.training.adapters import add_adapter, load_quantized, merge_adapter
from emotion_qwen.training.plan import AdapterSettings, read_settings
from emotion_qwen.training.run import load_start, run_stage
from emotion_qwen.training.stages import STAGES, enter_stage, part_digests
from emotion_qwen.training.trainer import StageTrainer

from .conftest import tiny_config
from .training_runs import losses

ADAPTER = {"rank": 4, "alpha": 8, "dropout": 0.0}


def test_adapters_go_on_the_language_model_only(tiny):
    learning = enter_stage(tiny, STAGES["tuning"])
    adapted = add_adapter(tiny, AdapterSettings.of(ADAPTER), learning)
    trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
    lora = {name for name in trained if "lora_" in name}
    assert len(lora) == 2 * 7 * 2 and all("language_model.layers" in name for name in lora)
    assert all("modules_to_save" in name and ".compressor." in name for name in trained - lora)
    assert not any(".visual." in name for name in trained)


def test_a_trained_adapter_merges_exactly(config_file, tiny_start, tmp_path, capsys):
    settings = read_settings(config_file(stage="tuning", adapter=ADAPTER, optim={"steps": 6, "learning_rate": 1e-2}))
    outcome = run_stage(settings)
    weights = [p for n, p in load_adapter(outcome.folder).items() if "lora_B" in n]
    assert weights and all(p.abs().max() > 1e-3 for p in weights)  # trained, not fresh
    assert main(["merge", str(outcome.folder), str(tiny_start), str(tmp_path / "merged")]) == 0
    assert "logits differ by" in " ".join(capsys.readouterr().err.split())
    merged = EmotionQwenForConditionalGeneration.from_pretrained(tmp_path / "merged")
    before, after = part_digests(EmotionQwenForConditionalGeneration.from_pretrained(tiny_start)), part_digests(merged)
    assert [part for part in before if before[part] == after[part]] == ["vision"]
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["model_type"] == "emotion_qwen"


def test_rows_of_new_tokens_train_and_merge_beside_adapters(tiny_start, tmp_path):
    base = EmotionQwenForConditionalGeneration.from_pretrained(tiny_start)
    learning = enter_stage(base, STAGES["tuning"])
    adapted = add_adapter(base, AdapterSettings.of(ADAPTER), learning, rows=[5, 9])
    (change,) = [p for n, p in adapted.named_parameters() if "trainable_tokens_delta" in n and p.requires_grad]
    assert change.shape == (2, base.config.text_config.hidden_size)
    before = EmotionQwenForConditionalGeneration.from_pretrained(tiny_start).get_input_embeddings().weight
    with torch.no_grad():
        change += torch.tensor([[0.25], [-0.5]])
    adapted.save_pretrained(tmp_path / "adapter")
    load_processor(tiny_start).save_pretrained(tmp_path / "adapter")
    assert merge_adapter(tmp_path / "adapter", tiny_start, tmp_path / "merged") <= 1e-4
    merged = EmotionQwenForConditionalGeneration.from_pretrained(tmp_path / "merged")
    moved = (merged.get_input_embeddings().weight - before).abs().amax(1)
    assert moved.nonzero()[:, 0].tolist() == [5, 9]
    assert moved[[5, 9]].tolist() == pytest.approx([0.25, 0.5])


def test_a_tokenizer_without_new_tokens_has_no_rows_to_train(config_file):
    changes = {"stage": "tuning", "adapter": {**ADAPTER, "new_tokens": True}}
    with pytest.raises(SettingsError, match="has no added plain token; set it to false"):
        run_stage(read_settings(config_file(**changes)))


def load_adapter(folder):
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


def test_an_adapted_run_resumes(config_file, tmp_path, monkeypatch):
    changes = {"stage": "tuning", "adapter": ADAPTER}
    run_stage(read_settings(config_file(**changes), (f"output={tmp_path / 'whole'}",)))
    save = StageTrainer._save_checkpoint

    def stops(self, model, trial):
        save(self, model, trial)
        if self.state.global_step == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(StageTrainer, "_save_checkpoint", stops)
    with pytest.raises(KeyboardInterrupt):
        run_stage(read_settings(config_file(**changes)))
    monkeypatch.undo()
    run_stage(read_settings(config_file(**changes)), resume=True)
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "whole"), abs=1e-6)


def test_merging_refuses_what_does_not_belong(tiny_start, tmp_path):
    with pytest.raises(CheckpointError, match="no adapter_config.json; give the folder"):
        merge_adapter(tiny_start, tiny_start, tmp_path / "out")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text('{"base_model_name_or_path": "nano"}')
    with pytest.raises(CheckpointError, match=r"no adapter_model.safetensors; give the folder"):
        merge_adapter(tmp_path / "adapter", tiny_start, tmp_path / "out")
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=f"{tmp_path / 'adapter'} exists already"):
        merge_adapter(tmp_path / "adapter", tiny_start, tmp_path / "adapter")


def test_adapters_need_a_learning_language_model(tiny):
    with pytest.raises(SettingsError, match="the stage trains general, gate; add `language`"):
        add_adapter(tiny, AdapterSettings.of(ADAPTER), ("general", "gate"))
    with pytest.raises(SettingsError, match="take `vision` out"):
        add_adapter(tiny, AdapterSettings.of(ADAPTER), ("language", "vision"))


@pytest.mark.parametrize("kind", ["nf4", pytest.param("int8", marks=pytest.mark.slow)])
def test_a_quantised_language_model_trains_with_adapters(kind, config_file, tiny_start, tmp_path):
    pytest.importorskip("bitsandbytes")
    model = load_quantized(tiny_start, kind)
    names = {type(m).__name__ for n, m in model.named_modules() if "language_model.layers" in n and "proj" in n}
    kept = {type(m).__name__ for n, m in model.named_modules() if "compressor" in n or "visual.blocks" in n}
    assert names == {{"nf4": "Linear4bit", "int8": "Linear8bitLt"}[kind]} and not kept & names
    optim = {"steps": 6, "learning_rate": 1e-2}
    settings = read_settings(config_file(stage="tuning", adapter={**ADAPTER, "quantize": kind}, optim=optim))
    outcome = run_stage(settings)
    assert losses(tmp_path / "run")[-1] < losses(tmp_path / "run")[0]
    assert merge_adapter(outcome.folder, tiny_start, tmp_path / "merged") <= 1e-4
    assert model.config.quantization_config is not None
    assert torch.isfinite(torch.tensor(losses(tmp_path / "run"))).all()


def test_the_audio_side_trains_beside_adapters(processor):
    torch.manual_seed(0)
    model = EmotionQwenForConditionalGeneration(tiny_config(processor, audio_config=NANO_HEARING))
    learning = enter_stage(model, STAGES["tuning"], trains=["language", "audio", "gate"])
    adapted = add_adapter(model, AdapterSettings.of(ADAPTER), learning)
    audio = {n: p for n, p in adapted.named_parameters() if ".audio." in n and p.requires_grad}
    whole = sum(p.numel() for n, p in model.named_parameters() if ".audio." in n and "original_module" not in n)
    assert sum(p.numel() for p in audio.values()) == whole > 0
    assert not any("compressor.general" in n and p.requires_grad for n, p in adapted.named_parameters())


def test_quantised_weights_leave_the_audio_side_alone_and_multiply_in_the_steps_type(processor, tmp_path):
    pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    EmotionQwenForConditionalGeneration(tiny_config(processor, audio_config=NANO_HEARING)).save_pretrained(tmp_path)
    model = load_quantized(tmp_path, "nf4", torch.bfloat16)
    kinds = {n: type(m).__name__ for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    assert {kind for name, kind in kinds.items() if ".audio." in name} == {"Linear"}
    assert {kind for name, kind in kinds.items() if "language_model.layers" in name} == {"Linear4bit"}
    assert {m.compute_dtype for m in model.modules() if type(m).__name__ == "Linear4bit"} == {torch.bfloat16}


@pytest.fixture(scope="module")
def saved_adapter(tiny_start, tmp_path_factory):
    """An adapter whose every matrix moves something, as a run saves it, with the base's processor."""
    from transformers import AutoProcessor

    torch.manual_seed(1)
    model = EmotionQwenForConditionalGeneration.from_pretrained(tiny_start)
    adapted = add_adapter(model, AdapterSettings.of(ADAPTER), enter_stage(model, STAGES["tuning"]))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name or ("modules_to_save" in name and ".gate." in name):
                parameter.add_(0.3 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("saved") / "adapter"
    adapted.save_pretrained(folder)
    AutoProcessor.from_pretrained(tiny_start).save_pretrained(folder)
    (folder / "stage.json").write_text('{"gate": "emotion"}', encoding="utf-8")
    return folder


@pytest.fixture
def adapter(saved_adapter, tmp_path):
    """A copy of it that a test may change."""
    return shutil.copytree(saved_adapter, tmp_path / "adapter")


def test_an_adapter_folder_loads_as_its_merged_model_does(adapter, tiny_start, tmp_path, capsys):
    from emotion_qwen.engine.engine import Engine

    assert main(["merge", str(adapter), str(tiny_start), str(tmp_path / "merged")]) == 0
    direct, merged = Engine.load(adapter, device="cpu"), Engine.load(tmp_path / "merged", device="cpu")
    ids = torch.arange(5, 45)[None]
    with torch.no_grad():
        logits = [engine.model(input_ids=ids).logits for engine in (direct, merged, Engine.load(tiny_start, "cpu"))]
    assert (logits[0] - logits[1]).abs().max() < 1e-5 < (logits[0] - logits[2]).abs().max()
    assert [engine.model.config.gate_mode for engine in (direct, merged)] == ["emotion", "emotion"]
    assert direct.name == str(adapter) and direct.folder == adapter


def test_the_tolerance_of_merging_follows_the_size_of_the_logits(adapter, tiny_start, tmp_path, monkeypatch):
    from emotion_qwen.training import adapters

    large = tmp_path / "large"
    shutil.copytree(tiny_start, large)
    model = EmotionQwenForConditionalGeneration.from_pretrained(large)
    with torch.no_grad():
        model.model.language_model.norm.weight.mul_(1e6)  # logits of a million differ by more than 1e-4
    model.save_pretrained(large)
    assert merge_adapter(adapter, large, tmp_path / "merged") < 1e-4
    monkeypatch.setattr(adapters, "MERGED_LIKE_ADAPTED", 0.0)
    with pytest.raises(CheckpointError, match=r"of the largest, at most 0e\+00 is expected"):
        merge_adapter(adapter, large, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("where", "value"),
    [("compressor.gate", float("nan")), ("lora_A", float("inf")), ("base", float("nan")), ("base", float("inf"))],
)
def test_values_that_are_no_numbers_are_not_merged(value, where, adapter, tiny_start, tmp_path):
    from safetensors.torch import load_file, save_file

    base = tmp_path / "base"
    shutil.copytree(tiny_start, base)
    path = base / "model.safetensors" if where == "base" else adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if ("visual" if where == "base" else where) in name)
    tensors[name].view(-1)[-1] = value
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"NaN.* damaged, take an") as caught:
        merge_adapter(adapter, base, tmp_path / "merged")
    assert str(base if where == "base" else adapter) in str(caught.value)
    assert not (tmp_path / "merged").exists()


def test_an_adapter_of_another_model_is_one_line(adapter, tmp_path, capsys):
    assert main(["merge", str(adapter), "nano", str(tmp_path / "merged")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "the adapter does not fit its base" in error and "give the base that it was trained on" in error


def test_an_adapter_whose_keys_are_another_models_is_refused(adapter, tiny_start, tmp_path):
    """Peft leaves out the keys that it does not know, and draws those that it misses, without an error."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(adapter / "adapter_model.safetensors")
    extra = {
        name.replace("layers.1.", "layers.7."): value.clone() for name, value in tensors.items() if "layers.1." in name
    }
    first = next(name for name in tensors if "lora_A" in name)
    for changed in ({**tensors, **extra}, {name: value for name, value in tensors.items() if name != first}):
        save_file(changed, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
        with pytest.raises(CheckpointError, match=r"does not fit its base .* keys are in only one of them"):
            merge_adapter(adapter, tiny_start, tmp_path / "merged")


def test_a_new_adapter_on_an_adapter_is_refused(adapter, config_file):
    with pytest.raises(SettingsError, match="is itself an adapter and a new one would lose it; merge it first"):
        load_start(read_settings(config_file(start=str(adapter), stage="tuning", adapter=ADAPTER)))
    model, _ = load_start(read_settings(config_file(start=str(adapter))))
    assert not any("lora" in name for name, _ in model.named_parameters())
