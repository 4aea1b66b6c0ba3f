"""Labelled examples: the clips of an index that are most similar to a clip, and the evidence of their labels.

An index stores, per labelled clip, its label, its source and one vector: the state in which the model answers what
people show (`ClipFeatures.pooled`), which covers picture, sound and words. It stores no pictures, sound or
features for recognising people.

The shares of the nearest examples, p_examples = (n + 1 / L) / (K + 1) for n of K examples with one of L labels, are
combined with those of the model: log p = log p_model + weight * log p_examples (a logarithmic opinion pool). K and the
weight maximise the likelihood of the labels of validation clips; a weight of 0 leaves the answer to the model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import cdist

from emotion_qwen.engine.calibration import combine
from emotion_qwen.errors import DataError, SettingsError, printable
from emotion_qwen.files import differing, write_whole
from emotion_qwen.records import LabelledExample

if TYPE_CHECKING:
    from emotion_qwen.taxonomy import LabelSet

FILE = "examples.safetensors"
FORMAT, VERSION = "emotion-qwen examples", "1"
COUNTS = (4, 8, 16, 32, 64)
"""Numbers of neighbours that are tried on the validation clips."""
HEAVIEST = 3.0
"""Largest weight of the examples."""
SHOWN = 5
"""Number of examples that a report lists."""
_SMALLEST = 1e-9


@dataclass(frozen=True)
class ExampleFit:
    """The benefit of the labels of examples, fitted on validation clips that are not examples.

    Attributes:
        neighbours: number K of examples that are compared.
        weight: of their shares relative to those of the model; 0 if they do not help.
        clips: number of validation clips.
        accuracy: share of them that the model alone answers correctly, 0 to 1.
        accuracy_with: the same with the examples, on the clips of the fit itself.
    """

    neighbours: int
    weight: float
    clips: int
    accuracy: float
    accuracy_with: float


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The examples nearest to a clip.

    Attributes:
        opinion: (L,) factors of the shares of the labels: p_examples to the power of the weight.
        examples: the nearest, at most `SHOWN`, the nearest first.
        weight: of the examples; 0 if they do not help, so that the answer is the model's own.
    """

    opinion: np.ndarray
    examples: tuple[LabelledExample, ...]
    weight: float


@dataclass(frozen=True, eq=False)
class ExampleIndex:
    """Labelled clips as vectors.

    Attributes:
        vectors: (N, H) float32.
        columns: (N,) index of each clip's label in `labels`.
        labels: the L labels.
        sources: N paths, as given.
        made: what determined the vectors: model, question and settings, from `Analyzer.made_by`.
        fit: of validation clips.
    """

    vectors: np.ndarray
    columns: np.ndarray
    labels: tuple[str, ...]
    sources: tuple[str, ...]
    made: Mapping[str, Any]
    fit: ExampleFit

    @classmethod
    def read(cls, folder: Path) -> ExampleIndex:
        """Read the index of a folder.

        Raises:
            DataError: it has none, or one of another version.
        """
        from safetensors import SafetensorError, safe_open

        path = folder / FILE
        if not path.is_file():
            raise DataError(f"{str(path)!r} does not exist; give a folder that `emotion-qwen index` wrote")
        try:
            with safe_open(str(path), "numpy") as file:
                facts = file.metadata() or {}
                vectors, columns = file.get_tensor("vectors"), file.get_tensor("columns")
            if (facts.get("format"), facts.get("version")) != (FORMAT, VERSION):
                raise ValueError(f"{facts.get('format')!r} of version {facts.get('version')!r}")
            labels, sources, made, fit = (json.loads(facts[name]) for name in ("labels", "sources", "made", "fit"))
            if len(vectors) != len(columns) or len(sources) != len(columns) or not np.isfinite(vectors).all():
                raise ValueError(f"{len(vectors)} vectors, {len(columns)} labels, {len(sources)} sources")
            if not (len(columns) and columns.min() >= 0 and columns.max() < len(labels)):
                raise ValueError(f"labels that are not among the {len(labels)}")
            return cls(vectors, columns.astype(np.int64), tuple(labels), tuple(sources), made, ExampleFit(**fit))
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{str(path)!r} is no index of this version ({type(error).__name__}: {error}); make one with "
                "`emotion-qwen index`"
            ) from error

    def write(self, folder: Path) -> Path:
        """Write the index into a folder and return its file.

        Raises:
            StorageError: it cannot be written.
        """
        from safetensors.numpy import save

        facts = {"labels": self.labels, "sources": self.sources, "made": self.made, "fit": asdict(self.fit)}
        metadata = {name: printable(json.dumps(value, ensure_ascii=False)) for name, value in facts.items()}
        arrays = {"vectors": self.vectors.astype(np.float32), "columns": self.columns.astype(np.int32)}
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / FILE, save(arrays, metadata={"format": FORMAT, "version": VERSION, **metadata}))
        return folder / FILE

    @cached_property
    def digest(self) -> str:
        """Identifies the index: a hash of vectors, labels and fit."""
        content = hashlib.sha256(np.ascontiguousarray(self.vectors, np.float32).tobytes())
        content.update(np.ascontiguousarray(self.columns, np.int32).tobytes())
        content.update(json.dumps([self.labels, asdict(self.fit)]).encode())
        return content.hexdigest()[:16]

    @property
    def summary(self) -> dict[str, Any]:
        """The provenance of a report: hash, number of examples, and the neighbours and weight that count."""
        fit = self.fit
        return {
            "index": self.digest, "examples": len(self.columns), "neighbours": fit.neighbours, "weight": fit.weight,
        }  # fmt: skip

    def check(self, labels: LabelSet, made: Mapping[str, Any]) -> None:
        """Check that the vectors can be compared with those of another run.

        Raises:
            SettingsError: other labels, another model, or another question.
        """
        if labels.labels != self.labels:
            raise SettingsError(
                f"the examples have the labels {','.join(self.labels)}, asked for are {','.join(labels.labels)}; give "
                "--labels with those of the examples, or index the clips again"
            )
        if other := differing(json.loads(json.dumps(made)), dict(self.made)):
            raise SettingsError(f"the examples were made otherwise ({other}); index the clips again with this model")

    def nearest(self, vector: np.ndarray) -> Neighbours:
        """Return the examples that are nearest to a clip, given its (H,) vector."""
        distances = spaced(self.vectors, vector[None])[0]
        order = np.argsort(distances, kind="stable")[: self.fit.neighbours]
        opinion = neighbour_shares(self.columns[order][None], len(self.labels))[0] ** self.fit.weight
        examples = tuple(
            LabelledExample(self.sources[row], self.labels[self.columns[row]], float(distances[row]))
            for row in order[:SHOWN]
        )
        return Neighbours(opinion, examples, self.fit.weight)


