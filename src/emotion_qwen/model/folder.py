"""The files of a model folder: checked before anything is loaded, and written completely or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from emotion_qwen.errors import CheckpointError, listed
from emotion_qwen.model.configuration import EmotionQwenConfig

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
DISK_MARGIN = 64 * 2**20  # bytes for the small files and the file system
OURS = EmotionQwenConfig.model_type
QWEN = "qwen2_5_vl"
"""`model_type` of Qwen2.5-VL as it is published, and of the models that others trained from it."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: not JSON, or no object.
        FileNotFoundError: no such file.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error}); copy the file again") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: a {type(values).__name__}, not an object; copy the file again")
    return values


def check_folder(path: str | Path, weights: bool = True, kinds: Collection[str] = (OURS,)) -> None:
    """Check a local model folder before anything is loaded; a name that is no folder is left to the hub.

    Args:
        path: folder or hub name.
        weights: look for the weights, too.
        kinds: values of `model_type` that are accepted.

    Raises:
        CheckpointError: no or unreadable config.json, a model of another kind, missing or damaged weights or shards.
    """
    folder = Path(path)
    if not folder.is_dir():
        on_hub = str(path).count("/") == 1 and not folder.parent.is_dir()
        if folder.is_absolute() or str(path).startswith(".") or folder.exists() or not on_hub:
            raise CheckpointError(f"model folder {str(path)!r} does not exist; give a folder that contains config.json")
        return
    kind = model_type(folder)
    if kind not in kinds:
        advice = f"convert it with `emotion-qwen convert {folder} OUTPUT`"
        raise CheckpointError(
            f"{folder}: model_type is {kind!r}, expected {' or '.join(map(repr, kinds))}; "
            + (advice if kind == QWEN or QWEN not in kinds else "no other architecture can be loaded")
        )
    if weights:
        _check_headers(weight_files(folder)[0])


def _check_headers(files: Iterable[Path]) -> None:
    """Read the header of every file, which says how long the file must be; the tensors themselves are not read."""
    for file in files:
        try:
            with safe_open(file, "numpy"):
                pass
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{file} is damaged or incomplete ({error}); copy it again") from error


def model_type(folder: Path) -> Any:
    """Return the `model_type` of a folder's config.json.

    Raises:
        CheckpointError: there is no config.json, or it cannot be read.
    """
    try:
        return read_json(folder / "config.json").get("model_type")
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder}: no config.json; expected a folder saved by `save_pretrained`") from error


def weight_files(folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Find the safetensors files of a folder, all shards of them.

    Returns:
        The files, and tensor -> file name from the index of shards, empty without an index.

    Raises:
        CheckpointError: only pickled weights, no weights, a missing shard, or a damaged index.
    """
    index = folder / INDEX
    if not index.is_file():
        if (folder / SINGLE).is_file():
            return [folder / SINGLE], {}
        pickled = sorted(path.name for suffix in ("bin", "pt", "pth") for path in folder.glob(f"*.{suffix}"))
        if pickled:
            raise CheckpointError(
                f"{folder}: only pickled weights ({', '.join(pickled[:4])}); they are refused, as reading a pickle can "
                "run code. Convert to safetensors first (save_pretrained of a transformers that you trust with that "
                "file)"
            )
        raise CheckpointError(f"{folder}: neither {SINGLE} nor {INDEX}; give a folder with safetensors weights")
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(v, str) for v in weight_map.values()):
        raise CheckpointError(f"{index}: no 'weight_map'; copy the file again")
    names = sorted(set(weight_map.values()))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{folder}: {len(missing)} of {len(names)} shards missing: {', '.join(missing)}; copy the folder again"
        )
    return [folder / name for name in names], weight_map


def key_faults(kinds: Mapping[str, Iterable[str]], limit: int = 12) -> str:
    """Describe the faults in the keys of a checkpoint.

    Args:
        kinds: kind of fault, such as "missing keys" -> the keys.
        limit: number of listed keys per kind.

    Returns:
        "missing keys: a, b; unexpected keys: c", without the kinds that have no key; empty if none has.
    """
    return "; ".join(f"{kind}: {listed(keys, limit)}" for kind, keys in kinds.items() if keys)


@contextmanager
def staged_folder(target: Path, size: int = 0) -> Iterator[Path]:
    """Yield an empty hidden folder next to `target`; it gets the name `target` when the block ends without an error.

    Args:
        target: folder that must appear complete or not at all; it must not exist or be empty.
        size: bytes that will be written, checked against the free space before anything is.

    Raises:
        CheckpointError: not enough space, or the disk refuses to be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(target.parent).free
        if free < size + DISK_MARGIN:
            raise CheckpointError(
                f"{target} needs {size / 1e9:.2f} GB and {target.parent} has {free / 1e9:.2f} GB free; make room"
            )
        draft = target.parent / f".{target.name}.partial-{os.getpid()}"
        draft.mkdir()
        try:
            yield draft
            os.replace(draft, target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)  # gone already if it was renamed
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{target} could not be written ({error}); the incomplete folder was removed. Check space and permissions"
        ) from error
