"""A cache of the frozen vision transformer's patch features, for stages in which it does not learn.

Two files: `features.bin` holds rows one after another, `index.jsonl` one line a visual with its place. Both only grow,
features before their line, so that an interrupted filling goes on where it stopped. A visual's key is the content of
an array, or path, size and time of a file, so that a hit costs neither decoding nor capture.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from emotion_qwen.data.mixture import Item, Mixture
from emotion_qwen.errors import DataError
from emotion_qwen.model.vision import EmotionQwenVisionTransformer
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.processing.processor import EncodedVisual
from emotion_qwen.records import Clip, Sample

KINDS = {"image": ("pixel_values", "image_grid_thw"), "video": ("pixel_values_videos", "video_grid_thw")}
BATCH = 64  # samples encoded together


class FeatureCache:
    """Patch features on disk, by visual.

    Args:
        folder: made if it is not there.
        vision: the frozen vision transformer.
        processor: the model's own; its settings belong to what is stored.
        read: turns a sample's media given by path into captured clips.
        dtype: of the stored features; bfloat16 also encodes in it, as training in bfloat16 does.

    Raises:
        DataError: the folder holds features of another vision transformer, of other settings or another number type.
    """

    def __init__(
        self,
        folder: Path,
        vision: EmotionQwenVisionTransformer,
        processor: EmotionQwenProcessor,
        read: Callable[[Sample], Sample],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.folder, self.vision, self.processor, self.read, self.dtype = folder, vision, processor, read, dtype
        self.width: int = vision.config.hidden_size
        self.index: dict[str, dict[str, Any]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._check_maker()
        self._open()

    def _check_maker(self) -> None:
        digest = hashlib.sha256(json.dumps(self.processor.clip_settings, sort_keys=True).encode())
        for name, value in sorted(self.vision.state_dict().items()):
            digest.update(name.encode() + value.float().cpu().numpy().tobytes())
        made_by = {"maker": digest.hexdigest(), "dtype": str(self.dtype), "width": self.width}
        path = self.folder / "cache.json"
        if not path.is_file():
            path.write_text(json.dumps(made_by) + "\n", encoding="utf-8")
        elif json.loads(path.read_text(encoding="utf-8")) != made_by:
            raise DataError(
                f"{self.folder}: the cached features were made by another vision transformer or with other settings "
                f"than these ({self.dtype}); give another `features` folder, or remove this one"
            )

    def _open(self) -> None:
        """Read the index; drop a half-written line, and rows that no line names."""
        lines, whole = self.folder / "index.jsonl", 0
        data = lines.read_bytes() if lines.is_file() else b""
        for line in data.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            entry = json.loads(line)
            self.index[entry.pop("key")] = entry
            whole += len(line)
        lines.touch()
        with lines.open("r+b") as file:
            file.truncate(whole)
        self.rows = max((entry["first"] + entry["rows"] for entry in self.index.values()), default=0)
        self.store = self.folder / "features.bin"
        self.store.touch()
        with self.store.open("r+b") as file:
            file.truncate(self.rows * self._row_bytes)

    @property
    def _row_bytes(self) -> int:
        return self.width * self.dtype.itemsize

    def fill(self, items: Sequence[Item] | Mixture, console: Console | None = None) -> None:
        """Encode every visual of the items that is not there yet; the size is printed first.

        Raises:
            DataError: the disk is too small.
        """
        console = console or Console(stderr=True)
        step = range(0, len(items), BATCH)
        for number, start in enumerate(track(step, "vision features", console=console, transient=True)):
            samples = [items[place].sample for place in range(start, min(start + BATCH, len(items)))]
            before = self.rows
            self._add(samples)
            if number == 0 and self.rows > before:
                self._tell_size((self.rows - before) * self._row_bytes * len(step), console)
        console.print(
            f"features of {len(self.index)} visuals, {self.rows * self._row_bytes / 1e6:.1f} MB, {self.folder}"
        )

    def _tell_size(self, size: int, console: Console) -> None:
        free = shutil.disk_usage(self.folder).free
        console.print(f"the feature cache will take at most {size / 1e6:.1f} MB of {free / 1e6:.0f} MB free")
        if size > free:
            raise DataError(
                f"{self.folder}: the feature cache may take {size / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
                "choose another `features` folder or leave it out"
            )

    def prepare(self, sample: Sample) -> Sample:
        """Return the sample with features in place of its media; what is missing is encoded now."""
        if any(visual_key(part) not in self.index for part in media_parts(sample)):
            self._add([sample])
        messages = []
        for message in sample.messages:
            content = message["content"]
            if not isinstance(content, str):
                content = [self._encoded(p) if p["type"] in KINDS else p for p in content]
            messages.append({**message, "content": content})
        return Sample(sample.id, tuple(messages), sample.labels, sample.split, sample.source, sample.license)

    def _encoded(self, part: dict[str, Any]) -> dict[str, Any]:
        entry = self.index[visual_key(part)]
        size = entry["rows"] * self.width
        data = np.fromfile(self.store, np.uint8, size * self.dtype.itemsize, offset=entry["first"] * self._row_bytes)
        features = torch.from_numpy(data).view(self.dtype).view(entry["rows"], self.width)
        return {
            "type": part["type"],
            part["type"]: EncodedVisual(features, torch.tensor(entry["grid"]), entry["seconds"]),
        }

    def _add(self, samples: Iterable[Sample]) -> None:
        missing: dict[str, dict[str, Any]] = {}
        for sample in samples:
            asked = [(visual_key(part), place) for place, part in enumerate(media_parts(sample))]
            if any(key not in self.index and key not in missing for key, _ in asked):
                ready = list(media_parts(self.read(sample)))
                missing |= {key: ready[place] for key, place in asked if key not in self.index}
        for kind in KINDS:
            chosen = {key: part for key, part in missing.items() if part["type"] == kind}
            if chosen:
                self._encode(kind, chosen)

    @torch.no_grad()
    def _encode(self, kind: str, parts: dict[str, dict[str, Any]]) -> None:
        pixels, grids = KINDS[kind]
        media = [part[kind] for part in parts.values()]
        pad = {"image": "<|image_pad|>", "video": "<|video_pad|>"}[kind] * len(media)
        images, videos = (media, None) if kind == "image" else (None, media)
        batch = self.processor(images, pad, videos)
        device = next(self.vision.parameters()).device
        grid = batch[grids]
        with torch.autocast(device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            encoded = self.vision(batch[pixels].to(device), grid.to(device)).last_hidden_state
        seconds = batch["second_per_grid_ts"].tolist() if kind == "video" else [0.0] * len(media)
        pieces = encoded.to(self.dtype).cpu().split(grid.prod(-1).tolist())
        lines = []
        with self.store.open("ab") as file:
            for key, piece, shape, second in zip(parts, pieces, grid.tolist(), seconds, strict=True):
                file.write(piece.contiguous().view(torch.uint8).numpy().tobytes())
                entry = {"first": self.rows, "rows": len(piece), "grid": shape, "seconds": second}
                self.index[key] = entry
                self.rows += len(piece)
                lines.append(json.dumps({"key": key, **entry}) + "\n")
        with (self.folder / "index.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(lines)


def media_parts(sample: Sample) -> Iterable[dict[str, Any]]:
    """Yield the picture and video parts of a sample, in order."""
    for message in sample.messages:
        if not isinstance(message["content"], str):
            yield from (part for part in message["content"] if part["type"] in KINDS)


def visual_key(part: dict[str, Any]) -> str:
    """Name a visual by its content: the bytes of an array, or path, size and time of a file.

    Raises:
        DataError: the file does not exist, or the medium is neither array, clip nor path.
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
