"""Options of all importers, and helpers that turn records into samples or faults."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from emotion_qwen.data.faults import Fault
from emotion_qwen.data.rules import check_sample
from emotion_qwen.errors import DataError, printable
from emotion_qwen.records import Sample

Found: TypeAlias = Sample | Fault


def _checked(sample: Sample, line: int) -> Sample:
    check_sample(sample)
    return sample


@dataclass(frozen=True)
class ImportOptions:
    """How a source is converted to samples.

    Attributes:
        store: folder for media that are stored as bytes in the source.
        media: folder from which relative media paths start; None uses that of the source.
        split: of all samples; None uses that of the source, else "train".
        source: name of the source; if empty, its file or folder name.
        license: of the samples.
        labels: label set of the question for sources with labels only.
        language: "en" or "zh", for that question and its answer.
        accept: checks a sample from a given line against the rules, and returns it.
    """

    store: Path
    media: Path | None = None
    split: str | None = None
    source: str = ""
    license: str = ""
    labels: str = "fer7"
    language: str = "en"
    accept: Callable[[Sample, int], Sample] = _checked

    def path(self, value: str, source: Path) -> str:
        """Return the absolute path of a medium named in a source."""
        root = self.media or (source if source.is_dir() else source.parent)
        return os.path.abspath(root / value)

    def sample(self, identity: str, messages: tuple[dict[str, Any], ...], source: Path, **known: Any) -> Sample:
        """Build a sample; `known` contains labels, and the split if the source states it."""
        split = known.get("split") or "train"
        name = self.source or (source.name if source.is_dir() else source.stem)
        return Sample(identity, messages, known.get("labels", {}), self.split or split, name, self.license)

    def attempt(self, make: Callable[[], Sample], line: int, identity: str, record: object, file: Path) -> Found:
        """Convert one record to a sample, or to a fault if it breaks a rule."""
        try:
            return self.accept(make(), line)
        except DataError as error:
            return Fault(line, printable(identity), printable(str(error)), raw_text(record), str(file))


def raw_text(record: object) -> str:
    """Return a record as one line of text; bytes are replaced by their length."""
    return record if isinstance(record, str) else json.dumps(record, ensure_ascii=False, default=_shown)


def _shown(value: object) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)
