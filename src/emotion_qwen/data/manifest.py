"""Read and write manifests: training samples as JSON Lines, one object per line, with media as paths.

A line is `{"id", "messages": [{"role", "content"}], "labels", "split", "source", "license"}`; only `id` and `messages`
are required. A content is a text or a list of parts: `{"type": "text", "text": ...}`, `{"type": "image", "image":
path}`, `{"type": "video", "video": path}`; paths are relative to the manifest's folder. The rules are in `rules.py`.
Reading never changes the manifest: bad lines are listed in `rejected.jsonl` with their reason, and more than the
allowed number is an error.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from emotion_qwen.data.faults import REJECTED, Check, Fault, refuse, write_lines
from emotion_qwen.data.rules import (
    MEDIA,
    SPLITS,
    MediaCheck,
    check_sample,
    fingerprint,
    located,
    sample_of,
)
from emotion_qwen.errors import DataError, printable, unknown_choice
from emotion_qwen.records import Sample

__all__ = ["Acceptance", "Check", "Fault", "check_manifest", "read_manifest", "write_manifest"]


class Acceptance:
    """The rules across samples: unique ids, unique contents, readable media.

    Args:
        decode: decode media; otherwise only check that the files exist.
        split: check only the media of this split; None checks all.
    """

    def __init__(self, decode: bool, split: str | None = None) -> None:
        self._media, self._split = MediaCheck(decode), split
        self._ids: dict[str, int] = {}
        self._contents: dict[str, tuple[str, int]] = {}

    def __call__(self, sample: Sample, line: int) -> None:
        """Check a sample with absolute media paths.

        Raises:
            DataError: it breaks a rule, on its own or together with an earlier sample.
        """
        check_sample(sample)
        if sample.id in self._ids:
            raise DataError(f"id {sample.id!r} came already in line {self._ids[sample.id]}; give each sample its own")
        content = fingerprint(sample)
        if content in self._contents:
            twin, where = self._contents[content]
            raise DataError(f"same media and messages as {twin!r} in line {where}; expected once, remove one of them")
        if self._split in (None, sample.split):
            self._media(sample)
        self._ids[sample.id] = line
        self._contents[content] = sample.id, line


def read_manifest(
    path: str | Path,
    *,
    media_root: str | Path | None = None,
    split: str | None = None,
    max_rejected: int = 0,
    rejected: str | Path | None = None,
    decode: bool = False,
) -> list[Sample]:
    """Read the samples of a manifest, with absolute media paths.

    Args:
        path: the manifest.
        media_root: folder from which relative media paths start; None uses that of the manifest.
        split: return only samples of this split, and check only their media; None returns all.
        max_rejected: number of bad samples that are allowed.
        rejected: file for invalid samples; None uses `rejected.jsonl` next to the manifest. Written only if there are
        any.
        decode: also decode all media.

    Raises:
        DataError: the file is missing, more samples are bad than allowed, or no sample is left.
    """
    check = check_manifest(path, media_root=media_root, split=split, decode=decode)
    if check.faults:
        refuse(check, Path(rejected or Path(path).parent / REJECTED), max_rejected)
    chosen = [sample for sample in check.samples if split in (None, sample.split)]
    if not chosen:
        there = f"; it has {', '.join(check.counts['split'])}" if check.samples else ""
        raise DataError(f"{str(path)!r}: no sample{f' of split {split!r}' if split else ''}{there}; give another file")
    return chosen


def write_manifest(samples: Iterable[Sample], path: str | Path) -> Path:
    """Write samples as a manifest, completely or not at all.

    Media paths are written relative to the manifest, so that the folder can be moved; those on another root are written
    as absolute paths.

    Args:
        samples: with media as paths; relative ones start from the working directory.
        path: the manifest; its folder is created.

    Raises:
        DataError: a sample breaks a rule of form, or contains decoded media.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_lines(path, (_line(sample, path.parent) for sample in samples))
    return path


def check_manifest(
    path: str | Path,
    *,
    media_root: str | Path | None = None,
    split: str | None = None,
    decode: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Check:
    """Check every line of a manifest and collect the faults; nothing is written.

    Args:
        path: the manifest.
        media_root: folder from which relative media paths start; None uses that of the manifest.
        split: check only the media of this split; the other rules apply to all samples.
        decode: decode pictures fully and a few frames of every video.
        progress: called with (bytes read, total bytes) after every line.

    Raises:
        DataError: the file is missing or the split unknown.
    """
    path = Path(path)
    if split is not None and split not in SPLITS:
        raise DataError(unknown_choice("split", split, SPLITS))
    if not path.is_file():
        raise DataError(f"manifest {str(path)!r} does not exist; give a file with one JSON object per line")
    root = Path(media_root) if media_root is not None else path.parent
    accept = Acceptance(decode, split)
    results: list[Sample | Fault] = []
    total, done = path.stat().st_size, 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            done += len(raw)
            if raw.strip():
                results.append(_outcome(raw, number, str(path), root, accept))
            if progress:
                progress(done, total)
    return Check.of(results)


def _outcome(raw: bytes, number: int, file: str, root: Path, accept: Acceptance) -> Sample | Fault:
    name = ""
    try:
        record = _json(raw, number)
        if isinstance(record, dict):
            name = record["id"] if isinstance(record.get("id"), str) else ""
        sample = located(sample_of(record), root)
        accept(sample, number)
    except DataError as error:
        text = raw.decode("utf-8", "backslashreplace").rstrip("\r\n")
        return Fault(number, printable(name), printable(str(error)), text, file)
    return sample


def _json(raw: bytes, number: int) -> object:
    try:
        # Some editors write a byte order mark.
        return json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON ({error}); expected one JSON object in UTF-8 per line") from error


def _line(sample: Sample, folder: Path) -> str:
    messages = []
    for number, message in enumerate(sample.messages):
        content = message["content"]
        if not isinstance(content, str):
            place = f"sample {sample.id!r}, messages[{number}]"
            content = [_written(part, folder, place) for part in content]
        messages.append({"role": message["role"], "content": content})
    record = {
        "id": sample.id,
        "messages": messages,
        "labels": sample.labels,
        "split": sample.split,
        "source": sample.source,
        "license": sample.license,
    }
    try:
        sample_of(record)  # ensures that the manifest can be read
    except DataError as error:
        raise DataError(f"sample {sample.id!r}: {error}") from error
    return json.dumps(record, ensure_ascii=False)


def _written(part: dict, folder: Path, place: str) -> dict:
    kind = part["type"]
    if kind not in MEDIA:
        return part
    if not isinstance(part.get(kind), str | Path):
        raise DataError(
            f"{place}: {kind} is a {type(part.get(kind)).__name__}; a manifest holds paths, save it to a file first"
        )
    medium, start = Path(os.path.abspath(part[kind])), Path(os.path.abspath(folder))
    # A relative path that goes up to the root would be less clear than the absolute path.
    near = medium.parts[:2] == start.parts[:2]
    return {**part, kind: Path(os.path.relpath(medium, start)).as_posix() if near else str(medium)}
