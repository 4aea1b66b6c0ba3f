"""Show the faces of a grid to a model and store what it reads; read stored probes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen import __version__
from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.evaluation.probe.stimuli import ProbeGrid, Stimulus, rendered, stimuli_of
from emotion_qwen.express.readers import FaceReader
from emotion_qwen.express.rigs import Rig
from emotion_qwen.express.track import EMOTIONS
from emotion_qwen.faces import CenterFaceDetector, FaceDetector
from emotion_qwen.files import write_whole

VERSION = "1.0.0"
"""Of the stored form."""
TOGETHER = 32
"""Number of faces that are rendered and read together."""
DIGITS = 4


@dataclass(frozen=True)
class FaceAnswer:
    """A model's reading of one stimulus.

    Attributes:
        stimulus: the face.
        shares: share of each of the seven emotions; None without an answer.
        detected: whether the face detector of the package finds a face in the picture.
    """

    stimulus: Stimulus
    shares: dict[str, float] | None
    detected: bool

    @property
    def label(self) -> str | None:
        """The emotion with the largest share; None without an answer."""
        return None if self.shares is None else max(self.shares, key=lambda name: self.shares[name])  # type: ignore[index]


@dataclass(frozen=True)
class Probe:
    """The answers of one model to all stimuli of a grid.

    Attributes:
        model: its name.
        rig: the face.
        grid: the stimuli.
        answers: in the order of `stimuli_of`.
    """

    model: str
    rig: str
    grid: ProbeGrid
    answers: tuple[FaceAnswer, ...]


def run_probe(
    grid: ProbeGrid,
    rig: Rig,
    reader: FaceReader,
    detector: FaceDetector | None = None,
    watch: Callable[[int], object] | None = None,
) -> Probe:
    """Render all stimuli and read them.

    Args:
        grid: the stimuli.
        rig: the face; its own box of the face is given to the model.
        reader: the model.
        detector: counts in how many pictures the face is found; CenterFace by default.
        watch: called with the number of stimuli that are done.
    """
    find, answers, stimuli = detector or CenterFaceDetector(), [], stimuli_of(grid)
    while group := list(islice(stimuli, TOGETHER)):
        pictures, boxes = zip(*(rendered(stimulus, rig) for stimulus in group), strict=True)
        readings = reader(pictures, np.stack(boxes))
        for stimulus, picture, shares in zip(group, pictures, readings, strict=True):
            kept = None if shares is None else {name: round(shares[name], DIGITS) for name in EMOTIONS}
            answers.append(FaceAnswer(stimulus, kept, len(find(picture).scores) > 0))
        if watch is not None:
            watch(len(answers))
    return Probe(reader.name, rig.name, grid, tuple(answers))


def write_probe(probe: Probe, summary: dict[str, Any], path: Path) -> None:
    """Write a probe with its measures as JSON.

    Raises:
        StorageError: the file cannot be written.
    """
    stored = {
        "version": VERSION,
        "synthetic": True,
        "generator": f"emotion-qwen {__version__}",
        "model": probe.model,
        "rig": probe.rig,
        "grid": probe.grid.model_dump(),
        "summary": summary,
        "answers": [
            {**asdict(answer.stimulus), "label": answer.label, "shares": answer.shares, "detected": answer.detected}
            for answer in probe.answers
        ],
    }
    write_whole(path, json.dumps(stored, indent=1) + "\n")


def read_probe(path: Path) -> Probe:
    """Read a stored probe.

    Raises:
        DataError: the file cannot be read, or is no probe.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        grid = ProbeGrid.of(stored["grid"], path.name)
        answers = tuple(
            FaceAnswer(
                Stimulus(entry["emotion"], float(entry["intensity"]), entry["identity"], entry["condition"]),
                entry["shares"],
                bool(entry["detected"]),
            )
            for entry in stored["answers"]
        )
        if [answer.stimulus for answer in answers] != list(stimuli_of(grid)):
            raise ValueError("its answers are not those to its grid")
        return Probe(str(stored["model"]), str(stored["rig"]), grid, answers)
    except (OSError, ValueError, KeyError, TypeError, SettingsError) as error:
        raise DataError(f"{str(path)!r} is no stored probe ({error!r}); write one with `probe --output`") from error
