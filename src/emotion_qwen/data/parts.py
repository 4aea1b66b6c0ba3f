"""The kinds of parts of a training mixture: manifests, and kinds from code outside the package.

A kind is a reader, a function that opens a part: `reader(name, domain, split, path, *, options...)`. Its keyword-only
parameters are the options that the settings of a run may give. A reader without the parameter `path` needs no file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emotion_qwen.data.manifest import read_manifest
from emotion_qwen.data.mixture import Part, SampleList
from emotion_qwen.errors import DataError, SettingsError, unknown_choice
from emotion_qwen.extensions import installed, load_file, load_installed, split_file

GROUP = "emotion_qwen.parts"
"""Entry point group for kinds from installed packages; an entry point names a reader."""


def read_manifest_part(
    name: str,
    domain: str,
    split: str,
    path: Path,
    *,
    media_root: str | None = None,
    max_rejected: int = 0,
    rejected: str | None = None,
) -> SampleList:
    """Read one split of a manifest, or of a folder with `manifest.jsonl` as written by `ver build`.

    Options and errors are those of `manifest.read_manifest`.
    """
    path = path / "manifest.jsonl" if path.is_dir() else path
    samples = read_manifest(path, media_root=media_root, split=split, max_rejected=max_rejected, rejected=rejected)
    return SampleList(name, domain, samples)


READERS: dict[str, Callable[..., Part]] = {"manifest": read_manifest_part}
"""Built-in kind -> reader."""


def part_reader(kind: str) -> Callable[..., Part]:
    """Return the reader of a kind: a key of `READERS`, the name of an entry point, or `FILE.py:NAME`.

    Raises:
        SettingsError: unknown kind, or a file or entry point that does not provide a reader.
    """
    file = split_file(kind)
    if file is not None:
        path, name = file
        module = load_file(Path(path), "train")
        if not name or not callable(getattr(module, name, None)):
            readers = [key for key, value in vars(module).items() if inspect.isfunction(value) and key[0] != "_"]
            raise SettingsError(f"kind {kind!r}: {unknown_choice('function', name, readers)}")
        return getattr(module, name)
    points = installed(GROUP)
    if kind not in READERS and kind in points:
        return load_installed(points[kind])
    if kind not in READERS:
        raise SettingsError(f"{unknown_choice('kind of data', kind, (*READERS, *points))} Or name a file: FILE.py:NAME")
    return READERS[kind]


def read_part(kind: str, name: str, domain: str, path: Path | None, split: str, **options: Any) -> Part:
    """Open a part of a mixture.

    Args:
        kind: see `part_reader`.
        name: of the part.
        domain: "emotion" or "general".
        path: of its file; None for kinds without a file.
        split: "train" or "validation".
        options: of the kind.

    Raises:
        SettingsError: see `part_reader`.
        DataError: unknown or missing option, or a file that cannot be read.
    """
    reader = part_reader(kind)
    parameters = inspect.signature(reader).parameters
    known = [key for key, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise DataError(f"part {name!r}: {unknown_choice('option', option, known)}")
    missing = [key for key in known if parameters[key].default is inspect.Parameter.empty and key not in options]
    if missing:
        raise DataError(f"part {name!r} of kind {kind!r} has no {missing[0]}; give it among the options")
    if "path" in parameters:
        if path is None:
            raise DataError(f"part {name!r} of kind {kind!r} has no path; give the file")
        options["path"] = path
    return reader(name=name, domain=domain, split=split, **options)
