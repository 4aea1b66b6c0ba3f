"""Recognise the words of a clip with their times, using the optional package faster-whisper and a local model.

Recognition runs only on request, and nothing is downloaded. Recognised words may be wrong, so reports mark them as
recognised and name the recogniser.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import math
from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.cache import WHISPER, WHISPER_FOLDER, fetched_digest, fetched_folder
from emotion_qwen.errors import CheckpointError, MediaError, MissingPackage
from emotion_qwen.media.sound import SAMPLE_RATE
from emotion_qwen.media.subtitles import Words
from emotion_qwen.records import Utterance

PACKAGE = "faster-whisper"
# Without tokenizer.json the package would download one.
FILES = ("config.json", "model.bin", "tokenizer.json")
# Whisper's own rule for segments without speech: both conditions must hold, as each alone is too often wrong.
_NO_SPEECH, _LEAST_LOG_PROBABILITY = 0.6, -1.0
_SILENT = 1e-4  # root mean square of a wave; Whisper invents words in silence


class Recognizer:
    """A loaded speech recogniser.

    Args:
        model: `faster_whisper.WhisperModel`, or any object with its `transcribe` method.
        name: name of the recogniser in reports.
    """

    def __init__(self, model: Any, name: str) -> None:
        self.model, self.name = model, name

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> Recognizer:
        """Load a Whisper model in CTranslate2's format from a folder.

        Args:
            folder: contains `FILES`, as written by `ct2-transformers-converter`; or "whisper", the fetched model.
            device: "cpu" or "cuda".

        Raises:
            MissingPackage: faster-whisper is not installed.
            CheckpointError: the folder or a file in it is missing, or the model cannot be loaded.
        """
        folder = Path(folder)
        if str(folder) == WHISPER:
            if fetched_digest(WHISPER_FOLDER) is None:
                raise CheckpointError(
                    f"the speech model {WHISPER!r} has not been fetched; run once: emotion-qwen fetch {WHISPER}"
                )
            folder = fetched_folder(WHISPER_FOLDER)
        if not folder.is_dir():
            raise CheckpointError(
                f"speech model {str(folder)!r} is not a folder; give one on this machine, nothing is downloaded here"
            )
        absent = [name for name in FILES if not (folder / name).is_file()]
        if absent:
            raise CheckpointError(
                f"{folder}: no {', '.join(absent)}; expected a Whisper model in CTranslate2's format "
                "(ct2-transformers-converter --copy_files tokenizer.json preprocessor_config.json)"
            )
        try:
            package = importlib.import_module("faster_whisper")
        except ImportError as error:
            raise MissingPackage(
                f"recognising speech needs the package {PACKAGE}; pip install 'emotion-qwen[asr]'"
            ) from error
        try:
            model = package.WhisperModel(str(folder), device=device, local_files_only=True)
        except (RuntimeError, ValueError, OSError) as error:
            raise CheckpointError(
                f"{folder}: {PACKAGE} cannot load it ({' '.join(str(error).split())}); convert the model again"
            ) from error
        return cls(model, f"{PACKAGE} {_version()} ({folder.resolve().name})")

    def words(self, wave: np.ndarray, start: float = 0.0) -> Words:
        """Recognise the words of a wave.

        Args:
            wave: (S,) float32 mono at 16 kHz.
            start: time of its first sample on the clip's clock, seconds.

        Returns:
            Utterances on the clip's clock, none in silence, with a warning that they were recognised and the mean
            probability per token.

        Raises:
            MediaError: the recogniser fails.
        """
        if not len(wave) or float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) <= _SILENT:
            return Words((), (f"the sound is silent; {self.name} had no words to recognise",), self._source(""), "")
        try:
            segments, info = self.model.transcribe(np.ascontiguousarray(wave, dtype=np.float32))
            recognised = list(segments)  # recognition runs during this iteration
        except (RuntimeError, ValueError) as error:
            raise MediaError(
                f"{self.name} failed ({' '.join(str(error).split())}); try another model or leave --transcribe out"
            ) from error
        last = len(wave) / SAMPLE_RATE
        kept = [segment for segment in recognised if _is_speech(segment, last)]
        utterances = tuple(
            Utterance(
                start + max(float(segment.start), 0.0),
                start + min(float(segment.end), last),
                " ".join(segment.text.split()),
            )
            for segment in sorted(kept, key=lambda segment: segment.start)
        )
        return Words(
            utterances, tuple(self._warnings(kept, len(recognised))), self._source(info.language), info.language
        )

    def _source(self, language: str) -> str:
        return f"recognised by {self.name}" + (f", language {language}" if language else "")

    def _warnings(self, kept: list[Any], count: int) -> list[str]:
        if not kept:
            return [f"{self.name} recognised no words"]
        sure = math.exp(sum(segment.avg_logprob for segment in kept) / len(kept))
        warnings = [f"the words were recognised by {self.name}, at {sure:.0%} per token; they may be wrong"]
        if len(kept) < count:
            warnings.append(f"{count - len(kept)} of {count} recognised segments are left out: likely no speech")
        return warnings


def _is_speech(segment: Any, last: float) -> bool:
    """Return whether a segment has words and a length, and is unlikely to be noise."""
    unlikely = segment.no_speech_prob > _NO_SPEECH and segment.avg_logprob < _LEAST_LOG_PROBABILITY
    lasts = max(segment.start, 0.0) < min(segment.end, last)
    return lasts and not unlikely and any(character.isalnum() for character in segment.text)


def _version() -> str:
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"
