"""The packages of the extra `eval`, imported when they are needed and asked for by name when they are not there."""

from __future__ import annotations

import importlib
from types import ModuleType

from emotion_qwen.errors import MissingPackage


def optional(module: str) -> ModuleType:
    """Import a module of an optional package, or one of ours that stands on such a package.

    Args:
        module: dotted name, for example "matplotlib.pyplot".

    Raises:
        MissingPackage: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or module).partition(".")[0]
        raise MissingPackage(
            f"package {package!r} is not installed; evaluation needs it: pip install 'emotion-qwen[eval]'"
        ) from error
