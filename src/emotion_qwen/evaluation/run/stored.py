"""Pictures inside a data set's files, read on demand.

A set of two hundred thousand questions does not fit into memory with its pictures. A part contains a `Stored` instead,
which `Stored.load` decodes. Parquet is read by row group, so reading in the order of the file is fast.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.errors import MediaError
from emotion_qwen.extras import optional

GROUPS = 2
"""Number of row groups of pictures in the cache; one may take some hundred megabytes."""


@dataclass(frozen=True)
class Stored:
    """One picture of a Parquet or TSV file.

    Attributes:
        file: the file that contains it.
        name: its name there; equal for two questions about one picture, if the file identifies pictures.
        row: index within the row group.
        group: row group of a Parquet file.
        column: contains the bytes, {"bytes", "path"}, or a list of these, of which the first is read.
        text: base64, for a TSV file, which has no random access.
    """

    file: Path
    name: str
    row: int = 0
    group: int = 0
    column: str = "image"
    text: str = ""

    @property
    def key(self) -> str:
        """The key of the picture in caches; equal for equal pictures."""
        return f"{self.file.parent}/{self.name}"

    def load(self) -> np.ndarray:
        """Decode the picture to (H, W, 3) uint8, upright, with transparency on white.

        Raises:
            MediaError: the bytes are missing or not a picture.
            MissingPackage: pyarrow is not installed.
        """
        from emotion_qwen.media.picture import decode_picture  # loads PyAV, which listing tasks does not need

        return decode_picture(self.read(), f"{self.file.name}, picture {self.name}")

    def read(self) -> bytes:
        """Return the encoded bytes.

        Raises:
            MediaError: the bytes are missing or cannot be read.
        """
        if self.text:
            try:
                return base64.b64decode(self.text, validate=True)
            except (binascii.Error, ValueError) as error:
                raise MediaError(
                    f"{self.file.name}, picture {self.name}: not base64 ({error}); fetch it again"
                ) from error
        try:
            value = _pictures(self.file, self.group, self.column)[self.row]
        except (OSError, optional("pyarrow", "eval").ArrowException) as error:
            raise MediaError(
                f"{self.file.name}, picture {self.name}: cannot be read ({error}); fetch the file again"
            ) from error
        if isinstance(value, list):
            value = value[0] if value else None
        if isinstance(value, dict):
            value = value.get("bytes")
        if not isinstance(value, bytes):
            raise MediaError(f"{self.file.name}, picture {self.name}: holds no bytes; fetch the file again")
        return value


@lru_cache(maxsize=GROUPS)
def _pictures(file: Path, group: int, column: str) -> list[Any]:
    parquet = optional("pyarrow.parquet", "eval").ParquetFile(file)
    return parquet.read_row_group(group, columns=[column])[column].to_pylist()
