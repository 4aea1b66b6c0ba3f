"""Where what a run makes of each clip is written: no two clips share a file, and no input is overwritten."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from emotion_qwen.errors import SettingsError

COPY = ".copy"
"""What a page adds to its own name for a clip that it cannot hold; see `playable`."""


def view_names(files: Sequence[Path]) -> dict[Path, str]:
    """Return for each file the name of its views, without suffix; no two are alike on any file system.

    The name is that of the file without its suffix; where another file has that too, with its suffix; then with eight
    digits of its path. It does not depend on the order of the files, so that files added later overwrite no view.

    Args:
        files: N files, each once.
    """
    taken: Counter[str] = Counter()
    for file in files:
        taken.update({_key(file.stem), _key(file.name)})

    def is_free(name: str) -> bool:
        key = _key(name)
        return taken[key] == 1 and not taken[key + COPY] and not (key.endswith(COPY) and taken[key.removesuffix(COPY)])

    names = {}
    for file in files:
        digest = hashlib.sha256(os.fsencode(os.path.abspath(file))).hexdigest()[:8]
        names[file] = next(filter(is_free, (file.stem, file.name)), f"{file.stem}-{digest}")
    return names


def view_path(target: Path, suffix: str, file: Path, names: Mapping[Path, str]) -> Path:
    """Return `target`, or the place of one file's view in it where it is a folder or there are several files.

    Args:
        target: as the user named it.
        suffix: of the view; empty keeps that of the file.
        file: that is analyzed.
        names: from `view_names`, of all files.
    """
    if len(names) > 1 or target.is_dir():
        return target / f"{names[file]}{suffix or file.suffix}"
    return target


def check_outputs(outputs: Mapping[str, Sequence[Path]], files: Sequence[Path]) -> None:
    """Refuse, before anything is analyzed, options that would overwrite an input or each other's files.

    Args:
        outputs: option -> the files that it writes.
        files: that are analyzed.

    Raises:
        SettingsError: an output is an analyzed file, or two options write one file.
    """
    inputs = {os.path.realpath(file) for file in files}
    owners: dict[str, str] = {}
    for option, paths in outputs.items():
        for path in paths:
            place = os.path.realpath(path)
            if place in inputs:
                raise SettingsError(
                    f"--{option} {str(path)!r} is the analyzed file itself; choose another file or folder"
                )
            other = owners.setdefault(_key(place), option)
            if other != option:
                raise SettingsError(f"--{option} and --{other} would both write {str(path)!r}; give each its own file")


def _key(name: str) -> str:
    """Return what two names have in common that some file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
