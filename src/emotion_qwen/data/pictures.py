"""Read labelled pictures from Parquet files as arrays.

A picture file has the columns `id`, `image` (encoded bytes), `label` and `split`. Every picture is read once, resized
to a square in RGB and kept as uint8, so that training steps need no decoding. Only the requested split is read, so that
a training run cannot use validation pictures by accident.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from emotion_qwen.errors import DataError


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures. `pixels` is (N, side, side, 3) uint8 RGB; `labels` has N names."""

    name: str
    pixels: np.ndarray
    labels: tuple[str, ...]
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def read_pictures(path: Path, split: str, side: int, *, crop: float = 1.0, limit: int | None = None) -> Pictures:
    """Read one split of a picture file.

    Args:
        path: Parquet file with the columns id, image, label, split.
        split: "train" or "validation".
        side: side of the square that every picture is resized to, pixels.
        crop: share of the side kept around the centre before resizing (1.0 keeps all).
        limit: maximum number of pictures, the first of the split.

    Raises:
        DataError: the file is missing, lacks a column, or has no picture of that split.
    """
    if not path.is_file():
        raise DataError(f"picture file {str(path)!r} does not exist; give a Parquet file with id, image, label, split")
    table = pq.read_table(path)
    missing = {"id", "image", "label", "split"} - set(table.schema.names)
    if missing:
        raise DataError(f"{path.name}: missing column(s) {sorted(missing)}; it has {table.schema.names}")
    columns = table.to_pydict()
    rows = [i for i, name in enumerate(columns["split"]) if name == split][:limit]
    if not rows:
        raise DataError(f"{path.name}: no picture has split {split!r}; it has {sorted(set(columns['split']))}")
    pixels = np.stack([square_pixels(columns["image"][i], side, crop) for i in rows])
    labels = tuple(columns["label"][i] for i in rows)
    return Pictures(path.stem, pixels, labels, tuple(columns["id"][i] for i in rows))


def square_pixels(data: bytes, side: int, crop: float = 1.0) -> np.ndarray:
    """Decode a picture, keep the central share `crop` of its sides and resize it: (side, side, 3) uint8 RGB."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    if crop < 1.0:
        width, height = image.size
        dx, dy = width * (1 - crop) / 2, height * (1 - crop) / 2
        image = image.crop((round(dx), round(dy), round(width - dx), round(height - dy)))
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
