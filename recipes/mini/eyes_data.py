"""Faces and objects for the vision transformer: votes, labels, facial actions and head angles of every picture.

Every picture is resized once and stored in memory-mapped arrays, so that a training step decodes nothing. The picture
at each position of a run and its augmentation are functions of the position and the seed alone, so an interrupted run
continues exactly.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from torch.utils.data import Dataset

from emotion_qwen.data.pictures import square_pixels
from emotion_qwen.errors import DataError
from recipes.mini.actions import ACTIONS, mirrored
from recipes.nano.augment import Geometry, draw_geometry, relight, resample
from recipes.nano.vision_start import OBJECTS

EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
"""The order of FER+'s votes; two more counts follow, `unknown` and `no face`."""
SIDE = 96
DOUBT = 5
"""A face is left out of training if at least this many of its ten votes are `unknown` or `no face`."""


@dataclass(frozen=True)
class Source:
    """A picture file, the central share of the side that is kept, and how often one pass shows each class."""

    name: str
    file: str
    shares: Mapping[str, float]
    crop: float = 1.0


FERPLUS = Source(
    "ferplus",
    "faces_ferplus.parquet",
    dict(zip(EMOTIONS, (0.7, 0.7, 1.0, 1.2, 1.2, 4.0, 3.0, 3.0), strict=True)),
)
ALIGNED = Source(
    "aligned",
    "faces_fer_aligned.parquet",
    dict(zip(EMOTIONS[:7], (0.5, 0.5, 0.5, 0.6, 0.6, 2.0, 0.6), strict=True)),
)
LFW = Source(
    "lfw",
    "faces_lfw_expressions.parquet",
    dict(zip(EMOTIONS, (0.2, 0.25, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0), strict=True)),
    crop=0.85,
)
RAFDB = Source("rafdb", "faces_rafdb.parquet", {})
"""RAF-DB is used only for measurement: its terms do not allow training of weights that are passed on."""
CIFAR10 = Source("cifar10", "pictures_cifar10.parquet", dict.fromkeys(OBJECTS, 0.4))
FACES = (FERPLUS, ALIGNED, LFW)


def emotion_targets(votes: Sequence[int]) -> tuple[float, ...]:
    """Return the share of each of the eight emotions in all votes, `unknown` and `no face` included in the total.

    Example:
        `emotion_targets([5, 3, 0, 0, 0, 0, 0, 0, 2, 0])` is `(0.5, 0.3, 0, 0, 0, 0, 0, 0)`.
    """
    total = max(sum(votes), 1)
    return tuple(count / total for count in votes[: len(EMOTIONS)])


def person_of(identifier: str) -> str:
    """Return the person's name in an id of LFW: `lfw/Aaron_Peirsol_0002` is `Aaron_Peirsol`."""
    return identifier.rpartition("/")[2].rpartition("_")[0]


@dataclass(frozen=True, eq=False)
class LabelledFaces:
    """One split of one source, in file order; objects are pictures whose `objects` is not -1.

    `pixels` is (N, S, S) or (N, S, S, 3) uint8; `targets` (N, 8) shares of votes, zeros where there is
    no emotion; `actions` (N, 45) and `angles` (N, 3) in degrees, NaN where the landmarker detected no face.
    """

    ids: tuple[str, ...]
    pixels: np.ndarray
    targets: np.ndarray
    objects: np.ndarray
    actions: np.ndarray
    angles: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


