"""Features of clips for training your own classifiers, and the safetensors file in which they are stored.

Features are pooled over a clip's glimpses by the rule that pools its distribution (`reading`), with all channels of the
clip, so that a classifier gets the same information as the report.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emotion_qwen.analysis.movements import crop_actions
from emotion_qwen.analysis.report import weights
from emotion_qwen.errors import DataError, printable
from emotion_qwen.files import differing, write_whole

if TYPE_CHECKING:
    from emotion_qwen.analysis.reading import ClipReading

VERSION = "1"
FORMAT = "emotion-qwen clip features"
NAMES = ("visual", "audio", "pooled", "gate", "actions")


@dataclass(frozen=True, eq=False)
class ClipFeatures:
    """Features of one clip, H being the width of the language model.

    Attributes:
        visual: (H,) float32 mean of the fused visual tokens after the compressor; NaN without a picture.
        audio: (H,) float32 mean of the audio tokens; NaN if there is no sound, None if the model has no audio input.
        pooled: (H,) float32 hidden state of the language model after its final norm, at the last token of the prompt,
            which predicts the first word of the label.
        gate: (2,) float32 fusion weights, general and emotion, as in the report; zeros without a picture.
        actions: (A,) float32 facial actions, then head angles, mean over the crops of people; NaN if nobody is seen,
            None if the model does not measure them. Their names are the model's `facial_actions`.
    """

    visual: np.ndarray
    audio: np.ndarray | None
    pooled: np.ndarray
    gate: np.ndarray
    actions: np.ndarray | None = None


def clip_features(reading: ClipReading) -> ClipFeatures:
    """Collect the features of a clip; if there is no answer, those of the clip as a whole."""
    each, whole = reading.everything()
    width = len(next(glimpse.hidden for glimpse in (*each, whole) if glimpse is not None))

    def pooled(name: str) -> np.ndarray:
        rows = np.full((len(each), width), np.nan)
        for row, answer in enumerate(each):
            value = None if answer is None else getattr(answer, name)
            if value is not None:
                rows[row] = value.numpy()
        value_of_whole = None if whole is None else getattr(whole, name)
        of_whole = None if value_of_whole is None else value_of_whole.double().numpy()
        return (reading.pool(rows, of_whole) if each else _or_nan(of_whole, width)).astype(np.float32)

    audio = pooled("audio") if reading.hears else None
    reading.shares(reading.channels)  # these also have gate weights
    gate = weights(reading.gates if whole is None or each else whole.gate.double().numpy()[None])
    return ClipFeatures(
        pooled("visual"),
        audio,
        pooled("hidden"),
        np.array([gate["general"], gate["emotion"]], np.float32),
        _actions(reading),
    )


def _actions(reading: ClipReading) -> np.ndarray | None:
    names = reading.engine.facial_actions
    if not names:
        return None
    values = np.full((len(reading.glimpses), len(names)), np.nan)
    for person in reading.prepared.people:
        rows, values_of_person = crop_actions(reading, person, reading.channels)
        values[rows] = values_of_person
    return (reading.pool(values, None) if len(values) else np.full(len(names), np.nan)).astype(np.float32)


def _or_nan(values: np.ndarray | None, width: int) -> np.ndarray:
    return np.full(width, np.nan) if values is None else values


class FeatureFile:
    """A safetensors file with features of clips, written completely or not at all.

    Args:
        path: of the file.
        made: everything that determines the features; stored in the file, and must be equal when it is continued.
        resume: continue an existing file; otherwise it will be replaced.

    Raises:
        DataError: an existing file is not a features file, or was made with other settings.
    """

    def __init__(self, path: Path, made: dict[str, Any], resume: bool) -> None:
        self.path, self.made = path, json.loads(json.dumps(made))
        self.rows: dict[str, tuple[dict[str, Any], dict[str, np.ndarray]]] = {}
        if path.exists():
            facts, tensors = _read(path)
            if resume:
                self._go_on(facts, tensors)

    def add(self, file: dict[str, Any], features: ClipFeatures) -> None:
        """Add or replace the features of a clip. `file` has the keys `source`, `bytes` and `modified`."""
        values = {name: getattr(features, name) for name in NAMES}
        self.rows[file["source"]] = file, {name: array for name, array in values.items() if array is not None}

    def holds(self, file: dict[str, Any]) -> bool:
        """Whether there are features for the current state of a file."""
        return file["source"] in self.rows and self.rows[file["source"]][0] == file

    def save(self) -> None:
        """Write all rows; the previous file remains until the new one is complete.

        Raises:
            StorageError: it cannot be written.
        """
        from safetensors.numpy import save

        if not self.rows:
            return
        columns = {
            name: np.stack([values[name] for _, values in self.rows.values()])
            for name in NAMES
            if all(name in values for _, values in self.rows.values())
        }
        facts = {"clips": [file for file, _ in self.rows.values()], "made": self.made}
        metadata = {name: printable(json.dumps(value, ensure_ascii=False)) for name, value in facts.items()}
        write_whole(self.path, save(columns, metadata={"format": FORMAT, "version": VERSION, **metadata}))

    def _go_on(self, facts: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        if other := differing(self.made, facts["made"]):
            raise DataError(
                f"{str(self.path)!r} holds features made otherwise ({other}); give another --features or remove it"
            )
        for number, file in enumerate(facts["clips"]):
            self.rows[file["source"]] = file, {name: rows[number] for name, rows in tensors.items()}


def read_features(path: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """Read a features file.

    Returns:
        The N sources; and "visual", "audio" (for models with audio input) and "pooled", each (N, H), "gate" (N, 2), and
        "actions" (N, A) (for models that measure facial actions; their names are in `action_errors`), all float32.

    Raises:
        DataError: the file is not a features file.
    """
    facts, tensors = _read(path)
    return [file["source"] for file in facts["clips"]], tensors


def action_errors(path: Path) -> dict[str, dict[str, float]]:
    """Return the names of the columns of "actions" in a features file, in order, each with its measured error.

    Returns:
        Name -> `r2` and `mean_absolute_error` (of 0 to 1, or degrees) on people unseen in training; {} where it is
        unknown. Empty if the model did not measure facial actions.

    Raises:
        DataError: the file is not a features file.
    """
    return _read(path)[0]["made"].get("facial_actions", {})


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DataError(f"{str(path)!r} cannot be read as features ({error}); give another file") from error
    if metadata.get("format") != FORMAT or metadata.get("version") != VERSION:
        raise DataError(
            f"{str(path)!r} holds {metadata.get('format')!r} of version {metadata.get('version')!r}; expected "
            f"{FORMAT!r} of version {VERSION!r}, give another file"
        )
    return {name: json.loads(metadata[name]) for name in ("clips", "made")}, tensors
