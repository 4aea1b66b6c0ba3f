"""Safetensors folders: names, types and shapes of all tensors first, their values when they are written.

A tensor is mapped from its file and copied only where its type changes; a shard is written when all its tensors are
present, so memory contains at most one shard. Nothing here ever opens a pickle.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from huggingface_hub import split_state_dict_into_shards_factory
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from emotion_qwen.errors import CheckpointError
from emotion_qwen.model.folder import INDEX, weight_files

CHUNK = 2**22  # values checked at a time: a whole embedding would take several times its size
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class ReadableTensor(Protocol):
    """A tensor whose type and shape are known before its values are read."""

    @property
    def dtype(self) -> torch.dtype: ...  # noqa: D102

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102

    def read(self) -> torch.Tensor: ...  # noqa: D102


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a safetensors file, or its rows from `first` on, as many as `shape` states."""

    file: Path
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    first: int = 0

    def rows(self, first: int, count: int) -> StoredTensor:
        """Return `count` rows from row `first` on."""
        return replace(self, shape=(count, *self.shape[1:]), first=self.first + first)

    def read(self) -> torch.Tensor:
        """Map the tensor from its file.

        Raises:
            CheckpointError: the file has changed since its header was read.
        """
        try:
            with safe_open(self.file, "pt") as file:
                part = file.get_slice(self.name)
                if tuple(part.get_shape()) == self.shape:
                    return file.get_tensor(self.name)
                return part[self.first : self.first + self.shape[0]]
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{self.file}: changed while it was read ({error}); start again") from error


@dataclass(frozen=True)
class OutputTensor:
    """A tensor to write: its name, type and shape, and where its values come from."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    source: ReadableTensor | torch.Tensor

    @property
    def nbytes(self) -> int:
        """Return the number of bytes of the tensor."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self) -> torch.Tensor:
        """Read the values in the type to write.

        Raises:
            CheckpointError: a value is NaN or infinite, or does not fit the type.
        """
        values = self.source if isinstance(self.source, torch.Tensor) else self.source.read()
        wrong = _not_finite(values)
        if wrong:
            raise CheckpointError(
                f"{self.name}: {wrong} value(s) are NaN or infinite; the checkpoint is damaged, take another "
                "copy or an earlier one"
            )
        if values.dtype == self.dtype:
            return values
        converted = values.to(self.dtype)
        if _not_finite(converted):
            raise CheckpointError(
                f"{self.name}: values up to {values.abs().max():.3g} do not fit {self.dtype}; "
                "convert to bfloat16 or float32"
            )
        return converted


def _not_finite(values: torch.Tensor) -> int:
    return sum(len(part) - int(part.isfinite().sum()) for part in values.flatten().split(CHUNK))


def read_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Read the headers of all weights of a folder: one file, or the shards of an index.

    Raises:
        CheckpointError: only pickled weights, no weights, missing or damaged shards, an index that names other
            tensors than its shards contain, a dtype that is not a plain floating-point type.
    """
    files, weight_map = weight_files(folder)
    stored = {key: tensor for file in files for key, tensor in read_header(file).items()}
    lost = sorted(key for key, name in weight_map.items() if key not in stored or stored[key].file.name != name)
    if lost:
        raise CheckpointError(f"{folder / INDEX}: its shards lack {', '.join(lost[:12])}; copy the folder again")
    return stored


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Read one file's header; safetensors checks it against the length of the file.

    Raises:
        CheckpointError: not a complete safetensors file, or a dtype that is not F64, F32, F16 or BF16.
    """
    stored = {}
    try:
        with safe_open(path, "pt") as file:
            for key in file.keys():  # noqa: SIM118  it is no dictionary
                part = file.get_slice(key)
                if part.get_dtype() not in DTYPES:
                    raise CheckpointError(
                        f"{path}: {key} is stored as {part.get_dtype()}, expected one of {', '.join(DTYPES)}; "
                        "take the unquantised checkpoint"
                    )
                stored[key] = StoredTensor(path, key, DTYPES[part.get_dtype()], tuple(part.get_shape()))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: {path.stat().st_size} bytes that are not a complete safetensors file ({error}); copy it again"
        ) from error
    return stored


def same_bytes(first: StoredTensor, second: StoredTensor) -> bool:
    """Return whether two stored tensors have the same dtype, shape and bytes."""
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    return torch.equal(*(tensor.read().flatten().view(torch.uint8) for tensor in (first, second)))


def write_folder(
    folder: Path, tensors: Sequence[OutputTensor], max_bytes: float, progress: Callable[[int, int], None]
) -> list[str]:
    """Write tensors into one file, or into shards with an index.

    Args:
        folder: existing folder.
        tensors: in the order in which they are to fill the shards.
        max_bytes: size at which a shard is full.
        progress: called with (tensors read, all tensors) after each tensor.

    Returns:
        The names of the weight files.

    Raises:
        CheckpointError: a value that is NaN or infinite or does not fit the wanted dtype, or a source that changed
            meanwhile.
        OSError, SafetensorError: the disk is full or cannot be written.
    """
    by_name = {tensor.name: tensor for tensor in tensors}
    plan = split_state_dict_into_shards_factory(
        by_name,
        get_storage_size=lambda tensor: tensor.nbytes,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=int(max_bytes),
    )
    done = 0
    for name, keys in plan.filename_to_tensors.items():
        shard = {}
        for key in keys:
            shard[key] = by_name[key].read()
            done += 1
            progress(done, len(tensors))
        save_file(shard, folder / name, metadata={"format": "pt"})
        with (folder / name).open("rb") as file:
            os.fsync(file.fileno())
    if plan.is_sharded:
        total = {"total_parameters": sum(math.prod(tensor.shape) for tensor in tensors), **plan.metadata}
        index = {"metadata": total, "weight_map": dict(sorted(plan.tensor_to_filename.items()))}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return list(plan.filename_to_tensors)
