"""What do the second expert and the gate cost beside the whole 7B vision forward? Measured on 4 layers, extrapolated.

The 7B vision transformer has 32 layers with full attention in 7, 15, 23, 31; four layers with full attention in the
last are one eighth of it. Per round: the patch embedding with four layers, and the compressor with one expert and with
both and the gate. Cost = (both - one) / (8 x four layers + one). Random weights, one picture, inference.

    python benchmarks/compressor.py [--side 448] [--rounds 7] [--threads 2]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from rich.console import Console

from emotion_qwen.model import preset
from emotion_qwen.model.compressor import HybridCompressor
from emotion_qwen.model.vision import EmotionQwenVisionTransformer

LAYERS, WHOLE = 4, 32


def seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=448, help="pixels of the square picture")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    config = preset("7b")
    config.vision_config.depth, config.vision_config.fullatt_block_indexes = LAYERS, [LAYERS - 1]
    vision = EmotionQwenVisionTransformer._from_config(config.vision_config, attn_implementation="sdpa").eval()
    compressor = HybridCompressor(config).eval()
    compressor.threshold = 0.0  # both experts speak, the dearest case
    side = arguments.side // config.vision_config.patch_size
    grid = torch.tensor([[1, side, side]])
    pixels = torch.randn(side * side, 3 * 2 * config.vision_config.patch_size**2)
    encoded = vision(pixels, grid)

    def compress(mode: str):
        compressor.mode = mode
        return compressor(encoded.last_hidden_state, encoded.pooler_output, grid)

    rounds = []
    for number in range(arguments.rounds + 1):
        layers = seconds(lambda: vision(pixels, grid))
        one, both = seconds(lambda: compress("general")), seconds(lambda: compress("learned"))
        if number:  # the first warms up
            rounds.append((layers, one, both))
    costs = [(both - one) / (WHOLE / LAYERS * layers + one) for layers, one, both in rounds]
    layers, one, both = (statistics.median(column) for column in zip(*rounds, strict=True))
    Console().print(
        f"{arguments.side} px, {side * side} patches: four layers {layers:.3f} s, one expert {one:.3f} s, "
        f"both with gate {both:.3f} s\nsecond expert and gate: {statistics.median(costs):.2%} of the vision forward "
        f"({min(costs):.2%} to {max(costs):.2%}), extrapolated from {LAYERS} of {WHOLE} layers",
        highlight=False,
    )


if __name__ == "__main__":
    main()
