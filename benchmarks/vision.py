"""Is our vision transformer as fast as transformers' on many small pictures? Median over interleaved pairs.

Same weights, same pixels, sdpa, fp32, nano geometry. Theirs ends with its merger; ours is the tower followed by the
Hybrid Compressor in general mode, which is one expert of the merger's shape. Beside the ratio stands theirs against
itself (A/A), measured in the same interleaved rounds: a ratio inside its spread says nothing. Both are given by the
wall clock and by the processor time of the process, which a busy machine disturbs less.

    python benchmarks/vision.py [--pairs 41] [--threads 1]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from emotion_qwen.model import preset
from emotion_qwen.model.compressor import HybridCompressor
from emotion_qwen.model.vision import EmotionQwenVisionTransformer

PICTURES = 64
# Height and width in patches of 8 pixels; the nano model's windows are 6 x 6 patches.
VARIANTS = {"64 pictures, 48x48": (6, 6), "64 pictures, 80x48": (10, 6)}


def build() -> tuple[torch.nn.Module, torch.nn.Module, HybridCompressor]:
    """Build theirs, ours and our compressor with the same weights."""
    config = preset("nano", gate_mode="general")
    ours = EmotionQwenVisionTransformer._from_config(config.vision_config, attn_implementation="sdpa").eval()
    settings = Qwen2_5_VisionTransformerPretrainedModel.config_class(
        **{k: v for k, v in config.vision_config.to_dict().items() if k != "model_type"}
    )
    theirs = Qwen2_5_VisionTransformerPretrainedModel._from_config(settings, attn_implementation="sdpa").eval()
    compressor = HybridCompressor(config).eval()
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if not k.startswith("merger.")})
    compressor.general.load_state_dict(theirs.merger.state_dict())
    return theirs, ours, compressor


def seconds(call: Callable[[], object]) -> tuple[float, float]:
    """Time one call by the wall and by the processor, seconds."""
    start = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def measure(
    their_call: Callable[[], object], our_call: Callable[[], object], pairs: int
) -> list[list[tuple[float, float]]]:
    """Time (theirs, ours, theirs again) by both clocks `pairs` times; every other round runs in the opposite order."""
    rounds = []
    for index in range(pairs + 3):
        calls = [their_call, our_call, their_call]
        times = [seconds(call) for call in calls]
        if index % 2:
            times.reverse()  # so that neither of theirs is always the first after ours
        if index >= 3:  # the first rounds warm up
            rounds.append(times)
    return rounds


def spread(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} ({low:.2f}-{high:.2f})"


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=41)
    parser.add_argument("--threads", type=int, default=1, help="one disturbs a busy machine least")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    theirs, ours, compressor = build()
    table = Table(
        "input", "clock", "theirs ms", "ours ms", "theirs / ours (quartiles)", "A/A (quartiles)", "largest difference"
    )
    for name, (rows, columns) in VARIANTS.items():
        grid = torch.tensor([[1, rows, columns]] * PICTURES)
        pixels = torch.randn(PICTURES * rows * columns, 3 * 2 * 8 * 8)

        def our_call(pixels: torch.Tensor = pixels, grid: torch.Tensor = grid) -> torch.Tensor:
            features = ours(pixels, grid)
            return compressor(features.last_hidden_state, features.pooler_output, grid)[0]

        def their_call(pixels: torch.Tensor = pixels, grid: torch.Tensor = grid) -> torch.Tensor:
            return theirs(pixels, grid).pooler_output

        difference = (our_call() - their_call()).abs().max().item()
        rounds = measure(their_call, our_call, arguments.pairs)
        for clock, label in enumerate(("wall", "processor")):
            first, middle, last = ([times[place][clock] for times in rounds] for place in range(3))
            table.add_row(
                name,
                label,
                f"{1e3 * statistics.median(first):.1f}",
                f"{1e3 * statistics.median(middle):.1f}",
                spread([(a + c) / 2 / b for a, b, c in zip(first, middle, last, strict=True)]),
                spread([a / c for a, c in zip(first, last, strict=True)]),
                f"{difference:.1e}",
            )
    Console(width=120).print(table)
    print(f"{arguments.pairs} interleaved rounds, {arguments.threads} threads, fp32, sdpa, torch {torch.__version__}")


if __name__ == "__main__":
    main()