def read_faces(data: Path, cache: Path, source: Source, split: str, landmarks: Path | None = None) -> LabelledFaces:
    """Read one split of a source, and write its pixel array into `cache` if it is not there yet.

    Args:
        data: folder of the Parquet files.
        cache: folder of the arrays.
        source: which file.
        split: "train" or "validation". Training leaves out doubtful faces (`DOUBT`) and, in LFW, every person who
            occurs in validation.
        landmarks: folder written by `recipes/mini/landmarker.py`; None leaves actions and angles unknown.

    Raises:
        DataError: the file is missing or contains no picture of that split.
    """
    path = data / source.file
    if not path.is_file():
        raise DataError(f"picture file {str(path)!r} does not exist; --data names the folder of the Parquet files")
    names = pq.read_schema(path).names
    columns = pq.read_table(path, columns=["id", "split", "votes" if "votes" in names else "label"]).to_pydict()
    rows = [row for row, name in enumerate(columns["split"]) if name == split]
    if not rows:
        raise DataError(f"{path.name}: no picture has split {split!r}; it has {sorted(set(columns['split']))}")
    pixels = _pixel_array(path, cache / f"{source.name}-{split}.npy", rows, source.crop)
    ids = tuple(columns["id"][row] for row in rows)
    targets, objects = np.zeros((len(rows), len(EMOTIONS)), np.float32), np.full(len(rows), -1)
    keep = np.ones(len(rows), bool)
    known = {person_of(i) for i, s in zip(columns["id"], columns["split"], strict=True) if s == "validation"}
    for place, row in enumerate(rows):
        if "votes" in columns:
            votes = columns["votes"][row]
            targets[place] = emotion_targets(votes)
            keep[place] = split != "train" or sum(votes[len(EMOTIONS) :]) < DOUBT
        elif columns["label"][row] in EMOTIONS:
            targets[place, EMOTIONS.index(columns["label"][row])] = 1.0
        else:
            objects[place] = OBJECTS.index(columns["label"][row])
        if source.file == LFW.file and split == "train":
            keep[place] = person_of(ids[place]) not in known
    actions, angles = read_landmarks(landmarks, ids) if landmarks else _unknown(len(ids))
    return LabelledFaces(
        tuple(ids[row] for row in np.flatnonzero(keep)),
        pixels if keep.all() else pixels[keep],
        targets[keep],
        objects[keep],
        actions[keep],
        angles[keep],
    )


def _pixel_array(path: Path, array: Path, rows: list[int], crop: float) -> np.ndarray:
    if not array.exists():
        array.parent.mkdir(parents=True, exist_ok=True)
        images = pq.read_table(path, columns=["image"])["image"]
        first = square_pixels(images[rows[0]].as_py(), SIDE, crop)
        grey = all(np.ptp(square_pixels(images[row].as_py(), SIDE, crop), axis=-1).max() == 0 for row in rows[:20])
        unfinished = array.with_suffix(f".{os.getpid()}.npy")
        shape = (len(rows), *(first.shape[:2] if grey else first.shape))
        pixels = np.lib.format.open_memmap(unfinished, "w+", np.uint8, shape)
        for place, row in enumerate(rows):
            picture = square_pixels(images[row].as_py(), SIDE, crop)
            pixels[place] = picture[..., 0] if grey else picture
        pixels.flush()
        os.replace(unfinished, array)
    return np.load(array, mmap_mode="r")


