"""Optional packages: the extra that installs each, and the one-line error if a needed one is missing.

Extras are read from the metadata of the installed distribution, so they cannot disagree with `pyproject.toml`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from types import ModuleType
from typing import Any

from packaging.requirements import Requirement

from emotion_qwen.errors import MissingPackage, RemoteError

DISTRIBUTION = "emotion-qwen"
DEVELOPMENT = ("dev", "docs")
IMPORTED_AS = {
    "scikit-learn": "sklearn",
    "opencv-python": "cv2",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "pympi-ling": "pympi",
}
"""Distributions whose import name is not their own with underscores."""


def requirements() -> list[Requirement]:
    """Return the requirements of the installed distribution; none where it is not installed."""
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        lines = []
    return [Requirement(line) for line in lines]


def extras_of(requirement: Requirement, extras: list[str]) -> list[str]:
    """Return the extras that install a requirement; empty for one that is always needed."""
    marker = requirement.marker
    if marker is None or marker.evaluate({"extra": ""}):
        return []
    return [extra for extra in extras if marker.evaluate({"extra": extra})]


def known_extras() -> list[str]:
    """Return the extras of the installed distribution for users, in the order of its metadata."""
    try:
        names = importlib.metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    except importlib.metadata.PackageNotFoundError:
        names = []
    return [name for name in names if name not in DEVELOPMENT]


def install_command(extra: str) -> str:
    """Return the pip command that adds an extra; pip takes its list from the installed distribution, clone or not."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def missing_package(
    error: ModuleNotFoundError, extra: str | None = None, certain: bool = False
) -> MissingPackage | None:
    """Compose the error for a package that is not installed.

    Args:
        error: of the failed import.
        extra: the one to name if it brings the package; otherwise the first that does.
        certain: the extra brings it, even where the metadata cannot be read.

    Returns:
        None where a module of this package, or of no name, is missing: that is a fault of the program.
    """
    module = (error.name or "").partition(".")[0]
    if not module or module == __package__:
        return None
    extras = known_extras()
    lines = [r for r in requirements() if IMPORTED_AS.get(r.name, r.name.replace("-", "_")) == module]
    bringing = [name for requirement in lines for name in extras_of(requirement, extras)]
    if bringing:
        chosen = extra if extra in bringing else bringing[0]
        return MissingPackage(
            f"package {lines[0].name!r} is not installed; it comes with the extra {chosen!r}: {install_command(chosen)}"
        )
    if lines:
        return MissingPackage(
            f"package {lines[0].name!r} is not installed; pip install '{lines[0].name}{lines[0].specifier}'"
        )
    if extra is not None and certain:
        return MissingPackage(f"package {module!r} is not installed; {install_command(extra)}")
    return MissingPackage(f"package {module!r} is not installed; pip install {module}")


def optional(module: str, extra: str | None = None) -> ModuleType:
    """Import a module of an optional package, or one of ours that depends on such a package.

    Args:
        module: dotted name, for example "matplotlib.pyplot".
        extra: as of `missing_package`.

    Raises:
        MissingPackage: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = missing_package(error, extra, certain=True)
        if missing is None:
            raise
        raise missing from error


def connected_ray(address: str | None, option: str, **here: Any) -> ModuleType:
    """Import Ray, and connect to a cluster or start one on this machine, unless this was done before.

    Args:
        address: of a running cluster; None or "" starts one here, without its dashboard.
        option: name of the option that takes the address, for the error.
        here: further options for a cluster that is started here, such as `num_cpus`.

    Raises:
        MissingPackage: Ray is not installed.
        RemoteError: the cluster does not answer, or does not start in time.
    """
    ray = optional("ray", "scale")
    if ray.is_initialized():
        return ray
    options = {} if address else {"include_dashboard": False, **here}
    try:
        ray.init(address=address or None, log_to_driver=False, logging_level="warning", **options)
    except BaseException as error:
        # A cluster that does not start in time is a plain Exception in Ray.
        if type(error) is Exception or isinstance(error, ConnectionError | RuntimeError | ValueError):
            advice = "try again when less else runs here"
            advice = f"check {option}, or leave it out to start Ray here" if address else advice
            reason = " ".join(str(error).split())[:200]
            raise RemoteError(f"Ray at {address or 'this machine'!r} does not answer ({reason}); {advice}") from error
        raise
    return ray
