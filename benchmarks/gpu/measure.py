"""Speed at 7B geometry with random weights on one GPU, in under ten minutes: four figures, each with its bar.

    python benchmarks/gpu/measure.py --to gpu.json      # one GPU with 48 GB or more
    python benchmarks/gpu/measure.py --dry-run          # the same code, a small model on the CPU, in a minute

| part | figure | bar |
| --- | --- | --- |
| vision | time of transformers' vision transformer over ours, same weights, a clip of about 6,000 tokens | 2 |
| decode | bytes of weights read per second while writing, in those of the card (measured by copies) | 0.7 |
| train | share of the card's arithmetic in training steps on full rows of 8,192 tokens (MFU) | 0.45 |
| folder | clips of 3 s per minute: decoding, faces, model, report; and the share of the time that the model waited | |

Every part frees what it made. A part that fails or for which no time is left is reported as such, and the others run.
Random weights take the same time as trained ones, except for answers, whose length is fixed here.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import Qwen2VLImageProcessorPil
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.request import Request
from emotion_qwen.batch.demo import make_demo_clip
from emotion_qwen.batch.folder import READING, analyze_all
from emotion_qwen.batch.following import Following
from emotion_qwen.data.collate import SampleCollator
from emotion_qwen.data.mixture import Mixture, SampleList
from emotion_qwen.data.rows import STATE, RowStream
from emotion_qwen.engine.engine import Engine
from emotion_qwen.errors import EmotionQwenError
from emotion_qwen.model import EmotionQwenForConditionalGeneration, preset
from emotion_qwen.model.compressor import HybridCompressor
from emotion_qwen.model.source import NANO
from emotion_qwen.model.vision import EmotionQwenVisionTransformer
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.processing.folder import load_processor
from emotion_qwen.records import Clip, Sample
from emotion_qwen.training.adapters import add_adapter
from emotion_qwen.training.optimizer import adamw
from emotion_qwen.training.plan import AdapterSettings
from emotion_qwen.training.precision import choose_attention, set_dtypes
from emotion_qwen.training.speed import peak_flops, step_flops
from emotion_qwen.training.stages import STAGES, enter_stage

BARS = {"vision": 2.0, "decode": 0.7, "train": 0.45}


@dataclass(frozen=True)
class Size:
    """What is measured: a named geometry, and the amounts of work."""

    preset: str
    device: str
    dtype: torch.dtype
    frames: int
    height: int
    width: int
    rounds: int
    written: int
    row: int
    steps: int
    clips: int
    copied: int
    """Bytes per copy in the measurement of the card's bandwidth."""


FULL = Size("7b", "cuda", torch.bfloat16, 40, 420, 728, 9, 128, 8192, 6, 48, 1 << 31)
SMALL = Size("nano", "cpu", torch.float32, 4, 48, 48, 3, 8, 256, 2, 3, 1 << 24)


def settled(size: Size) -> float:
    """Wait for the device, and return the time in seconds."""
    if size.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds(size: Size, call: Callable[[], object]) -> float:
    """Return the time of one call."""
    began = settled(size)
    call()
    return settled(size) - began


@contextlib.contextmanager
def defaults(size: Size):
    """Make tensors on the device and in the dtype of the measurement; free them at the end."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(size.dtype)
    try:
        with torch.device(size.device):
            yield
    finally:
        torch.set_default_dtype(before)


def whole_model(size: Size, processor: EmotionQwenProcessor) -> EmotionQwenForConditionalGeneration:
    """Build the model with random weights."""
    with defaults(size):
        return EmotionQwenForConditionalGeneration(processor.name_tokens(preset(size.preset)))


def processor_of(size: Size) -> EmotionQwenProcessor:
    """Return nano's tokenizer with the patches and clip budgets of the geometry."""
    nano = load_processor(NANO)
    if size.preset == "nano":
        return nano
    shape = Qwen2VLImageProcessorPil(patch_size=14, temporal_patch_size=2, merge_size=2)
    return EmotionQwenProcessor(shape, nano.tokenizer)


