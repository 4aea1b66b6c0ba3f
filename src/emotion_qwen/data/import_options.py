"""What every importer is told, and what it gives: samples, or faults with their place."""

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
    """How a source becomes samples.

    Attributes:
        store: folder for media that come as bytes.
        media: folder that relative media paths start from; the source's own if None.
        split: of all samples; None takes what the source says, else "train".
        source: name of the source; its file or folder name if empty.
        license: the terms the samples stand under.
        labels: label set of the question that is asked where the source holds only labels.
        language: "en" or "zh", of that question and its answer.
        accept: holds a sample, found in the given line, to the rules, and returns it.
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
        """Return the absolute path of a medium that a source names."""
        root = self.media or (source if source.is_dir() else source.parent)
        return os.path.abspath(root / value)

    def sample(self, identity: str, messages: tuple[dict[str, Any], ...], source: Path, **known: Any) -> Sample:
        """Build a sample; `known` holds labels, and the split that the source itself tells."""
        split = known.get("split") or "train"
        name = self.source or (source.name if source.is_dir() else source.stem)
        return Sample(identity, messages, known.get("labels", {}), self.split or split, name, self.license)

    def attempt(self, make: Callable[[], Sample], line: int, identity: str, record: object, file: Path) -> Found:
        """Make a sample of one record, or a fault out of the rule that it breaks."""
        try:
            return self.accept(make(), line)
        except DataError as error:
            return Fault(line, printable(identity), printable(str(error)), raw_text(record), str(file))


def raw_text(record: object) -> str:
    """Write a record as one line; bytes are only counted."""
    return record if isinstance(record, str) else json.dumps(record, ensure_ascii=False, default=_shown)


def _shown(value: object) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)
