"""Measure every frame of a clip with the landmarker and write the actions, the head's angles and the times.

Runs in the landmarker's virtual environment with PyAV added (see `recipes/mini/landmarker.py`), from the root of the
repository. The output consists of measurements of a person: keep it out of the repository.

    python recipes/express/clip_landmarks.py CLIP --model face_landmarker.task --output clip.parquet
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from recipes.mini.landmarker import read_landmarker, write_part


def frames_of(clip: Path) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Yield the time of every frame, in seconds, and its pixels (H, W, 3)."""
    import av

    with av.open(str(clip)) as container:
        for frame in container.decode(video=0):
            yield {"time": float(frame.time)}, frame.to_ndarray(format="rgb24")


def main() -> None:
    """Measure one clip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    for name in ("model", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    with read_landmarker(given.model) as landmarker:
        print(f"{given.clip.name}: {write_part(landmarker, frames_of(given.clip), given.output)} frames with a face")


if __name__ == "__main__":
    main()
