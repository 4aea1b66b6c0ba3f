"""Choose the output files of a run, so that no two clips share a file and no input is overwritten."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from emotion_qwen.errors import SettingsError
from emotion_qwen.files import check_is_no_folder

COPY = ".copy"
"""Suffixes that a page adds to its own name for a clip that it cannot embed; see `playable`."""


def view_names(files: Sequence[Path], reserved: Sequence[str] = ()) -> dict[Path, str]:
    """Return for each file the base name of its views; the names are unique on every file system.

    The base name is that of the file without its suffix. If another file has the same name, the suffix is kept, and if
    that is not enough, eight hash digits of the path are added. Names do not depend on the order of the files.

    Args:
        files: N distinct files.
        reserved: base names of other files in the same folder.
    """
    taken = Counter(map(_key, reserved))
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
    """Return `target`, or the path of a file's view below it if it is a folder or there are several files.

    Args:
        target: as given by the user.
        suffix: of the view; empty keeps that of the file.
        file: the analyzed file.
        names: base names of all files, from `view_names`.
    """
    if in_folder(target, names):
        return target / f"{names[file]}{suffix or file.suffix}"
    return target


def in_folder(target: Path, names: Mapping[Path, str]) -> bool:
    """Whether views go to a folder: one that is there, one for several files, or a name without a suffix.

    So a folder with one clip gives the same files as one with several.
    """
    return len(names) > 1 or target.is_dir() or not target.suffix


def check_outputs(outputs: Mapping[str, Sequence[Path]], files: Sequence[Path]) -> None:
    """Check that no option overwrites an input or the file of another option.

    Args:
        outputs: option -> the files that it writes.
        files: the files to analyze.

    Raises:
        SettingsError: an output is an analyzed file, or two options write the same file.
        StorageError: an output is a folder or a device.
    """
    inputs = {os.path.realpath(file) for file in files}
    owners: dict[str, str] = {}
    for option, paths in outputs.items():
        for path in paths:
            check_is_no_folder(path)
            place = os.path.realpath(path)
            if place in inputs:
                raise SettingsError(
                    f"--{option} {str(path)!r} is the analyzed file itself; choose another file or folder"
                )
            other = owners.setdefault(_key(place), option)
            if other != option:
                raise SettingsError(f"--{option} and --{other} would both write {str(path)!r}; give each its own file")


def _key(name: str) -> str:
    """Return a key that is equal for names that some file system treats as equal."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
