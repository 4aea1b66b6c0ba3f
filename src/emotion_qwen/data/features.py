"""A cache of patch features of the vision transformer, for stages in which it is frozen.

`features.bin` contains rows of features, `index.jsonl` one line per visual with its position and checksum, and
`cache.json` the settings. One process fills the cache before training (`feature_filling`); all others only read it, and
a missing visual is an error. The key of a visual is the content of an array, or the path, size and modification time of
a file, so that a lookup needs neither decoding nor capture.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emotion_qwen.errors import DataError
from emotion_qwen.processing.encoded import EncodedVisual
from emotion_qwen.records import Clip, Sample

MAKER, INDEX, STORE = "cache.json", "index.jsonl", "features.bin"
VISUALS = ("image", "video")


class FeatureCache:
    """Patch features of visuals on disk; read-only.

    Args:
        folder: filled by `feature_filling.FeatureFiller`.

    Raises:
        DataError: there is no cache.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            made_by = json.loads((folder / MAKER).read_text(encoding="utf-8"))
            self.width, self.dtype = int(made_by["width"]), getattr(torch, made_by["dtype"])
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise DataError(
                f"{folder}: no feature cache can be read there ({error}); all machines of a run need the same "
                "`features` folder"
            ) from error
        self.index, _ = read_index(folder, self.row_bytes)

    @property
    def row_bytes(self) -> int:
        """Size in bytes of the features of one patch."""
        return self.width * self.dtype.itemsize

    def prepare(self, sample: Sample) -> Sample:
        """Return a sample with features in place of its pictures and videos.

        Raises:
            DataError: a visual is not in the cache, or its features are damaged.
        """
        messages = []
        for message in sample.messages:
            content = message["content"]
            if not isinstance(content, str):
                content = [self._encoded(part, sample.id) if part["type"] in VISUALS else part for part in content]
            messages.append({**message, "content": content})
        return Sample(sample.id, tuple(messages), sample.labels, sample.split, sample.source, sample.license)

    def _encoded(self, part: dict[str, Any], sample: str) -> dict[str, Any]:
        entry = self.index.get(visual_key(part))
        if entry is None:
            raise DataError(
                f"{self.folder}: no features of a {part['type']} of sample {sample!r}; the file has changed since the "
                "cache was filled, start the run again"
            )
        size = entry["rows"] * self.row_bytes
        data = np.fromfile(self.folder / STORE, np.uint8, size, offset=entry["first"] * self.row_bytes)
        if len(data) != size or zlib.crc32(data.tobytes()) != entry["crc"]:
            raise DataError(f"{self.folder}: the features of sample {sample!r} are damaged; remove this folder")
        features = torch.from_numpy(data).view(self.dtype).view(entry["rows"], self.width)
        visual = EncodedVisual(features, torch.tensor(entry["grid"]), entry["seconds"])
        return {"type": part["type"], part["type"]: visual}


def read_index(folder: Path, row_bytes: int) -> tuple[dict[str, dict[str, Any]], int]:
    """Read the index up to the first line that is incomplete or refers to rows that are not stored.

    Args:
        folder: of the cache.
        row_bytes: size in bytes of the features of one patch.

    Returns:
        Key -> entry, and the number of bytes of the index that were read.
    """
    lines, store = folder / INDEX, folder / STORE
    stored = store.stat().st_size if store.is_file() else 0
    entries: dict[str, dict[str, Any]] = {}
    whole = 0
    for line in lines.read_bytes().splitlines(keepends=True) if lines.is_file() else ():
        try:
            entry = json.loads(line)
            end = (entry["first"] + entry["rows"]) * row_bytes
        except (ValueError, KeyError, TypeError):
            break
        if not line.endswith(b"\n") or end > stored:
            break
        entries[entry.pop("key")] = entry
        whole += len(line)
    return entries, whole


def media_parts(sample: Sample) -> Iterator[dict[str, Any]]:
    """Yield the picture and video parts of a sample, in order."""
    for message in sample.messages:
        if not isinstance(message["content"], str):
            yield from (part for part in message["content"] if part["type"] in VISUALS)


def visual_key(part: dict[str, Any]) -> str:
    """Return the key of a visual: a hash of an array, or of the path, size and modification time of a file.

    Raises:
        DataError: the file does not exist, or the medium is not an array, clip or path.
    """
    medium = part[part["type"]]
    digest = hashlib.sha256(part["type"].encode())
    if isinstance(medium, Clip):
        digest.update(medium.times.tobytes())
        medium = medium.frames
    if isinstance(medium, np.ndarray):
        digest.update(str(medium.shape).encode() + np.ascontiguousarray(medium).tobytes())
    elif isinstance(medium, str | Path):
        try:
            facts = Path(medium).stat()
        except OSError as error:
            raise DataError(f"medium {str(medium)!r} cannot be read ({error.strerror}); check the manifest") from error
        digest.update(f"{Path(medium).resolve()} {facts.st_size} {facts.st_mtime_ns}".encode())
    else:
        raise DataError(f"a medium of type {type(medium).__name__}; expected an array, a clip or a path")
    return digest.hexdigest()[:32]
