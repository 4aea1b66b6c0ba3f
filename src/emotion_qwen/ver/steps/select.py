"""Decide which clips are worth describing, and record the reason of every rejection.

The rules for single clips come first; then every clip is compared with those kept before it, in the order of the table,
and with the pictures of the named benchmarks: a repeated picture would count twice or leak a test set.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from emotion_qwen.errors import DataError, MediaError
from emotion_qwen.media.clip import find_media, read_clip
from emotion_qwen.settings import ClipSettings
from emotion_qwen.ver.settings import SelectSettings
from emotion_qwen.ver.steps.look import picture_hashes
from emotion_qwen.ver.store.columns import KEPT, NOBODY, UNKNOWN, Row, kept, rejected

NEARLY_ALL = 0.75
"""Share of a clip's hashed pictures that must have occurred before for it to be a duplicate."""
_LOOK = ClipSettings.of({"fps": 2.0, "min_frames": 2, "max_frames": 64, "working_side": 160}, "benchmarks")


def fault_of(row: Row, settings: SelectSettings) -> str:
    """Return why a measured clip is rejected by the rules for single clips, or ""."""
    if row["status"] != KEPT:
        return str(row["reason"])
    if not row["people"]:
        return "no face"
    if row["coverage"] < settings.coverage:
        return f"no face in {1 - row['coverage']:.0%} of the frames, at most {1 - settings.coverage:.0%}"
    if row["face_size"] < settings.face_size:
        return f"small face: {row['face_size']:.3f} of the frame, at least {settings.face_size:g}"
    if row["step"] > settings.unsteadiness:
        return f"unsteady face: {row['step']:.2f} of its side per step, at most {settings.unsteadiness:g}"
    if row["sharpness"] < settings.sharpness:
        return f"blurred face: sharpness {row['sharpness']:.1f}, at least {settings.sharpness:g}"
    if settings.speaking and row["speaker"] in (NOBODY, UNKNOWN):
        return "likely no visible speaker"
    return ""


class PictureIndex:
    """Hashes of pictures, each with the clip or file that contains it."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self._hashes = np.zeros(1024, np.uint64)
        self._places: list[str] = []

    def add(self, hashes: list[int], place: str) -> None:
        """Add the pictures of one clip or file."""
        for picture_hash in hashes:
            count = len(self._places)
            if count == len(self._hashes):
                self._hashes = np.concatenate([self._hashes, np.zeros_like(self._hashes)])
            self._hashes[count] = picture_hash
            self._places.append(place)

    def twin(self, hashes: list[int], beside: str = "") -> str:
        """Return the clip or file that contains nearly all of these pictures; "" if there is none.

        Clips and files whose name begins with `beside` are skipped.
        """
        votes: dict[str, int] = {}
        known = self._hashes[: len(self._places)]
        for picture_hash in hashes:
            near = np.flatnonzero(np.bitwise_count(known ^ np.uint64(picture_hash)) <= self.bits)
            for place in {self._places[i] for i in near if not (beside and self._places[i].startswith(beside))}:
                votes[place] = votes.get(place, 0) + 1
        best = max(sorted(votes), key=lambda place: votes[place], default="")
        return best if best and votes[best] >= NEARLY_ALL * len(hashes) else ""


def select(
    rows: Callable[[], Iterator[Row]], settings: SelectSettings, decided: dict[str, str] | None = None
) -> Iterator[Row]:
    """Yield one row per clip, in order.

    Args:
        rows: returns the rows of the look table from the first one each time it is called.
        settings: requirements for a clip.
        decided: clip -> status of the clips that an earlier run decided. They are not yielded again, and those it kept
            are indexed before all others: of two equal videos, the one added later is the duplicate.

    Raises:
        DataError: a benchmark cannot be found.
    """
    tests, clips, before = benchmark_pictures(settings), PictureIndex(settings.duplicates), decided or {}
    for row in rows() if before else ():
        if before.get(row["clip"]) == KEPT:
            clips.add([int(text, 16) for text in json.loads(row["hashes"])], row["clip"])
    for row in rows():
        if row["clip"] in before:
            continue
        reason = fault_of(row, settings)
        if not reason:
            hashes = [int(text, 16) for text in json.loads(row["hashes"])]
            if twin := tests.twin(hashes):
                reason = f"shows the same as benchmark file {twin!r}"
            # A fixed camera gives similar pictures throughout: clips of one video are not duplicates of each other.
            elif twin := clips.twin(hashes, row["clip"].rpartition("-")[0]):
                reason = f"near duplicate of {twin}"
            else:
                clips.add(hashes, row["clip"])
        yield from rejected(row, reason) if reason else kept(row)


def benchmark_pictures(settings: SelectSettings) -> PictureIndex:
    """Hash the pictures of the named benchmarks.

    Raises:
        DataError: a file or folder does not exist, or contains no media.
    """
    seen = PictureIndex(settings.duplicates)
    for name in settings.benchmarks:
        for file in benchmark_files(name):
            try:
                frames = read_clip(file, _LOOK).frames
            except MediaError:
                continue  # an unreadable file cannot leak into the set
            seen.add([picture_hash for frame in frames for picture_hash in picture_hashes(frame[None])], file.name)
    return seen


def benchmark_files(name: str) -> list[Path]:
    """Return the media named by an entry of `select.benchmarks`.

    Raises:
        DataError: a file or folder does not exist, or contains no media.
    """
    try:
        return [Path(file) for file in find_media([name])]
    except MediaError as error:
        raise DataError(f"select.benchmarks: {error}") from error
