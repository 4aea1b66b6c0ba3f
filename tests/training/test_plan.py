import json
import shutil
from pathlib import Path

import pytest

from emotion_qwen.cli import main
from emotion_qwen.errors import CheckpointError, SettingsError
from emotion_qwen.model import preset
from emotion_qwen.model.presets import NANO_HEARING
from emotion_qwen.training.memory import memory_estimate
from emotion_qwen.training.plan import (
    AdapterSettings,
    PartOfData,
    check_deepspeed,
    empty_model,
    read_settings,
    shares_of,
    start_config,
)
from emotion_qwen.training.stages import STAGES, enter_stage, trainable_counts

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs" / "train"
NANO = ROOT / "recipes" / "nano" / "configs"
ALL = sorted([*CONFIGS.glob("*.yaml"), *NANO.glob("*.yaml")])


def size_of(path: Path) -> str:
    return "nano" if path.parent == NANO else path.stem.partition("_")[0]


# Of Qwen2.5-VL: one merger is (4 * 1280)^2 + 5120 + 5120 * width + width + 1280 parameters.
EXPERT = {"3b": 5120**2 + 5120 + 5120 * 2048 + 2048 + 1280, "7b": 5120**2 + 5120 + 5120 * 3584 + 3584 + 1280}


@pytest.mark.parametrize("path", ALL, ids=lambda path: f"{size_of(path)}-{path.stem}")
def test_every_configuration_is_read_and_fits_its_stage(path):
    settings = read_settings(path)
    assert settings.stage in STAGES and settings.plan.learning_rate > 0
    domains = {part.domain for part in settings.data}
    replay = settings.plan.replay
    assert ("general" in domains) == (replay > 0) and ("emotion" in domains) == (replay < 1)
    size = size_of(path)
    hears = {"audio_config": NANO_HEARING} if "audio" in settings.plan.trains else {}
    model = empty_model(preset(size, **hears))
    enter_stage(model, settings.plan, copy=False)
    counts = trainable_counts(model)
    assert {part for part, (learning, _) in counts.items() if learning} == set(settings.plan.trains)
    if size in EXPERT and settings.stage in ("general", "emotion"):
        assert sum(learning for learning, _ in counts.values()) == EXPERT[size]


def test_the_stages_follow_each_other():
    for size in ("3b", "7b"):
        outputs = [read_settings(CONFIGS / f"{size}_{name}.yaml").output for name in ("stage1", "stage2", "stage3")]
        starts = [read_settings(CONFIGS / f"{size}_{name}.yaml").start for name in ("stage2", "stage3", "tuning")]
        assert [str(output / "model") for output in outputs] == starts


def test_memory_is_shared_as_the_strategy_says():
    model = empty_model(preset("7b"))
    enter_stage(model, STAGES["tuning"], trains=["language"], copy=False)
    learning = sum(count for count, _ in trainable_counts(model).values())
    whole = sum(p.numel() for p in model.parameters())
    gib = 1024**3
    assert memory_estimate(model, 1, "ddp", None) == pytest.approx((2 * (whole - learning) + 16 * learning) / gib)
    assert memory_estimate(model, 8, "ddp", None) == memory_estimate(model, 1, "ddp", None)
    zero2, zero3 = (memory_estimate(model, 8, kind, None) for kind in ("zero2", "zero3"))
    assert zero3 == pytest.approx(memory_estimate(model, 1, "ddp", None) / 8) and zero3 < zero2
    adapted = memory_estimate(model, 1, "ddp", AdapterSettings.of({}))
    quantized = memory_estimate(model, 1, "ddp", AdapterSettings.of({"quantize": "nf4"}))
    assert quantized < 0.6 * adapted < 0.2 * memory_estimate(model, 1, "ddp", None)


