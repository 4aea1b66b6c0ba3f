"""Measured facial actions with labels, for training and measuring generators of expressions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from emotion_qwen.errors import DataError
from emotion_qwen.express.generator.configuration import NOT_MEASURED
from emotion_qwen.express.track import CHANNELS, EMOTIONS, PLACE, STRONGEST
from emotion_qwen.faces.face_claims import other_side
from recipes.mini.eyes_data import person_of

NEUTRAL = EMOTIONS.index("neutral")
TAUGHT = np.array([name not in NOT_MEASURED for name in CHANNELS])
"""(52,) the channels that the landmarker measures."""
MIRROR = np.array([PLACE[other_side(name)] for name in CHANNELS])
"""Index of each channel's counterpart on the other side of the face; its own if it has none."""
SHRINKAGE = 0.1
"""Share of a diagonal covariance in that of the axes of intensity."""


@dataclass(frozen=True, eq=False)
class MeasuredFaces:
    """N faces whose actions a landmarker measured.

    Attributes:
        ids: (N,) of the pictures.
        sources: (N,) "fer" or "lfw".
        labels: (N,) places in `EMOTIONS`.
        frames: (N, 52) actions in the order of `CHANNELS`, 0 to 1; 0 where the landmarker has no such action.
    """

    ids: np.ndarray
    sources: np.ndarray
    labels: np.ndarray
    frames: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, chosen: np.ndarray) -> MeasuredFaces:
        """Return the faces of some rows, given as indices or as a mask."""
        return MeasuredFaces(self.ids[chosen], self.sources[chosen], self.labels[chosen], self.frames[chosen])


def read_measured(folder: Path, split: str) -> MeasuredFaces:
    """Read one split of the faces that `recipes.express.extract` measured.

    Training leaves out every person of LFW who occurs in validation; the split of FER2013 is the published one. Faces
    without a detection, and those of another label than the seven, are left out.

    Raises:
        DataError: the folder contains no face of the split.
    """
    rows, known = [], set()
    for path in sorted(folder.glob("part-*.parquet")):
        table = pq.read_table(path)
        names = table.schema.metadata[b"shapes"].decode().split(",")
        columns = {name: names.index(name) for name in CHANNELS if name in names}
        for row in table.to_pylist():
            if row["source"] == "lfw" and row["split"] == "validation":
                known.add(person_of(row["id"]))
            if row["split"] == split and row["detected"] and row["label"] in EMOTIONS:
                frame = [row["shapes"][columns[name]] if name in columns else 0.0 for name in CHANNELS]
                rows.append((row["id"], row["source"], EMOTIONS.index(row["label"]), frame))
    if split == "train":
        rows = [row for row in rows if row[1] != "lfw" or person_of(row[0]) not in known]
    if not rows:
        raise DataError(f"{str(folder)!r} holds no measured face of the split {split!r}; run recipes.express.extract")
    ids, sources, labels, frames = zip(*rows, strict=True)
    return MeasuredFaces(np.array(ids), np.array(sources), np.array(labels), np.array(frames).clip(0, 1))


def with_mirrored(faces: MeasuredFaces) -> MeasuredFaces:
    """Return the faces and their mirror images."""
    both = faces.rows(np.tile(np.arange(len(faces)), 2))
    return replace(both, frames=np.concatenate([faces.frames, faces.frames[:, MIRROR]]))


@dataclass(frozen=True, eq=False)
class IntensityAxes:
    """The intensity of an expression: its place on the line from neutral faces to those of its emotion.

    No intensity is labelled, so it is defined: 0 is the mean of neutral faces and 1 the mean of the emotion, along the
    direction that separates the two best (Fisher's discriminant).

    Attributes:
        neutral: (52,) mean of neutral faces.
        directions: (7, 52); that of neutral is 0.
    """

    neutral: np.ndarray
    directions: np.ndarray

    def __call__(self, frames: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the intensity (N,) of actions (N, 52) for their labels (N,), clipped to 0..1.5; 0 for neutral."""
        return ((frames - self.neutral) * self.directions[labels]).sum(axis=1).clip(0, STRONGEST)


def fit_axes(faces: MeasuredFaces) -> IntensityAxes:
    """Fit the axes of intensity; every emotion must occur."""
    means = np.stack([faces.frames[faces.labels == place].mean(axis=0) for place in range(len(EMOTIONS))])
    rest = (faces.frames - means[faces.labels])[:, TAUGHT]
    covariance = rest.T @ rest / len(rest)
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.diag(np.diag(covariance))
    directions = np.zeros((len(EMOTIONS), len(CHANNELS)))
    for place in range(len(EMOTIONS)):
        gap = means[place] - means[NEUTRAL]
        if place != NEUTRAL:
            axis = np.linalg.solve(covariance, gap[TAUGHT])
            directions[place, TAUGHT] = axis / (axis @ gap[TAUGHT])
    return IntensityAxes(means[NEUTRAL], directions)