def _unknown(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((count, len(ACTIONS)), math.nan, np.float32), np.full((count, 3), math.nan, np.float32)


def read_landmarks(folder: Path, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the 45 actions (N, 45) and angles (N, 3) that the landmarker measured; NaN for pictures not measured."""
    actions, angles = _unknown(len(ids))
    places = {identifier: place for place, identifier in enumerate(ids)}
    for path in sorted(folder.glob("*.parquet")):
        table = pq.read_table(path)
        names = (table.schema.metadata or {})[b"shapes"].decode().split(",")
        picked = [names.index(name) for name in ACTIONS]
        for row in table.to_pylist():
            place = places.get(row["id"])
            if place is not None and row["detected"]:
                actions[place] = np.asarray(row["shapes"])[picked]
                angles[place] = row["angles"]
    return actions, angles


class EyesStream(Dataset):
    """All pictures of a run in sequence: position i selects a picture; the order depends on the seed alone."""

    def __init__(self, parts: Sequence[tuple[Source, LabelledFaces]], *, passes: int, seed: int) -> None:
        self.parts = parts
        generator = np.random.default_rng(seed)
        self.order = np.concatenate([self._one_pass(generator) for _ in range(passes)])

    def _one_pass(self, generator: np.random.Generator) -> np.ndarray:
        chosen = []
        for place, (source, faces) in enumerate(self.parts):
            for name, share in source.shares.items():
                members = np.flatnonzero(class_members(faces, name))
                counts = np.full(len(members), int(share))
                counts[generator.permutation(len(members))[: round(len(members) * (share % 1))]] += 1
                rows = np.repeat(members, counts)
                chosen.append(np.stack([np.full(len(rows), place), rows], axis=1))
        return generator.permutation(np.concatenate(chosen))

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> dict[str, Any]:
        part, row = self.order[place]
        return {"place": place, **item_of(self.parts[part][1], int(row))}


class HeldFaces(Dataset):
    """One split of a source in file order, never varied (`place` is None)."""

    def __init__(self, faces: LabelledFaces) -> None:
        self.faces = faces

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return {"place": None, **item_of(self.faces, place)}


def class_members(faces: LabelledFaces, name: str) -> np.ndarray:
    """Return which pictures (N,) show `name`: an object, or the emotion with most votes (the first at a tie)."""
    if name in OBJECTS:
        return faces.objects == OBJECTS.index(name)
    return (faces.targets.argmax(1) == EMOTIONS.index(name)) & (faces.targets.max(1) > 0)


def item_of(faces: LabelledFaces, row: int) -> dict[str, Any]:
    """Return one picture (3, S, S) uint8 with all its data."""
    pixels = torch.from_numpy(np.array(faces.pixels[row]))
    pixels = pixels.expand(3, -1, -1) if pixels.ndim == 2 else pixels.permute(2, 0, 1)
    return {
        "pixels": pixels,
        "targets": torch.from_numpy(faces.targets[row]),
        "objects": int(faces.objects[row]),
        "actions": torch.from_numpy(faces.actions[row]),
        "angles": torch.from_numpy(faces.angles[row]),
    }


def vary(pixels: torch.Tensor, strength: float, generator: torch.Generator, side: int) -> tuple[torch.Tensor, Geometry]:
    """Augment position, size, light, sharpness and colour of pictures.

    Args:
        pixels: (B, 3, S, S) float in 0..1.
        strength: 0 (flip only) to 1.
        generator: source of all randomness.
        side: of the result, pixels.

    Returns:
        (B, 3, side, side) in 0..1, and the geometry applied to the pictures, on which some labels depend.
    """
    batch = len(pixels)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    def some(share: float) -> torch.Tensor:
        return draw(batch, 1, 1, 1) < share * strength

    geometry = draw_geometry(batch, strength, generator)
    moved = resample(pixels, geometry, side)
    axis = torch.linspace(-1, 1, side)
    slope = (draw(batch, 2, 1, 1) * 2 - 1) * 0.25
    ramp = slope[:, :1] * axis.view(1, 1, 1, side) + slope[:, 1:] * axis.view(1, 1, side, 1)
    moved = torch.where(some(0.5), (moved + ramp).clamp(0, 1), moved)
    moved = torch.where(some(0.3), moved.mean(1, keepdim=True), moved)  # colour becomes grey
    power = torch.exp((draw(batch, 1, 1, 1) - 0.5) * 0.8 + (draw(batch, 3, 1, 1) - 0.5) * 0.5 * some(0.3))
    moved = torch.where(some(0.5), moved.clamp_min(1e-4) ** power, moved)  # darker, lighter, and grey becomes coloured
    coarse = (28, 36, 44)[int(draw(1) * 3)]
    small = F.interpolate(moved, (coarse, coarse), mode="bilinear", antialias=True, align_corners=False)
    blurred = F.interpolate(small, (side, side), mode="bilinear", align_corners=False)
    moved = torch.where(some(0.25), blurred, moved)
    return relight(moved, strength, generator), geometry


@dataclass(frozen=True)
class EyesBatches:
    """Collate pictures; training ones are varied, with a strength that rises to `strength` over `ramp` places.

    `sides` are (first place, side) in ascending order: the network starts on small pictures, which cost less.
    `mixed` is the share of batches whose pictures are blended with their neighbours (Zhang et al. 2018, mixup).
    """

    ramp: int
    seed: int
    sides: tuple[tuple[int, int], ...] = ((0, SIDE),)
    mixed: float = 0.0
    strength: float = 1.0

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return `pixels` (B, 3, side, side) in 0..1, `targets`, `objects`, `actions` and `angles`."""
        batch = {
            name: torch.stack([item[name] for item in items]) for name in ("pixels", "targets", "actions", "angles")
        }
        batch["objects"] = torch.tensor([item["objects"] for item in items])
        batch["pixels"] = batch["pixels"].float() / 255
        place = items[0]["place"]
        if place is None:
            return batch
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + place)
        side = [side for first, side in self.sides if first <= place][-1]
        strength = self.strength * min(1.0, place / max(self.ramp, 1))
        batch["pixels"], geometry = vary(batch["pixels"], strength, generator, side)
        batch["actions"], batch["angles"] = mirrored(batch["actions"], batch["angles"], geometry.turn, geometry.flip)
        if torch.rand(1, generator=generator) < self.mixed:
            kept = 0.6 + 0.4 * torch.rand(1, generator=generator)
            for name in ("pixels", "targets"):
                batch[name] = kept * batch[name] + (1 - kept) * batch[name].flip(0)
        return batch