def spaced(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return (M, N) distances of M vectors from N examples.

    Every dimension is divided by its standard deviation over the examples, so that two unrelated clips are about 1.4
    apart: the root of the mean squared difference.

    Args:
        vectors: (N, H) of the examples.
        queries: (M, H).
    """
    scale = np.maximum(vectors.std(axis=0), 1e-6) * np.sqrt(vectors.shape[1])
    return cdist(queries / scale, vectors / scale)


def neighbour_shares(columns: np.ndarray, count: int) -> np.ndarray:
    """Return (M, L) shares of `count` labels L among (M, K) labels of neighbours; none is 0, see above."""
    counted = np.eye(count)[columns].sum(axis=1)
    return (counted + 1 / count) / (columns.shape[1] + 1)


def check_numbers(examples: int, validation: int) -> None:
    """Refuse too few clips.

    Raises:
        DataError: fewer examples than the smallest number of neighbours, or no validation clip.
    """
    if examples < COUNTS[0] or not validation:
        raise DataError(
            f"{examples} examples and {validation} validation clips; expected {COUNTS[0]} and 1 or more, add labelled "
            "clips"
        )


def fit_examples(
    vectors: np.ndarray, columns: np.ndarray, queries: np.ndarray, shares: np.ndarray, right: np.ndarray
) -> ExampleFit:
    """Find the number of neighbours and the weight that maximise the likelihood of the labels of validation clips.

    Args:
        vectors: (N, H) of the examples.
        columns: (N,) of their labels.
        queries: (M, H) of the validation clips.
        shares: (M, L) of the model alone.
        right: (M,) columns of their labels.

    Raises:
        DataError: fewer examples than the smallest number of neighbours, or no validation clip.
    """
    check_numbers(len(vectors), len(queries))
    counts = [count for count in COUNTS if count <= len(vectors)]
    order = np.argsort(spaced(vectors, queries), axis=1, kind="stable")
    opinions = {count: neighbour_shares(columns[order[:, :count]], shares.shape[1]) for count in counts}
    fits = {count: fit_weight(shares, opinions[count], right) for count in counts}
    count = min(counts, key=lambda count: fits[count][1])
    weight = round(fits[count][0], 4)
    together = combine((shares, opinions[count] ** weight))
    accuracies = [float((each.argmax(axis=1) == right).mean()) for each in (shares, together)]
    return ExampleFit(count, weight, len(queries), round(accuracies[0], 4), round(accuracies[1], 4))


def fit_weight(shares: np.ndarray, opinions: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Find the weight of other shares that maximises the likelihood of the right labels.

    Args:
        shares: (M, L) of the model.
        opinions: (M, L) of another source.
        right: (M,) columns of the right labels.

    Returns:
        The weight, 0 if the opinions do not help, and the mean of the negative log likelihoods with it.
    """

    def surprise(weight: float) -> float:
        together = combine((shares, opinions**weight))
        return -float(np.log(np.maximum(together[np.arange(len(right)), right], _SMALLEST)).mean())

    best = minimize_scalar(surprise, bounds=(0.0, HEAVIEST), method="bounded")
    alone = surprise(0.0)
    return (float(best.x), float(best.fun)) if best.fun < alone else (0.0, alone)