@torch.inference_mode()
def vision(size: Size) -> dict[str, Any]:
    """Compare both vision transformers, merger and compressor included, on the patches of one clip."""
    config = preset(size.preset, gate_mode="general")
    shape = config.vision_config
    with defaults(size):
        ours = EmotionQwenVisionTransformer._from_config(shape, attn_implementation="sdpa").eval()
        settings = Qwen2_5_VisionTransformerPretrainedModel.config_class(
            **{name: value for name, value in shape.to_dict().items() if name != "model_type"}
        )
        theirs = Qwen2_5_VisionTransformerPretrainedModel._from_config(settings, attn_implementation="sdpa").eval()
        compressor = HybridCompressor(config).eval()
        ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if not k.startswith("merger.")})
        compressor.general.load_state_dict(theirs.merger.state_dict())
        grid = torch.tensor([[size.frames // 2, size.height // shape.patch_size, size.width // shape.patch_size]])
        values = shape.in_channels * shape.temporal_patch_size * shape.patch_size**2
        pixels = torch.randn(int(grid.prod()), values)

    def our_call() -> torch.Tensor:
        features = ours(pixels, grid)
        return compressor(features.last_hidden_state, features.pooler_output, grid)[0]

    def their_call() -> torch.Tensor:
        return theirs(pixels, grid).pooler_output

    difference = (our_call() - their_call()).abs().max().item()
    pairs = [(seconds(size, their_call), seconds(size, our_call)) for _ in range(size.rounds + 2)][2:]
    return {
        "figure": statistics.median(slow / fast for slow, fast in pairs),
        "tokens": int(grid.prod()) // shape.spatial_merge_size**2,
        "milliseconds": 1e3 * statistics.median(fast for _, fast in pairs),
        "largest_difference": difference,
    }


def copy_bandwidth(size: Size) -> float:
    """Return the bytes per second that the device reads and writes in large copies."""
    source = torch.empty(size.copied, dtype=torch.uint8, device=size.device)
    target = torch.empty_like(source)
    times = [seconds(size, lambda: target.copy_(source)) for _ in range(8)]
    return 2 * size.copied / min(times)


@torch.inference_mode()
def decode(size: Size) -> dict[str, Any]:
    """Write tokens one after another, and compare the bytes of weights that each needs with the card's bandwidth."""
    processor = processor_of(size)
    model = whole_model(size, processor).eval()
    read = [*model.model.language_model.layers.parameters(), model.lm_head.weight]
    weights = sum(parameter.numel() * parameter.itemsize for parameter in read)
    ids = torch.randint(10, 4000, (1, 64), device=size.device)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": torch.zeros_like(ids)}

    def write(count: int) -> float:
        options = {"min_new_tokens": count, "max_new_tokens": count, "do_sample": False}
        return seconds(size, lambda: model.generate(**inputs, **options))

    write(4)  # warms up
    per_token = (write(size.written) - write(size.written // 2)) / (size.written - size.written // 2)
    card = copy_bandwidth(size)
    return {
        "figure": weights / per_token / card,
        "tokens_per_second": 1 / per_token,
        "gigabytes_of_weights": weights / 1e9,
        "card_gigabytes_per_second": card / 1e9,
    }


def conversations(size: Size, count: int) -> list[Sample]:
    """Return samples with clips of noise of unequal lengths, and answers of unequal lengths."""
    rng = np.random.default_rng(0)
    samples = []
    for number in range(count):
        frames = int(rng.integers(1, max(size.frames // 4, 1) + 1)) * 2
        pixels = rng.integers(0, 255, (frames, size.height, size.width, 3), dtype=np.uint8)
        clip = Clip(pixels, np.arange(frames) / 2.0, f"clip {number}", frames / 2.0, size=(size.width, size.height))
        content = [{"type": "video", "video": clip}, {"type": "text", "text": "How does the person feel?"}]
        answer = " ".join(["happy"] * int(rng.integers(1, 120)))
        messages = ({"role": "user", "content": content}, {"role": "assistant", "content": answer})
        samples.append(Sample(str(number), messages))
    return samples


def chosen_attention(size: Size) -> str:
    """Return flash attention if it is installed, else flex attention; sdpa on a CPU, where flex is slow to compile."""
    if size.device == "cpu":
        return "sdpa"
    try:
        import flash_attn  # noqa: F401
    except ImportError:
        return "flex"
    return "flash"


def train(size: Size) -> dict[str, Any]:
    """Make training steps of the tuning stage with adapters, on full rows with their media."""
    processor = processor_of(size)
    model = whole_model(size, processor)
    attention = chosen_attention(size)
    choose_attention(model, attention)
    learning = enter_stage(model, STAGES["tuning"], copy=False)
    whole = add_adapter(model, AdapterSettings.of({"rank": 64}), learning)
    set_dtypes(whole, size.dtype)
    whole.train().gradient_checkpointing_enable({"use_reentrant": False})
    optimizer = adamw([{"params": [p for p in whole.parameters() if p.requires_grad], "lr": 1e-5}], (0.9, 0.95))
    mixture = Mixture([SampleList("noise", "emotion", conversations(size, 24))], [1.0], None, seed=0)
    collate = SampleCollator(processor, model.model.get_rope_index, pixels=size.dtype)
    rows = iter(RowStream(mixture, collate, size.row, fixed=attention == "flex"))
    times, flops, tokens = [], [], []
    for _ in range(size.steps + 2):
        row = {name: value for name, value in next(rows).items() if name not in (STATE, "domains")}
        row = {name: value.to(size.device) if torch.is_tensor(value) else value for name, value in row.items()}

        def step(row: dict[str, Any] = row) -> None:
            with torch.autocast(size.device, torch.bfloat16, enabled=size.dtype == torch.bfloat16):
                loss = whole(**row, supervised_only=True).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        times.append(seconds(size, step))
        flops.append(step_flops(model, row))
        tokens.append(row["input_ids"].numel())
    peak = peak_flops(torch.cuda.get_device_name()) if size.device == "cuda" else None
    per_second = sum(flops[2:]) / sum(times[2:])  # the first steps compile and allocate
    memory = torch.cuda.max_memory_allocated() / 2**30 if size.device == "cuda" else 0.0
    return {
        "figure": per_second / peak if peak else None,
        "tokens_per_second": sum(tokens[2:]) / sum(times[2:]),
        "teraflops": per_second / 1e12,
        "attention": attention,
        "gibibytes": memory,
    }


def folder(size: Size) -> dict[str, Any]:
    """Analyze a folder of clips with faces as `analyze` does, the time of loading aside."""
    processor = processor_of(size)
    analyzer = Analyzer(Engine(whole_model(size, processor), processor, "random", NANO))
    with tempfile.TemporaryDirectory() as place:
        first = make_demo_clip(Path(place) / "0.mp4")
        files = [first]
        for number in range(1, size.clips):
            files.append(first.with_name(f"{number}.mp4"))
            files[-1].write_bytes(first.read_bytes())
        list(analyze_all(analyzer, files[:2], Request()))
        shown = Following(len(files))
        took = seconds(size, lambda: list(analyze_all(analyzer, files, Request(), stage=shown.stage)))
        waited = shown.seconds()[READING] / took
    return {"figure": 60 * len(files) / took, "clips": len(files), "waited_for_clips": waited}


PARTS: dict[str, Callable[[Size], dict[str, Any]]] = {
    "vision": vision, "decode": decode, "train": train, "folder": folder,
}  # fmt: skip


def measured(size: Size, parts: list[str], minutes: float) -> dict[str, dict[str, Any]]:
    """Run parts one after another while there is time; each entry has a `figure`, or `failed`, or `left_out`."""
    began, results = time.perf_counter(), {}
    for name in parts:
        if time.perf_counter() - began > 60 * minutes:
            results[name] = {"left_out": f"{minutes:g} minutes were over"}
            continue
        start = time.perf_counter()
        try:
            results[name] = PARTS[name](size)
        except (RuntimeError, MemoryError, EmotionQwenError, ImportError) as error:
            results[name] = {"failed": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
        results[name]["seconds"] = time.perf_counter() - start
        gc.collect()
        if size.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
    return results


def show(results: dict[str, dict[str, Any]], console: Console) -> None:
    """Print a line per part."""
    table = Table("part", "figure", "bar", "details")
    for name, result in results.items():
        figure = result.get("figure")
        cell = result.get("failed") or result.get("left_out") or ("not measured" if figure is None else f"{figure:.3g}")
        details = (f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                   for key, value in result.items() if key not in ("figure", "failed", "left_out"))  # fmt: skip
        table.add_row(name, cell, f"{BARS[name]:g}" if name in BARS else "", ", ".join(details))
    console.print(table)


def main() -> None:
    """Measure, print, and write a JSON file if one is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry-run", action="store_true", help="a small model on the CPU: shows that everything runs")
    parser.add_argument("--parts", default=",".join(PARTS), help="of the four, separated by commas")
    parser.add_argument("--minutes", type=float, default=9.0, help="no part begins after so many")
    parser.add_argument("--to", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    if not arguments.dry_run and not torch.cuda.is_available():
        raise SystemExit("error: no GPU; --dry-run runs the same code with a small model on the CPU")
    size = SMALL if arguments.dry_run else FULL
    torch.manual_seed(0)
    results = measured(size, arguments.parts.split(","), arguments.minutes)
    device = torch.cuda.get_device_name() if size.device == "cuda" else "CPU"
    console = Console(width=140)
    show(results, console)
    console.print(f"{size.preset} geometry, {device}, {size.dtype}, torch {torch.__version__}")
    if arguments.to:
        about = {"device": device, "geometry": size.preset, "torch": torch.__version__, "bars": BARS}
        arguments.to.write_text(json.dumps({**about, "parts": results}, indent=1) + "\n", encoding="utf-8")
    if any("failed" in result for result in results.values()):
        raise SystemExit(2)


if __name__ == "__main__":
    main()
