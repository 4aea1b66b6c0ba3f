"""The parts by name: their ingredients, and their atomic installation into the cache."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from emotion_qwen import cache
from emotion_qwen.cache import MINI, RECORD, SMOLLM2, WHISPER, fetched_digest, fetched_folder
from emotion_qwen.errors import CheckpointError, unknown_choice
from emotion_qwen.extras import optional
from emotion_qwen.fetch.artefacts import PARTS, FetchedPart
from emotion_qwen.fetch.download import obtain
from emotion_qwen.files import locked, storage_error

Watch = Callable[[str, int, int], None]
"""Called with the current step, the amount done, and the total."""
Record = Callable[[Path], None]


def _build_mini(files: dict[str, Path], target: Path, watch: Watch, record: Record) -> None:
    from emotion_qwen.convert.overlay import assemble

    (base,) = files.values()
    overlay = cache.MINI_OVERLAY.parent
    assemble(base, overlay, target, record=record, progress=lambda done, total: watch("assembling mini", done, total))


def _build_files(files: dict[str, Path], target: Path, watch: Watch, record: Record) -> None:
    target.mkdir()
    for number, (name, path) in enumerate(files.items(), start=1):
        if target.parent in path.parents:  # of the download; a file that was given by path stays
            os.replace(path, target / name)
        else:
            shutil.copyfile(path, target / name)
        watch("copying", number, len(files))
    record(target)


BUILDERS: dict[str, Callable[[dict[str, Path], Path, Watch, Record], None]] = {
    MINI: _build_mini,
    WHISPER: _build_files,
    SMOLLM2: _build_files,
}
"""Part -> function that makes its folder from the downloaded files; takes (files, target, watch, function that adds
the record)."""


def fetch_part(
    name: str, given: Path | None = None, *, again: bool = False, watch: Watch = lambda what, done, total: None
) -> tuple[Path, bool]:
    """Install a part into the cache, unless it is already there.

    Args:
        name: a key of `PARTS`.
        given: as of `obtain`.
        again: replace it if it is already there, as with `given`.
        watch: see `Watch`.

    Returns:
        The folder, and whether it was made now.

    Raises:
        CheckpointError: the part is unknown or not supported by this build, or files differ from those expected.
        RemoteError, StorageError, MissingPackage: as of `obtain` and `assemble`.
    """
    if name not in PARTS:
        raise CheckpointError(unknown_choice("part", name, PARTS))
    part, again = PARTS[name], again or given is not None
    digest, target = part.digest(), fetched_folder(part.folder)
    if digest is None:
        raise CheckpointError(
            f"this build has no trained weights for {name!r} yet, so there is nothing to fetch; use nano"
        )
    if name == MINI:
        optional("gguf", "gguf")  # fail before the download rather than after it
        if given is None and fetched_digest(SMOLLM2) == PARTS[SMOLLM2].digest():
            given = fetched_folder(SMOLLM2)
    with locked(target, wait=True):
        if fetched_digest(part.folder) == digest and not again:
            return target, False
        _remove_leftovers(target)
        with _scratch(target) as scratch:
            label = f"downloading {part.artefact.project} {part.artefact.version}"
            files = obtain(part.artefact, scratch, given, lambda done, total: watch(label, done, total))
            made = scratch / "made"
            try:
                BUILDERS[name](files, made, watch, lambda folder: _record(folder, name, part, digest))
                _replace(made, target)
            except OSError as error:
                raise storage_error(target, error) from error
    return target, True


def _record(folder: Path, name: str, part: FetchedPart, digest: str) -> None:
    facts = {
        "part": name,
        "digest": digest,
        "from": f"{part.artefact.project} {part.artefact.version}",
        "files": {file.name: file.sha256 for file in part.artefact.files},
        "licence": part.licence,
    }
    (folder / RECORD).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """Make a hidden folder next to the target, on the same file system, that is removed at the end."""
    try:
        scratch = TemporaryDirectory(prefix=_hidden(target), dir=target.parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise storage_error(target, error) from error
    with scratch as folder:
        yield Path(folder)


def _hidden(target: Path) -> str:
    return f".{target.name}.fetching-"


def _remove_leftovers(target: Path) -> None:
    """Remove files left by killed runs; the lock ensures that no other run uses them."""
    for path in target.parent.glob(_hidden(target) + "*"):
        shutil.rmtree(path, ignore_errors=True)


def _replace(made: Path, target: Path) -> None:
    """Move a finished folder to its final name, replacing an older one."""
    if target.exists():
        os.replace(target, made.with_name("old"))
    os.replace(made, target)
