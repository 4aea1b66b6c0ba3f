"""Read emotions in pictures of one face each, with our models or any Python callable."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.reading import ClipReading
from emotion_qwen.analysis.report import Conclusion
from emotion_qwen.analysis.request import Request
from emotion_qwen.console import quiet
from emotion_qwen.errors import SettingsError, ShapeError
from emotion_qwen.express.prototypes import seven_shares
from emotion_qwen.extensions import load_file, split_file
from emotion_qwen.faces.detect import Detections, ScriptedDetector
from emotion_qwen.media.in_memory import picture_clip
from emotion_qwen.prepare import prepare_clip

BATCH = 32
"""Number of pictures that are read together."""
LABELS = "dfew7"
"""Label set that our models are asked for: the seven emotions."""
Shares = dict[str, float]


class FaceReader(Protocol):
    """Reads emotions in pictures of faces.

    Attributes:
        name: of the model.
    """

    name: str

    def __call__(self, pictures: Sequence[np.ndarray], boxes: np.ndarray) -> list[Shares | None]:
        """Return per picture the share of each of `EMOTIONS`, or None where the model gives no answer.

        Args:
            pictures: N pictures (H, W, 3) uint8 RGB.
            boxes: (N, 4) x1, y1, x2, y2 of the face in pixels; a model that detects faces itself ignores them.
        """
        ...


class AnalyzerReader:
    """Reads with one of our models, along the path of `analyze` for a picture; the face box replaces its detector.

    Args:
        analyzer: the model.
    """

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer, self.name = analyzer, analyzer.engine.name
        self._request = Request(LABELS)
        self._reader = analyzer.reader(self._request)

    def __call__(self, pictures: Sequence[np.ndarray], boxes: np.ndarray) -> list[Shares | None]:
        """See `FaceReader`."""
        shares: list[Shares | None] = []
        for start in range(0, len(pictures), BATCH):
            readings = []
            for picture, box in zip(pictures[start : start + BATCH], boxes[start : start + BATCH], strict=True):
                detections = Detections(np.asarray(box, np.float32)[None], np.ones(1, np.float32))
                prepared = prepare_clip(picture_clip(picture), ScriptedDetector([detections]), self._analyzer.budget)
                readings.append(ClipReading(self._reader, prepared, self._request))
            for conclusion in self._analyzer.conclude(self._reader, readings):
                is_answer = isinstance(conclusion, Conclusion) and bool(conclusion.distribution)
                shares.append(seven_shares(conclusion.distribution) if is_answer else None)  # type: ignore[union-attr]
        return shares


class CallableReader:
    """Reads with a function of the user, which takes a picture and returns shares, or a list of both.

    Args:
        function: takes (H, W, 3) uint8 RGB and returns a mapping of emotion words to shares, or a word, or None.
        name: of the function.
    """

    def __init__(self, function: Callable[[np.ndarray], object], name: str) -> None:
        self._function, self.name = function, name

    def __call__(self, pictures: Sequence[np.ndarray], boxes: np.ndarray) -> list[Shares | None]:
        """See `FaceReader`; the function gets each picture cut to its face box with a margin of a fifth.

        Raises:
            ShapeError: the function returns something else.
        """
        return [self._read(cut(picture, box)) for picture, box in zip(pictures, boxes, strict=True)]

    def _read(self, picture: np.ndarray) -> Shares | None:
        answer = self._function(picture)
        if answer is None:
            return None
        if isinstance(answer, str):
            answer = {answer: 1.0}
        if not isinstance(answer, Mapping):
            raise ShapeError(
                f"{self.name} returned {type(answer).__name__}; expected emotion -> share, a word, or None"
            )
        return seven_shares(answer)


def reader_of(model: str | None, device: str = "auto") -> FaceReader:
    """Return the reader that a text names.

    Args:
        model: a model as for `analyze`; or a function as `module:function` or `file.py:function`.
        device: of our models.

    Raises:
        CheckpointError: there is no such model.
        SettingsError: there is no such function.
    """
    if model is not None and ":" in model and not Path(model).exists():
        return CallableReader(_function_of(model), model)
    quiet()
    return AnalyzerReader(Analyzer.load(model, device))


def _function_of(text: str) -> Callable[[np.ndarray], object]:
    """Return the function that `module:function` or `file.py:function` names.

    Raises:
        SettingsError: it does not exist, or is no function.
    """
    file = split_file(text)
    module_name, _, name = text.rpartition(":")
    try:
        module = load_file(Path(file[0])) if file else importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise SettingsError(f"--model {text!r}: no module {error.name!r}; expected module:function") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise SettingsError(f"--model {text!r}: {module_name} has no function {name!r}; expected module:function")
    return function


def cut(picture: np.ndarray, box: np.ndarray, margin: float = 0.2) -> np.ndarray:
    """Return the square of a picture around a face box (4,), with a margin as a share of its longer side."""
    x1, y1, x2, y2 = box
    half = max(x2 - x1, y2 - y1) * (0.5 + margin)
    left, top = round(max((x1 + x2) / 2 - half, 0)), round(max((y1 + y2) / 2 - half, 0))
    right, bottom = round((x1 + x2) / 2 + half), round((y1 + y2) / 2 + half)
    return np.ascontiguousarray(picture[top:bottom, left:right])
