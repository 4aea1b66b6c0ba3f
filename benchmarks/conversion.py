"""How much memory does a conversion take? Peak above the idle process, relative to the largest source shard.

A sharded bf16 checkpoint of random weights, at least 2 GB, is written to a temporary folder and converted in a process
of its own. Idle is that process after importing the package; the peak is the kernel's high-water mark (VmHWM), reset
after the import where the kernel allows it. The bar is 1.6 times the largest shard.

    python benchmarks/conversion.py [--gigabytes 2.2] [--shard 0.7] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from emotion_qwen.convert.conversion import parse_config
from emotion_qwen.convert.layouts import expected_shapes
from emotion_qwen.convert.shards import OutputTensor, write_folder

BAR = 1.6
CHILD = """
import json, sys, time
from pathlib import Path
from emotion_qwen.convert.conversion import convert

def high_water():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

try:
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the imports
except OSError:
    pass
idle, start = high_water(), time.perf_counter()
convert(Path(sys.argv[1]), Path(sys.argv[2]), max_shard_size=float(sys.argv[3]))
print(json.dumps({"idle": idle, "peak": high_water(), "seconds": time.perf_counter() - start}))
"""


def source_config(gigabytes: float) -> dict:
    """Describe a mid-size Qwen2.5-VL with as many layers as the wanted size takes."""
    hidden, mlp, vocab = 1536, 8960, 100_000
    per_layer = 2 * (hidden * hidden * 2.5 + 3 * hidden * mlp)
    layers = max(int((gigabytes * 1e9 - 2 * 2 * hidden * vocab - 0.35e9) / per_layer) + 1, 2)
    text = {"hidden_size": hidden, "intermediate_size": mlp, "num_hidden_layers": layers, "vocab_size": vocab}
    text |= {"num_attention_heads": 12, "num_key_value_heads": 2, "max_window_layers": layers}
    text |= {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}}
    vision = {"depth": 8, "hidden_size": 1280, "out_hidden_size": hidden, "fullatt_block_indexes": [3, 7]}
    return {"model_type": "qwen2_5_vl", "text_config": text, "vision_config": vision, "dtype": "bfloat16"}


def write_source(folder: Path, gigabytes: float, shard: float) -> None:
    """Write a random checkpoint with hub names."""
    values = source_config(gigabytes)
    (folder / "config.json").write_text(json.dumps(values))
    tensors = []
    for name, shape in expected_shapes(parse_config(values)).items():
        if name.startswith(("model.compressor.emotion.", "model.compressor.gate.")):
            continue
        hub = name.replace("model.compressor.general.", "visual.merger.").replace("model.visual.", "visual.")
        hub = hub.replace("model.language_model.", "model.")
        values = torch.empty(shape, dtype=torch.bfloat16).normal_(std=0.02)
        tensors.append(OutputTensor(hub, torch.bfloat16, shape, values))
    write_folder(folder, tensors, shard * 1e9, lambda done, total: None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.2)
    parser.add_argument("--shard", type=float, default=0.7, help="source shards, GB")
    parser.add_argument("--folder", type=Path, help="where the temporary folder goes; needs twice the size")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        source, target = Path(folder, "source"), Path(folder, "target")
        source.mkdir()
        write_source(source, arguments.gigabytes, arguments.shard)
        sizes = [path.stat().st_size for path in source.glob("*.safetensors")]
        command = [sys.executable, "-c", CHILD, str(source), str(target), str(arguments.shard * 1e9)]
        result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        written = sum(path.stat().st_size for path in target.glob("*.safetensors"))
    above = result["peak"] - result["idle"]
    ratio = above / max(sizes)
    print(f"source {sum(sizes) / 1e9:.2f} GB in {len(sizes)} shards, the largest {max(sizes) / 1e6:.0f} MB")
    print(f"target {written / 1e9:.2f} GB in {result['seconds']:.1f} s")
    print(f"idle {result['idle'] / 1e6:.0f} MB, peak {result['peak'] / 1e6:.0f} MB, {above / 1e6:.0f} MB above idle")
    print(f"ratio to the largest shard {ratio:.3f}, bar {BAR}: {'met' if ratio < BAR else 'MISSED'}")
    return 0 if ratio < BAR else 1


if __name__ == "__main__":
    sys.exit(main())
