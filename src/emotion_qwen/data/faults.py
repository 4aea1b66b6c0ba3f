"""Unusable samples: their reasons, how many are allowed, and the file in which they are listed."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from emotion_qwen.data.rules import MEDIA, media_of
from emotion_qwen.errors import DataError, StorageError
from emotion_qwen.files import staged
from emotion_qwen.records import Sample

REJECTED = "rejected.jsonl"


@dataclass(frozen=True)
class Fault:
    """A sample that cannot be used, and why.

    Attributes:
        line: line of the manifest, or number of the record in another format, from 1.
        id: of the sample, if it could be read.
        reason: what was found, what was expected, what to do.
        raw: the original line.
        file: the file.
    """

    line: int
    id: str
    reason: str
    raw: str = ""
    file: str = ""

    @property
    def place(self) -> str:
        """File and line in the form that editors and terminals recognise."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Check:
    """The content of a manifest or another source.

    Attributes:
        samples: the good samples, with absolute media paths.
        faults: the bad samples, in order.
        counts: number of good samples by "medium", "label", "split" and "license", the most frequent first.
    """

    samples: tuple[Sample, ...]
    faults: tuple[Fault, ...]
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, results: Iterable[Sample | Fault]) -> Check:
        """Split results into samples and faults, and count the samples."""
        results = tuple(results)
        samples = tuple(result for result in results if isinstance(result, Sample))
        return cls(samples, tuple(result for result in results if isinstance(result, Fault)), count(samples))


def refuse(check: Check, rejected: Path, max_rejected: int) -> None:
    """Write the faults of a check to a file, and stop if there are too many.

    Several sources may share the file: only the entries of this check's sources are replaced.

    Raises:
        DataError: there are more faults than allowed; the message contains the first.
    """
    list_faults(check.faults, rejected, {fault.file for fault in check.faults})
    if len(check.faults) > max_rejected:
        raise DataError(too_many(check, rejected, max_rejected))


def too_many(check: Check, rejected: Path, max_rejected: int) -> str:
    """Return a message with the number of bad samples, the first of them, and the file that lists all."""
    first, count = check.faults[0], len(check.faults)
    reason = first.reason.removesuffix(".")
    return (
        f"{count} of {count + len(check.samples)} samples cannot be used, {max_rejected} allowed; the first: "
        f"{first.place} ({first.id or 'without id'}): {reason}; all are listed in {str(rejected)!r}, correct or remove "
        "them, or allow more (max_rejected, --max-rejected)"
    )


def list_faults(faults: Iterable[Fault], rejected: Path, files: set[str]) -> None:
    """Replace the entries of `files` in the file of rejected samples; if it becomes empty, it is deleted.

    Raises:
        DataError: the file cannot be written.
    """
    try:
        ours = {os.path.abspath(file) for file in files}  # the same file under different names
        kept = [line for line in _lines(rejected) if _file_of(line) not in ours]
        new = [
            {
                "file": os.path.abspath(fault.file),
                "line": fault.line,
                "id": fault.id,
                "reason": fault.reason,
                "raw": fault.raw,
            }
            for fault in faults
        ]
        lines = [*kept, *(json.dumps(entry, ensure_ascii=False) for entry in new)]
        if lines:
            write_lines(rejected, lines)
        else:
            rejected.unlink(missing_ok=True)
    except (OSError, StorageError) as error:
        raise DataError(
            f"the list of rejected samples cannot be written to {str(rejected)!r} ({error}); name another file "
            "(rejected, --rejected)"
        ) from error


def count(samples: Iterable[Sample]) -> dict[str, dict[str, int]]:
    """Count samples by medium, label, split and license, the most frequent first."""
    tallies: dict[str, Counter[str]] = {kind: Counter() for kind in ("medium", "label", "split", "license")}
    for sample in samples:
        kinds = {kind for _, kind, _ in media_of(sample)}
        tallies["medium"][" and ".join(kind for kind in MEDIA if kind in kinds) or "text"] += 1
        tallies["label"][sample.labels.get("emotion", "none")] += 1
        tallies["split"][sample.split] += 1
        tallies["license"][sample.license or "not stated"] += 1
    return {kind: dict(tally.most_common()) for kind, tally in tallies.items()}


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines of UTF-8 text to a file, completely or not at all."""
    with staged(path) as draft, draft.open("w", encoding="utf-8", newline="\n", errors="backslashreplace") as file:
        file.writelines(f"{line}\n" for line in lines)


def _lines(path: Path) -> Iterator[str]:
    if path.is_file():
        with path.open(encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            yield from (line.rstrip("\n") for line in file if line.strip())


def _file_of(line: str) -> str | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None  # not one of our entries; keep it
    return entry.get("file") if isinstance(entry, dict) else None
