"""The videos that a build starts from: a folder, or a manifest that states their licences."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from emotion_qwen.errors import DataError, printable, unknown_choice
from emotion_qwen.files import files_below, named_by
from emotion_qwen.media.clip import VIDEO_SUFFIXES
from emotion_qwen.ver.settings import BuildSettings
from emotion_qwen.ver.store.columns import Row
from emotion_qwen.ver.store.table import value_digest

KEYS = ("path", "license", "source", "group", "known")


def find_sources(settings: BuildSettings) -> list[Row]:
    """Return one row per video: id, path, licence, name, group (which stays within one split) and known label.

    Files in the output folder are not sources; this folder may be inside that of the videos.

    Raises:
        DataError: the folder or manifest is missing, empty or invalid.
    """
    place, output = Path(settings.source), Path(settings.output).resolve()
    if place.is_dir():
        files = [
            path
            for path in files_below(place)
            if path.suffix.lower() in VIDEO_SUFFIXES and not path.resolve().is_relative_to(output)
        ]
        entries: list[Row] = [{"path": str(path)} for path in files]
        root = place
    elif place.is_file():
        entries, root = _manifest(place), place.parent
    else:
        raise DataError(f"source {str(place)!r} does not exist; give a folder of videos, or a manifest of them")
    if not entries:
        raise DataError(
            f"source {str(place)!r} contains no video; expected files ending in {' '.join(sorted(VIDEO_SUFFIXES))}"
        )
    rows: dict[str, Row] = {}
    for entry in entries:
        path = printable(entry["path"])  # a name that is not valid text cannot be stored in a table
        try:
            name = source_id(root, named_by(path))
        except OSError:
            name = f"missing-{value_digest(path)[:10]}"  # the first step reports and rejects it
        rows[name] = {
            "source_id": name, "path": path, "license": entry.get("license") or settings.license,
            "source": entry.get("source") or _one_line(Path(path).name), "group": entry.get("group") or name,
            "known": entry.get("known") or "",
        }  # fmt: skip
    # If a manifest is corrected later, the video is segmented again, and its clips keep their names.
    return [{"item": f"{name} {value_digest(row)}", **row} for name, row in rows.items()]


def source_id(root: Path, path: Path) -> str:
    """Name a source by its file name and a hash of its path and of both ends of its content, so that names are unique.

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        ends = file.read(65536)
        file.seek(max(0, size - 65536))
        ends += file.read(65536)
    try:
        place = path.relative_to(root).as_posix()
    except ValueError:
        place = path.as_posix()
    identity = place.encode("utf-8", "surrogateescape") + b"\0" + str(size).encode() + b"\0" + ends
    slug = re.sub(r"[^A-Za-z0-9]+", "-", path.stem).strip("-").lower()[:32] or "video"
    return f"{slug}-{hashlib.sha256(identity).hexdigest()[:10]}"


def _manifest(path: Path) -> list[Row]:
    entries = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}:{number}: not JSON ({error}); expected one object per line") from error
        if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
            raise DataError(f"{path}:{number}: no 'path'; expected an object with the keys {', '.join(KEYS)}")
        unknown = [key for key in entry if key not in KEYS]
        if unknown:
            raise DataError(f"{path}:{number}: {unknown_choice('key', unknown[0], KEYS)}")
        wrong = next((key for key, value in entry.items() if not isinstance(value, str | None)), None)
        if wrong is not None:
            raise DataError(f"{path}:{number}: {wrong} is {entry[wrong]!r}; expected text")
        entries.append({**entry, "path": str(path.parent / entry["path"])})
    return entries


def _one_line(name: str) -> str:
    """Return a file name on one line."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())
