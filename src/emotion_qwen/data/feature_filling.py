"""Fill the feature cache: one process encodes every visual of a run once, on the model's device.

Data-loading workers read the visuals, which are encoded in batches with a limited number of patches. Features are
written to disk before their lines in the index, so that an interrupted process continues where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader, Dataset

from emotion_qwen.data.features import INDEX, MAKER, STORE, FeatureCache, media_parts, read_index, visual_key
from emotion_qwen.data.mixture import Mixture, MixtureItem, sample_of_item
from emotion_qwen.errors import DataError, EmotionQwenError
from emotion_qwen.files import write_whole
from emotion_qwen.model.vision import EmotionQwenVisionTransformer
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.records import Sample

KINDS = {"image": ("pixel_values", "image_grid_thw"), "video": ("pixel_values_videos", "video_grid_thw")}
PATCHES = 16_384
"""Maximum number of patches per batch, whose pixels take about 77 MB; a longer video is encoded alone."""
LOCK = "filling.lock"
Samples = Sequence[MixtureItem] | Sequence[Sample] | Mixture | Dataset


@dataclass(frozen=True, eq=False)
class Pixels:
    """A visual prepared for the vision transformer.

    Attributes:
        key: of the visual.
        patches: (N, D x bytes per value) uint8, the bytes of the patches in the dtype of the features, because NumPy,
            which keeps no file descriptor per array, has no bfloat16.
        grid: number of temporal steps, rows and columns of patches.
        seconds: duration of a temporal patch; 0 for a picture.
    """

    key: str
    patches: np.ndarray
    grid: list[int]
    seconds: float


@dataclass(eq=False)
class MissingVisuals(Dataset):
    """Samples with visuals that are not in the cache yet; each item has the pixels of these visuals.

    Attributes:
        sources: sequences of samples, or of items with a sample.
        read: reads a sample's media given by path as captured clips.
        processor: of the model.
        dtype: of the patches.
        places: (source, index in the source, keys to encode).
    """

    sources: Sequence[Any]
    read: Callable[[Sample], Sample]
    processor: EmotionQwenProcessor
    dtype: torch.dtype = torch.float32
    places: list[tuple[int, int, frozenset[str]]] = field(default_factory=list)

    @property
    def count(self) -> int:
        """The number of visuals."""
        return sum(len(keys) for _, _, keys in self.places)

    def find(self, stored: dict[str, Any], console: Console) -> None:
        """Search all samples for visuals that are not in the cache; each is included once."""
        planned = set(stored)
        for number, source in enumerate(self.sources):
            places = track(range(len(source)), "looking for visuals", console=console, transient=True)
            for place in places:
                keys = {visual_key(part) for part in media_parts(sample_of_item(source[place]))} - planned
                if keys:
                    self.places.append((number, place, frozenset(keys)))
                    planned |= keys

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> list[Pixels] | EmotionQwenError:
        """Return the pixels of a sample's visuals, or the error as text, because a worker would add its traceback."""
        source, place, keys = self.places[number]
        sample = sample_of_item(self.sources[source][place])
        named = {visual_key(part): index for index, part in enumerate(media_parts(sample))}
        try:
            ready = list(media_parts(self.read(sample)))
            return [self._pixels(key, ready[index]) for key, index in named.items() if key in keys]
        except EmotionQwenError as error:
            return type(error)(f"sample {sample.id!r}: {error}")

    def _pixels(self, key: str, part: dict[str, Any]) -> Pixels:
        kind = part["type"]
        medium = [part[kind]]
        batch = self.processor(images=medium) if kind == "image" else self.processor(videos=medium)
        pixels, grid = (batch[name] for name in KINDS[kind])
        seconds = float(batch["second_per_grid_ts"][0]) if kind == "video" else 0.0
        return Pixels(key, pixels.to(self.dtype).view(torch.uint8).numpy(), grid[0].tolist(), seconds)


