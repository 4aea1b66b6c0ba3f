"""Read labelled pictures from Parquet files as arrays.

A picture file has the columns `id`, `image` (encoded bytes), `label` and `split`. Every picture is read once, resized
to a square in RGB and kept as uint8, so that training steps need no decoding. Only the requested split is read, so that
a training run cannot use validation pictures by accident.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from emotion_qwen.data.tables import read_own_rows
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
        DataError: the file is missing, is not Parquet, lacks a column, has no picture of that split, or a picture
            cannot be decoded.
    """
    if not path.is_file():
        raise DataError(f"picture file {str(path)!r} does not exist; give a Parquet file with id, image, label, split")
    rows = read_own_rows(path, ("id", "image", "label", "split"), ("id", "label", "split"))
    chosen = [row for row in rows if row["split"] == split][:limit]
    if not chosen:
        raise DataError(f"{path.name}: no picture has split {split!r}; it has {sorted({row['split'] for row in rows})}")
    pixels = np.stack([_pixels(row["image"], side, crop, f"{path.name}, picture {row['id']}") for row in chosen])
    labels, ids = (tuple(row[name] for row in chosen) for name in ("label", "id"))
    return Pictures(path.stem, pixels, labels, ids)


def _pixels(data: Any, side: int, crop: float, place: str) -> np.ndarray:
    if not isinstance(data, bytes):
        raise DataError(f"{place}: holds no bytes; expected an encoded picture, leave the row out")
    try:
        return square_pixels(data, side, crop)
    except (OSError, ValueError) as error:
        raise DataError(f"{place}: cannot be decoded ({error}); leave the row out") from error


def square_pixels(data: bytes, side: int, crop: float = 1.0) -> np.ndarray:
    """Decode a picture, keep the central share `crop` of its sides and resize it: (side, side, 3) uint8 RGB."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    if crop < 1.0:
        width, height = image.size
        dx, dy = width * (1 - crop) / 2, height * (1 - crop) / 2
        image = image.crop((round(dx), round(dy), round(width - dx), round(height - dy)))
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
