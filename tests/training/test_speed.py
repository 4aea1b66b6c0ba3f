"""Speed of a run: FLOPs against those that PyTorch counts, tokens without padding, and what is logged."""

import copy
import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from emotion_qwen.data.collate import SampleCollator
from emotion_qwen.training.optimizer import adamw
from emotion_qwen.training.plan import read_settings
from emotion_qwen.training.run import run_stage
from emotion_qwen.training.speed import Speedometer, attention_flops, peak_flops, step_flops
from emotion_qwen.training.stages import STAGES, enter_stage

from .training_runs import chat, noise_clip


def samples():
    asked = [{"type": "video", "video": noise_clip(1, 8)}, {"type": "text", "text": "What happens?"}]
    moving = type(chat("", "", ""))(
        "v", ({"role": "user", "content": asked}, {"role": "assistant", "content": "a happy one"})
    )
    return [moving, chat("t", "Hello there!", "happy and glad, I think so")]


@pytest.mark.parametrize("name", ["scratch", "general", "hybrid", "tuning"])
def test_matrix_products_are_those_that_pytorch_counts(nano, processor, name):
    model = copy.deepcopy(nano.model).train()
    enter_stage(model, STAGES[name])
    batch = SampleCollator(processor)(samples())
    with FlopCounterMode(display=False) as counter:
        model(**batch, supervised_only=True).loss.backward()
    counts = counter.get_flop_counts()["Global"]
    products = sum(count for op, count in counts.items() if "mm" in str(op))  # attention is counted under other names
    planned = step_flops(model, batch)
    text, vision = model.config.text_config, model.config.vision_config
    length = torch.tensor(batch["input_ids"].shape[1:])
    planned -= len(batch["input_ids"]) * attention_flops(length, text.hidden_size, text.num_hidden_layers, True, 3)
    grid = batch["video_grid_thw"][0].tolist()
    passes = 3 if name == "scratch" else 1
    full = len(vision.fullatt_block_indexes)
    planned -= attention_flops(torch.tensor([grid[1] * grid[2]] * grid[0]), vision.hidden_size, full, False, passes)
    windows = torch.full((max(grid[0] * grid[1] * grid[2] // 64, 1),), 64)
    planned -= attention_flops(windows, vision.hidden_size, vision.depth - full, False, passes)
    assert abs(planned - products) <= 0.02 * products


def test_attention_within_samples_needs_less_than_over_the_row():
    whole, parts = torch.tensor([100]), torch.tensor([50, 50])
    assert (
        attention_flops(parts, 8, 2, True, 1) == attention_flops(whole, 8, 2, True, 1) / 2 == 4 * 2500 * 2 * 8 * 2 / 2
    )


def test_known_devices_have_a_peak():
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12 and peak_flops("NVIDIA H100 PCIe") == 756e12
    assert peak_flops("NVIDIA A100-SXM4-80GB") == 312e12 and peak_flops("somebody's card") is None
    assert peak_flops("NVIDIA L40S") == 362e12 and peak_flops("NVIDIA L4") == 121e12


def test_figures_are_per_second_and_without_padding(nano, processor):
    batch = SampleCollator(processor)(samples())
    meter = Speedometer(peak=1e12)
    meter.since -= 2.0
    meter.add(nano.model, batch, processor.tokenizer.pad_token_id)
    figures = meter.figures()
    tokens = int(batch["attention_mask"].sum())
    assert tokens < batch["input_ids"].numel() and figures["tokens_per_second"] == pytest.approx(tokens / 2, rel=0.2)
    assert figures["mfu"] == pytest.approx(step_flops(nano.model, batch) / 2 / 1e12, rel=0.2)
    assert meter.figures() == {}


def test_a_run_logs_its_speed(config_file, tmp_path):
    run_stage(read_settings(config_file(optim={"steps": 2, "learning_rate": 1e-3})))
    log = json.loads((tmp_path / "run" / "model" / "stage.json").read_text())["log"]
    entries = [entry for entry in log if "loss" in entry]
    assert len(entries) == 2 and all(entry["tokens_per_second"] > 0 and "mfu" not in entry for entry in entries)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_optimizer_is_fused_on_a_gpu():
    assert adamw([{"params": [torch.zeros(2, device="cuda", requires_grad=True)]}], (0.9, 0.95)).defaults["fused"]


def test_the_optimizer_is_not_fused_elsewhere():
    assert not adamw([{"params": [torch.zeros(2, requires_grad=True)]}], (0.9, 0.95)).defaults["fused"]
