"""Measure the pictures of a replay and of its clip with the landmarker, and write how well they agree.

Runs in the landmarker's virtual environment, from the root of the repository; see `recipes.express.replay_pictures`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))
from recipes.mini.landmarker import measure, read_landmarker

GROUPS = {
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "jaw": ("jawOpen",),
    "brow raised": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    "brow lowered": ("browDownLeft", "browDownRight"),
}
"""The compared quantities: means of the landmarker's blendshapes."""
BLOCK, DRAWS = 10, 2000
"""Frames of a block of the bootstrap, two seconds, because neighbouring frames resemble each other; number of draws."""


def group_values(shapes: dict[str, float]) -> list[float]:
    """Return the value of each group."""
    return [float(np.mean([shapes[name] for name in names])) for names in GROUPS.values()]


def agreement(first: np.ndarray, second: np.ndarray, seed: int = 0) -> dict[str, float | list[float]]:
    """Return the correlation of two series (T,) with its 95 % block bootstrap interval."""
    starts = np.random.default_rng(seed).integers(len(first) - BLOCK + 1, size=(DRAWS, -(-len(first) // BLOCK)))
    rows = (starts[:, :, None] + np.arange(BLOCK)).reshape(DRAWS, -1)[:, : len(first)]
    drawn = [np.corrcoef(first[row], second[row])[0, 1] for row in rows if first[row].std() and second[row].std()]
    low, high = np.quantile(drawn, [0.025, 0.975])
    value = float(np.corrcoef(first, second)[0, 1])
    return {"r": round(value, 3), "interval": [round(float(low), 3), round(float(high), 3)]}


def compared(measured: dict[str, list[Any]], track: dict[str, Any]) -> dict[str, Any]:
    """Return how each face agrees with the clip, and the track that moves it with the clip."""
    names = track["channels"]
    moved = [group_values(dict(zip(names, row, strict=True))) for row in track["frames"]]
    results: dict[str, Any] = {}
    faces: dict[str, list[Any]] = {"track": moved, **{k: v for k, v in measured.items() if k != "clip"}}
    for face, values in faces.items():
        pairs = [
            (a, b)
            for a, b, seen in zip(measured["clip"], values, track["seen"], strict=False)
            if a is not None and b is not None and seen
        ]
        clip, other = (np.array(side) for side in zip(*pairs, strict=True))
        results[face] = {
            "pictures": len(values),
            "detected": sum(value is not None for value in values),
            "compared": len(pairs),
            **{name: agreement(clip[:, k], other[:, k]) for k, name in enumerate(GROUPS)},
        }
    results["clip"] = {
        "pictures": len(measured["clip"]),
        "detected": sum(value is not None for value in measured["clip"]),
    }
    return results


def main() -> None:
    """Measure all pictures of a folder and write the agreement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("pictures", "model", "results"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    measured: dict[str, list[list[float] | None]] = {}
    with read_landmarker(given.model) as landmarker:
        for path in sorted(given.pictures.glob("*.png")):
            result = measure(landmarker, np.asarray(Image.open(path).convert("RGB")))
            values = None if result is None else group_values(dict(zip(result[2], result[0], strict=True)))
            measured.setdefault(path.stem.rpartition("-")[0], []).append(values)
    track = json.loads((given.pictures / "track.json").read_text(encoding="utf-8"))
    given.results.write_text(json.dumps(compared(measured, track), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
