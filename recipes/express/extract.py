"""Measure the 52 facial actions of labelled still pictures, for the expression generator.

This file runs in the virtual environment described in `recipes/mini/landmarker.py`. The pictures are those of FER2013
(aligned) and LFW; RAF-DB is left out because its terms allow no training of weights that are passed on.

    python -m recipes.express.extract --data DATA --model face_landmarker.task --output FOLDER [--limit 8000]

The order of the pictures is fixed, and every initial part of it is balanced over label, split and source as far as
possible: --limit gives a balanced sample, and a later run without it continues. Every 500 pictures are one Parquet
file, so an interrupted run continues where it stopped.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from recipes.mini.landmarker import PART, enlarged, read_landmarker, write_part


@dataclass(frozen=True)
class Stills:
    """A file of labelled pictures, its name in the results, how much they are enlarged, and the border added.

    The landmarker finds few faces that fill a picture of 48 pixels; enlarged four times, and with a border of a quarter
    of the side, it finds 98 % of them.
    """

    name: str
    file: str
    factor: int
    border: float


STILLS = (Stills("fer", "faces_fer_aligned.parquet", 4, 0.25), Stills("lfw", "faces_lfw_expressions.parquet", 2, 0.0))
SEED = 0


def balanced_order(groups: Iterable[tuple[str, ...]], seed: int = SEED) -> np.ndarray:
    """Return an order of rows in which every initial part is balanced over the groups as far as possible.

    Args:
        groups: the group of each row, in file order.
        seed: of the order within each group.

    Returns:
        (N,) rows; all first ones of the groups, then all second ones, and so on.
    """
    places = list(groups)
    order = np.random.default_rng(seed).permutation(len(places))
    counts: Counter[tuple[str, ...]] = Counter()
    ranks = np.empty(len(places), int)
    for row in order:
        ranks[row] = counts[places[row]]
        counts[places[row]] += 1
    return order[np.argsort(ranks[order], kind="stable")]


def read_rows(data: Path) -> list[dict]:
    """Return the id, source, label, split and picture of all faces, in the order in which they are measured."""
    rows = []
    for stills in STILLS:
        table = pq.read_table(data / stills.file, columns=["id", "image", "label", "split"])
        rows += [{**row, "stills": stills} for row in table.to_pylist()]
    order = balanced_order((row["stills"].name, row["split"], row["label"]) for row in rows)
    return [rows[row] for row in order]


def picture_of(row: dict) -> tuple[dict[str, str], np.ndarray]:
    """Return the known data of a face of `read_rows`, and its picture as given to the landmarker."""
    stills = row["stills"]
    known = {**{name: row[name] for name in ("id", "label", "split")}, "source": stills.name}
    return known, enlarged(row["image"], stills.factor, stills.border)


def main() -> None:
    """Measure all pictures, part by part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "model", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=None, help="pictures of the balanced order; default: all")
    given = parser.parse_args()
    rows = read_rows(given.data)[: given.limit]
    given.output.mkdir(parents=True, exist_ok=True)
    with read_landmarker(given.model) as landmarker:
        for start in range(0, len(rows), PART):
            path = given.output / f"part-{start:06d}.parquet"
            part = rows[start : start + PART]
            if path.exists() and pq.read_metadata(path).num_rows == len(part):
                continue
            begun = time.monotonic()
            detected = write_part(landmarker, map(picture_of, part), path)
            pace = (time.monotonic() - begun) / len(part) * 1000
            print(
                f"{path.name}: {detected} of {len(part)} faces detected, {pace:.0f} ms each, "
                f"{start + len(part)} of {len(rows)} done",
                flush=True,
            )


if __name__ == "__main__":
    main()