class FeatureFiller:
    """Encodes visuals into a cache.

    Args:
        folder: of the cache; created if missing.
        vision: the frozen vision transformer, on the device to use.
        processor: of the model; its settings are stored in the cache.
        read: reads a sample's media given by path as captured clips.
        dtype: of the stored features; with bfloat16, encoding also uses bfloat16, as in training.
        capture: whether `read` captures faces.
    """

    def __init__(
        self,
        folder: Path,
        vision: EmotionQwenVisionTransformer,
        processor: EmotionQwenProcessor,
        read: Callable[[Sample], Sample],
        dtype: torch.dtype = torch.float32,
        capture: bool = False,
    ) -> None:
        self.folder, self.vision, self.processor, self.read = folder, vision, processor, read
        self.dtype, self.capture, self.rows = dtype, capture, 0

    def fill(self, sources: Sequence[Samples], workers: int = 0, console: Console | None = None) -> FeatureCache:
        """Encode all visuals of the samples that are not in the cache; the size is printed first.

        Args:
            sources: the training data and all validation data.
            workers: number of processes that decode.
            console: for progress and size.

        Returns:
            The complete cache.

        Raises:
            DataError: the folder contains features of another vision transformer, other settings or another dtype;
                the disk is too small or not writable; or a medium cannot be read.
        """
        console = console or Console(stderr=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            console.print(f"{self.folder}: another run is filling the feature cache; waiting for it", markup=False)
            lock.acquire()
        try:
            return self._fill(sources, workers, console)
        except OSError as error:
            raise DataError(
                f"{self.folder}: features cannot be written ({error}); make room and start again, what is stored stays"
            ) from error
        finally:
            lock.release()

    def _fill(self, sources: Sequence[Samples], workers: int, console: Console) -> FeatureCache:
        self._check_maker()
        missing = MissingVisuals(sources, self.read, self.processor, self.dtype)
        missing.find(self._repair(), console)
        done = 0
        for batch in _bounded(_loaded(missing, workers, console)):
            features = self._encode(batch)
            if not done:
                rows = sum(len(feature) for feature in features)
                self._tell_size(rows * self._row_bytes * missing.count // len(batch), console)
            self._append(batch, features)
            done += len(batch)
        cache = FeatureCache(self.folder)
        size = self.rows * self._row_bytes / 1e6
        console.print(
            f"features of {len(cache.index)} visuals, {size:.1f} MB, {self.folder}", markup=False, highlight=False
        )
        return cache

    @property
    def _row_bytes(self) -> int:
        return int(self.vision.config.hidden_size) * self.dtype.itemsize

    def _check_maker(self) -> None:
        settings = [self.processor.clip_settings, self.processor.image_processor.to_dict(), self.capture]
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
        for name, value in sorted(self.vision.state_dict().items()):
            digest.update(name.encode() + value.float().cpu().numpy().tobytes())
        dtype = str(self.dtype).removeprefix("torch.")
        made_by = {"maker": digest.hexdigest(), "dtype": dtype, "width": self.vision.config.hidden_size}
        path = self.folder / MAKER
        if not path.is_file():
            write_whole(path, json.dumps(made_by) + "\n")
        elif json.loads(path.read_text(encoding="utf-8")) != made_by:
            raise DataError(
                f"{self.folder}: the cached features were made by another vision transformer or with other settings "
                f"than these ({dtype}); give another `features` folder, or remove this one"
            )

    def _repair(self) -> dict[str, dict[str, Any]]:
        """Remove data that an interrupted process left incomplete, and return the complete entries."""
        entries, whole = read_index(self.folder, self._row_bytes)
        self.rows = max((entry["first"] + entry["rows"] for entry in entries.values()), default=0)
        for name, size in ((INDEX, whole), (STORE, self.rows * self._row_bytes)):
            with (self.folder / name).open("ab") as file:
                file.truncate(size)
        return entries

    def _tell_size(self, size: int, console: Console) -> None:
        free = shutil.disk_usage(self.folder).free
        console.print(f"the feature cache will grow by about {size / 1e6:.1f} MB; {free / 1e6:.0f} MB are free")
        if size > free:
            raise DataError(
                f"{self.folder}: the feature cache may take {size / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
                "choose another `features` folder or leave it out"
            )

    @torch.no_grad()
    def _encode(self, batch: Sequence[Pixels]) -> list[torch.Tensor]:
        device = next(self.vision.parameters()).device
        pixels = torch.from_numpy(np.concatenate([visual.patches for visual in batch])).view(self.dtype).to(device)
        grid = torch.tensor([visual.grid for visual in batch], device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            encoded = self.vision(pixels, grid).last_hidden_state
        return list(encoded.to(self.dtype).cpu().split([len(visual.patches) for visual in batch]))

    def _append(self, batch: Sequence[Pixels], features: Sequence[torch.Tensor]) -> None:
        """Append features, then their lines in the index."""
        lines, blocks = [], []
        for visual, feature in zip(batch, features, strict=True):
            block = feature.contiguous().view(torch.uint8).numpy().tobytes()
            entry = {"first": self.rows, "rows": len(feature), "grid": visual.grid, "seconds": visual.seconds}
            lines.append(json.dumps({"key": visual.key, **entry, "crc": zlib.crc32(block)}).encode() + b"\n")
            blocks.append(block)
            self.rows += len(feature)
        for name, data in ((STORE, blocks), (INDEX, lines)):
            with (self.folder / name).open("ab") as file:
                file.writelines(data)
                file.flush()
                os.fsync(file.fileno())


def _loaded(missing: MissingVisuals, workers: int, console: Console) -> Iterator[Pixels]:
    """Yield the pixels of all missing visuals, read by workers; the first error stops it."""
    loader = DataLoader(missing, batch_size=None, num_workers=workers, collate_fn=_as_read)
    for visuals in track(loader, "vision features", total=len(missing), console=console, transient=True):
        if isinstance(visuals, EmotionQwenError):
            raise visuals
        yield from visuals


def _as_read(visuals: Any) -> Any:
    """Return items unchanged: as tensors, each array would keep a file descriptor open until it is encoded."""
    return visuals


def _bounded(visuals: Iterator[Pixels]) -> Iterator[list[Pixels]]:
    """Yield visuals in batches of at most `PATCHES` patches; a larger visual gets its own batch."""
    batch: list[Pixels] = []
    patches = 0
    for visual in visuals:
        if batch and patches + len(visual.patches) > PATCHES:
            yield batch
            batch, patches = [], 0
        batch.append(visual)
        patches += len(visual.patches)
    if batch:
        yield batch
