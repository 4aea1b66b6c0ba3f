"""Write positions.npz: positions of 240 random batches by Qwen's published rule, one token at a time in plain Python.

Run it only when the format of the file changes: `python tests/golden/make_positions.py`. It shares no code with the
package or with transformers, and was written from the description of the rule (Qwen2-VL, arXiv 2409.12191, section 2.1;
Qwen2.5-VL, arXiv 2502.13923, section 2.1.2):

- Text has one number for time, height and width; it counts up by one.
- A visual begins at the next free number. Height and width count its rows and columns after merging; an image stands
  still in time, and time number t of a video stands floor(t * seconds per time * tokens per second) later, the
  products in float32.
- Whatever follows begins one behind the largest number so far, of all three axes.
- The offset of a row is its largest number plus 1, minus its tokens.

Rows hold text, images and videos of 2 to 300 s in random order, padded on the left or right.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("positions.npz")
LAYOUTS = 240
MERGE = 2
TEXT, IMAGE, VIDEO = range(3)
DURATIONS = (2, 6, 10, 20, 30, 60, 300)  # seconds
RATES = (0.2, 0.5, 1.0, 2.0, 2.02, 3.0)  # frames per second; two frames share one time


def random_row(rng: random.Random, longest: int) -> list[tuple]:
    """Return ("text", words) or (kind, grid, seconds) in turn; text stands around every visual, as its marks do."""
    parts: list[tuple] = [(TEXT, rng.randint(1, 9))]
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        rows, columns = (MERGE * rng.randint(1, 6) for _ in range(2))
        if rng.random() < 0.4:
            parts.append((IMAGE, (1, rows, columns), 0.0))
        else:
            rate = rng.choice(RATES)
            times = max(1, round(min(rng.choice(DURATIONS), longest) * rate / 2))
            if times > 40:
                rows, columns = MERGE * rng.randint(1, 2), MERGE * rng.randint(1, 2)
            parts.append((VIDEO, (times, rows, columns), 2 / rate))
        parts.append((TEXT, rng.randint(2, 9)))
    if len(parts) > 1 and rng.random() < 0.2:
        parts.pop()  # a row that ends with its visual
    return parts


def place(parts: list[tuple], tokens_per_second: int) -> tuple[list[int], list[tuple[int, int, int]]]:
    """Return the type and the (time, height, width) of every token of a row."""
    types: list[int] = []
    places: list[tuple[int, int, int]] = []
    for kind, *facts in parts:
        begin = 1 + max((max(place) for place in places), default=-1)
        if kind == TEXT:
            added = [(begin + word,) * 3 for word in range(facts[0])]
        else:
            (times, rows, columns), seconds = facts
            added = []
            for t in range(times):
                later = np.float32(np.float32(t) * np.float32(seconds)) * np.float32(tokens_per_second)
                for row in range(rows // MERGE):
                    added += [(begin + int(later), begin + row, begin + c) for c in range(columns // MERGE)]
        types += [kind] * len(added)
        places += added
    return types, places


def main() -> None:
    rng = random.Random(16)
    columns: dict[str, list] = {name: [] for name in ("shape", "tokens_per_second", "visuals", "grid", "seconds")}
    tokens: dict[str, list] = {name: [] for name in ("types", "mask", "positions", "offsets")}
    for number in range(LAYOUTS):
        unit = rng.choice((1, 2, 2, 2, 4, 25))
        longest = DURATIONS[number % len(DURATIONS)]
        rows = [random_row(rng, longest) for _ in range(rng.choice((1, 1, 2, 3)))]
        placed = [place(row, unit) for row in rows]
        width = max(len(types) for types, _ in placed)
        left = rng.random() < 0.5
        for types, places in placed:
            gap = width - len(types)
            before, after = (gap, 0) if left else (0, gap)
            tokens["types"] += [0] * before + types + [0] * after
            tokens["mask"] += [0] * before + [1] * len(types) + [0] * after
            tokens["positions"] += [(0, 0, 0)] * before + places + [(0, 0, 0)] * after
            tokens["offsets"].append(max(map(max, places)) + 1 - len(types))
        visuals = [[part for row in rows for part in row if part[0] == kind] for kind in (IMAGE, VIDEO)]
        columns["shape"].append((len(rows), width))
        columns["tokens_per_second"].append(unit)
        columns["visuals"].append([len(parts) for parts in visuals])
        columns["grid"] += [grid for parts in visuals for _, grid, _ in parts]
        columns["seconds"] += [seconds for parts in visuals for _, _, seconds in parts]
    arrays = {name: np.array(values, np.int32) for name, values in (columns | tokens).items() if name != "seconds"}
    arrays |= {name: arrays[name].astype(np.uint8) for name in ("types", "mask")}
    np.savez_compressed(FILE, seconds=np.array(columns["seconds"], np.float32), **arrays)
    print(FILE, FILE.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
