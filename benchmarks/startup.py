"""How long a user waits: `emotion-qwen --help`, and a cold `analyze` of a clip, each in a fresh process.

    python benchmarks/startup.py CLIP [--runs 5]

The peer is the bare interpreter (`python -c pass`) in the same run; medians over interleaved runs.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time


def seconds(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip")
    parser.add_argument("--runs", type=int, default=5)
    chosen = parser.parse_args()
    ours = (sys.executable, "-m", "emotion_qwen.cli")
    rows = {
        "python -c pass": (sys.executable, "-c", "pass"),
        "emotion-qwen --help": (*ours, "--help"),
        "emotion-qwen analyze CLIP": (*ours, "analyze", chosen.clip),
    }
    times: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(chosen.runs):
        for name, command in rows.items():
            times[name].append(seconds(*command))
    for name, measured in times.items():
        print(f"{name:28} {statistics.median(measured):7.2f} s (from {min(measured):.2f} to {max(measured):.2f})")


if __name__ == "__main__":
    main()