def test_shares_follow_the_replay():
    def part(name, domain, weight=1.0):
        return PartOfData.of({"name": name, "domain": domain, "weight": weight})

    both = [part("a", "general", 3), part("b", "general"), part("c", "emotion")]
    assert shares_of(both, 0.4) == pytest.approx([0.3, 0.1, 0.6])
    assert shares_of(both, 0.0) == pytest.approx([0, 0, 1])
    assert shares_of(both[:2], 0.4) == pytest.approx([0.75, 0.25])  # nothing emotional: all is general


def test_settings_that_contradict_each_other_are_refused(config_file, tmp_path):
    with pytest.raises(SettingsError, match="features are cached while the vision transformer learns"):
        read_settings(config_file(features=str(tmp_path / "f"), trains=["vision"]))
    with pytest.raises(SettingsError, match="unknown part 'ears'; expected one of vision, general"):
        read_settings(config_file(trains=["ears"]))
    with pytest.raises(SettingsError, match="share_prefixes applies to packed rows; set batch.pack too"):
        read_settings(config_file(batch={"samples": 4, "share_prefixes": True}))


@pytest.mark.parametrize("name", ["zero2", "zero3"])
def test_deepspeed_configurations_are_accepted_by_a_dry_run(name, config_file, capsys):
    path = config_file(strategy={"kind": "deepspeed", "config": str(CONFIGS / f"{name}.json")})
    assert main(["train", str(path), "--dry-run"]) == 0
    assert f"{name} x8" in " ".join(capsys.readouterr().err.split())


def test_a_deepspeed_configuration_that_would_change_the_run_is_refused(tmp_path):
    path = tmp_path / "zero.json"
    with pytest.raises(SettingsError, match="is no file; give DeepSpeed's JSON"):
        check_deepspeed(path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(SettingsError, match="not valid JSON"):
        check_deepspeed(path)
    path.write_text('{"zero_optimization": {"stage": 1}}', encoding="utf-8")
    with pytest.raises(SettingsError, match="expected 2 or 3"):
        check_deepspeed(path)
    path.write_text(json.dumps({"zero_optimization": {"stage": 2}, "scheduler": {"type": "WarmupLR"}}))
    with pytest.raises(SettingsError, match=r"brings a scheduler \(WarmupLR\), which would replace"):
        check_deepspeed(path)


def test_a_start_that_is_no_model_is_refused(config_file, tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        start_config(read_settings(config_file(start=str(tmp_path / "nothing"))))
    with pytest.raises(SettingsError, match="unknown size '8b'"):
        start_config(read_settings(config_file(start="preset:8b")))
    with pytest.raises(SettingsError, match="unknown size '8b'"):
        start_config(read_settings(config_file(start=str(tmp_path / "nothing"), size="8b")))


@pytest.mark.parametrize("path", ALL, ids=lambda path: f"{size_of(path)}-{path.stem}")
def test_every_configuration_has_a_dry_run_without_its_start(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # neither start nor data are here
    assert main(["train", str(path), "--dry-run"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    settings = read_settings(path)
    assert f"stage {settings.plan.number} {settings.stage}" in told and "GiB per device" in told
    if settings.start != "nano":
        assert f"start {settings.start} is not there yet; planned by size {size_of(path)}" in told
    absent = [part.path for part in settings.data if part.path is not None]
    assert ("data not there yet: " in told) == bool(absent)


def test_a_dry_run_reads_no_weights(config_file, tmp_path, tiny_start, capsys):
    folder = tmp_path / "start"
    shutil.copytree(tiny_start, folder)
    (folder / "model.safetensors").unlink()
    assert main(["train", str(config_file(start=str(folder))), "--dry-run"]) == 0
    assert "tokens are taught" in capsys.readouterr().err


def test_a_start_without_processor_files_is_one_line(config_file, tmp_path, tiny_start, capsys):
    folder = tmp_path / "start"
    shutil.copytree(tiny_start, folder)
    for name in ("tokenizer.json", "processor_config.json"):
        (folder / name).unlink()
    assert main(["train", str(config_file(start=str(folder))), "--dry-run"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "no tokenizer.json, no processor_config.json or preprocessor_config.json; copy the files" in error
