"""The parts by name: what each is made of, and how it gets into the cache, whole or not at all."""

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
"""Called with what is being done, how much of it is done, and how much there is."""
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
"""Part -> what makes its folder of the downloaded files; takes (files, target, watch, what adds the record)."""


def fetch_part(
    name: str, given: Path | None = None, *, again: bool = False, watch: Watch = lambda what, done, total: None
) -> tuple[Path, bool]:
    """Get a part into the cache, unless it is there already.

    Args:
        name: a key of `PARTS`.
        given: as of `obtain`.
        again: also where it is there already, as with `given`.
        watch: see `Watch`.

    Returns:
        The folder, and whether it was made now.

    Raises:
        CheckpointError: no such part, one that this build does not have, or files that are not what they must be.
        RemoteError, StorageError, MissingPackage: as of `obtain` and `assemble`.
    """
    if name not in PARTS:
        raise CheckpointError(unknown_choice("part", name, PARTS))
    part, again = PARTS[name], again or given is not None
    digest, target = part.digest(), fetched_folder(part.folder)
    if digest is None:
        raise CheckpointError(
            f"this build ships no trained weights for {name!r} yet, so there is nothing to fetch; use nano"
        )
    if name == MINI:
        optional("gguf", "gguf")  # better missed now than after the download
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
    """Make a hidden folder beside the target, on the same file system, that is removed in the end."""
    try:
        scratch = TemporaryDirectory(prefix=_hidden(target), dir=target.parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise storage_error(target, error) from error
    with scratch as folder:
        yield Path(folder)


def _hidden(target: Path) -> str:
    return f".{target.name}.fetching-"


def _remove_leftovers(target: Path) -> None:
    """Remove what killed runs have left; the lock says that no other run is using it."""
    for path in target.parent.glob(_hidden(target) + "*"):
        shutil.rmtree(path, ignore_errors=True)


def _replace(made: Path, target: Path) -> None:
    """Give a finished folder its name, in place of an older one."""
    if target.exists():
        os.replace(target, made.with_name("old"))
    os.replace(made, target)
