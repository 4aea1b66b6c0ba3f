import json

import pytest
import torch

from emotion_qwen.cli import main
from emotion_qwen.errors import CheckpointError, SettingsError
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.training.adapters import add_adapter, load_quantized, merge_adapter
from emotion_qwen.training.plan import AdapterSettings, read_settings
from emotion_qwen.training.run import run_stage
from emotion_qwen.training.stages import STAGES, enter_stage, part_digests
from emotion_qwen.training.trainer import StageTrainer

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
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=f"{tmp_path / 'adapter'} exists already"):
        merge_adapter(tmp_path / "adapter", tiny_start, tmp_path / "adapter")


def test_adapters_need_a_learning_language_model(tiny):
    with pytest.raises(SettingsError, match="the stage trains general, gate; add `language`"):
        add_adapter(tiny, AdapterSettings.of(ADAPTER), ("general", "gate"))
    with pytest.raises(SettingsError, match="take `vision` out"):
        add_adapter(tiny, AdapterSettings.of(ADAPTER), ("language", "vision"))


@pytest.mark.parametrize("kind", ["nf4", "int8"])
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
    assert torch.isfinite(torch.tensor(losses(tmp_path / "run"))).all()
