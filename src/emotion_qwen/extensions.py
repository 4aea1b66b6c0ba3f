"""Code from outside the package: a Python file that a user names, or an entry point of an installed distribution."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

from emotion_qwen.errors import SettingsError
from emotion_qwen.extras import missing_package

SUFFIX = ".py"


def split_file(text: str) -> tuple[str, str] | None:
    """Split `my.py:name` into the file and the name in it.

    Returns:
        The path and the name, which is empty for `my.py` alone; None if the text names no Python file.
    """
    if text.endswith(SUFFIX):
        return text, ""
    path, _, name = text.rpartition(":")
    return (path, name) if path.endswith(SUFFIX) else None


def beside(text: str, folder: Path) -> str:
    """Return a text that names a Python file with the file's path in a folder, if it exists there; else unchanged.

    Settings name files from their own folder or from the working directory.
    """
    file = split_file(text)
    if file is None or not (folder / file[0]).is_file():
        return text
    return str(folder / file[0]) + (f":{file[1]}" if file[1] else "")


def load_file(path: Path, extra: str | None = None) -> ModuleType:
    """Import a Python file.

    A file in a package is imported under its dotted name, any other under its own. The folder from which that name
    counts is added to `sys.path`, so that the file can import its neighbours and worker processes can import the file.

    Args:
        path: of the file.
        extra: to name where an optional package that the file imports is missing; as of `missing_package`.

    Raises:
        MissingPackage: it imports a package that is not installed.
        SettingsError: it does not exist or cannot be imported, or another module has its name.
    """
    place = path.resolve()
    if not place.is_file():
        raise SettingsError(f"{str(path)!r} does not exist; give the path of a Python file")
    root, parts = place.parent, [place.stem]
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    if str(root) not in sys.path:
        sys.path.append(str(root))
    importlib.invalidate_caches()
    name = ".".join(parts)
    try:
        module = importlib.import_module(name)
    except (ImportError, SyntaxError) as error:
        missing = None
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] != parts[0]:
            missing = missing_package(error, extra)
        raise missing or SettingsError(f"{path}: cannot be imported ({error}); correct the file") from error
    if Path(module.__file__ or "").resolve() != place:
        raise SettingsError(f"{path}: another module is already called {name!r} ({module.__file__}); rename the file")
    return module


def installed(group: str) -> dict[str, EntryPoint]:
    """Return the entry points that installed distributions declare in a group, by name."""
    return {point.name: point for point in importlib.metadata.entry_points(group=group)}


def load_installed(point: EntryPoint) -> Any:
    """Load the object that an entry point names.

    Raises:
        SettingsError: it cannot be imported.
    """
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        where = point.dist.name if point.dist else point.value
        raise SettingsError(
            f"entry point {point.name!r} of {point.group} in {where}: cannot be loaded ({error}); update or remove it"
        ) from error
