"""Safetensors folders read and written without ever holding more than a chunk of one tensor.

The format is eight bytes of header length (little endian), a JSON header that gives every tensor's dtype, shape and
byte range, then the bytes (https://github.com/huggingface/safetensors#format). Because all sizes are known from the
headers, an output shard's header is written first and its tensors are streamed behind it. Files are read by plain
reads, not by memory maps, whose pages would count as memory of the process. Nothing here ever opens a pickle.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

import torch

from emotion_qwen.errors import CheckpointError

CHUNK = 16 * 2**20  # bytes; a multiple of every element size
HEADER_LIMIT = 100 * 2**20  # the format's own limit
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
CODES = {dtype: code for code, dtype in DTYPES.items()}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a safetensors file: where its bytes are and what they mean."""

    file: Path
    offset: int
    code: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Give the number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Give the number of bytes."""
        return self.count * DTYPES[self.code].itemsize


@dataclass(frozen=True)
class OutputTensor:
    """A tensor to write: its name, format and the pieces that follow one another along the first dimension."""

    name: str
    code: str
    shape: tuple[int, ...]
    pieces: tuple[StoredTensor | torch.Tensor, ...]

    @property
    def nbytes(self) -> int:
        """Give the number of bytes it will take."""
        return math.prod(self.shape) * DTYPES[self.code].itemsize


def read_folder(folder: Path) -> dict[str, StoredTensor]:
    """Read the headers of all weights of a folder: one file, or the shards of an index.

    Raises:
        CheckpointError: only pickled weights, no weights, missing or damaged shards, an index that names other
            tensors than its shards hold, a dtype that is no plain floating point.
    """
    index = folder / INDEX
    if index.is_file():
        weight_map = _read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise CheckpointError(f"{index}: no 'weight_map'; copy the file again")
        names = sorted(set(weight_map.values()))
        absent = [name for name in names if not (folder / name).is_file()]
        if absent:
            raise CheckpointError(
                f"{folder}: {len(absent)} of {len(names)} shards missing: {', '.join(absent)}; copy the folder again"
            )
        stored = {key: tensor for name in names for key, tensor in read_header(folder / name).items()}
        lost = sorted(key for key, name in weight_map.items() if key not in stored or stored[key].file.name != name)
        if lost:
            raise CheckpointError(f"{index}: its shards do not hold {', '.join(lost[:12])}; copy the folder again")
        return stored
    if (folder / SINGLE).is_file():
        return read_header(folder / SINGLE)
    _refuse_without_safetensors(folder)


def _refuse_without_safetensors(folder: Path) -> NoReturn:
    pickled = sorted(path.name for suffix in ("bin", "pt", "pth") for path in folder.glob(f"*.{suffix}"))
    if pickled:
        raise CheckpointError(
            f"{folder}: only pickled weights ({', '.join(pickled[:4])}); reading a pickle can run code, so it is "
            "refused. Convert to safetensors first (save_pretrained of a transformers that you trust with that file)"
        )
    raise CheckpointError(f"{folder}: neither {SINGLE} nor {INDEX}; give a folder that holds safetensors weights")


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({error}); copy the file again") from error


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Read one file's header and check it against the length of the file.

    Raises:
        CheckpointError: not a safetensors file, shorter or longer than its header says, a dtype that is not F64, F32,
            F16 or BF16.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(HEADER_LIMIT, size - 8):
            raise CheckpointError(f"{path}: {size} bytes that are no safetensors file; copy it again")
        try:
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            entries = {key: (v["dtype"], tuple(v["shape"]), *v["data_offsets"]) for key, v in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path}: unreadable safetensors header ({error}); copy the file again") from error
    expected = 8 + length + max((end for *_, end in entries.values()), default=0)
    if size != expected:
        raise CheckpointError(
            f"{path}: {size} bytes, its header promises {expected}; the copy is incomplete, repeat it"
        )
    stored = {}
    for key, (code, shape, start, end) in entries.items():
        if code not in DTYPES:
            raise CheckpointError(
                f"{path}: {key} is stored as {code}, expected one of {', '.join(DTYPES)}; "
                "take the unquantised checkpoint"
            )
        stored[key] = StoredTensor(path, 8 + length + start, code, shape)
        if stored[key].nbytes != end - start:
            raise CheckpointError(f"{path}: {key} has {end - start} bytes for shape {shape} of {code}; copy it again")
    return stored


def same_bytes(one: StoredTensor, other: StoredTensor) -> bool:
    """Tell whether two stored tensors have the same dtype, shape and bytes."""
    if (one.code, one.shape) != (other.code, other.shape):
        return False
    return all(a == b for a, b in zip(_chunks(one), _chunks(other), strict=True))


def _chunks(piece: StoredTensor | torch.Tensor) -> Iterator[bytearray]:
    if isinstance(piece, torch.Tensor):
        yield bytearray(piece.contiguous().reshape(-1).view(torch.uint8).numpy())
        return
    left = piece.nbytes
    with piece.file.open("rb") as file:
        file.seek(piece.offset)
        while left:
            chunk = bytearray(file.read(min(CHUNK, left)))
            if not chunk:
                raise CheckpointError(f"{piece.file}: became shorter while it was read; leave it alone and start again")
            left -= len(chunk)
            yield chunk


def _write_tensor(file: IO[bytes], tensor: OutputTensor) -> None:
    wanted = DTYPES[tensor.code]
    for piece in tensor.pieces:
        held = piece.dtype if isinstance(piece, torch.Tensor) else DTYPES[piece.code]
        for chunk in _chunks(piece):
            before = torch.frombuffer(chunk, dtype=held) if chunk else torch.empty(0, dtype=held)
            wrong = len(before) - int(before.isfinite().sum())
            if wrong:
                raise CheckpointError(
                    f"{tensor.name}: {wrong} value(s) are NaN or infinite; the checkpoint is damaged, take another "
                    "copy or an earlier one"
                )
            if held == wanted:
                file.write(chunk)
                continue
            after = before.to(wanted)
            if not after.isfinite().all():
                raise CheckpointError(
                    f"{tensor.name}: values up to {before.abs().max():.3g} do not fit {wanted}; "
                    "convert to bfloat16 or float32"
                )
            file.write(after.view(torch.uint8).numpy().data)


def split_shards(tensors: Sequence[OutputTensor], max_bytes: float) -> list[list[OutputTensor]]:
    """Fill shards in order; a shard holds at least one tensor and at most `max_bytes` if it holds several."""
    shards: list[list[OutputTensor]] = [[]]
    filled = 0
    for tensor in tensors:
        if shards[-1] and filled + tensor.nbytes > max_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(tensor)
        filled += tensor.nbytes
    return shards


def write_folder(
    folder: Path, tensors: Sequence[OutputTensor], max_bytes: float, progress: Callable[[int, int], None]
) -> list[str]:
    """Stream tensors into one file, or into shards with an index.

    Args:
        folder: existing folder.
        tensors: in the order in which they are to fill the shards.
        max_bytes: size at which a shard is full.
        progress: called with (tensors written, all tensors) after each tensor.

    Returns:
        The names of the weight files.

    Raises:
        CheckpointError: a value that is NaN or infinite or does not fit the wanted dtype, or a source that changed
            meanwhile.
        OSError: the disk is full or cannot be written.
    """
    shards = split_shards(tensors, max_bytes)
    names = [SINGLE] if len(shards) == 1 else [_shard_name(i, len(shards)) for i in range(1, len(shards) + 1)]
    done = 0
    for name, shard in zip(names, shards, strict=True):
        # Wide elements first, as the reference writer does, so that every tensor starts at a multiple of its size.
        ordered = sorted(shard, key=lambda tensor: -DTYPES[tensor.code].itemsize)
        with (folder / name).open("wb") as file:
            file.write(_header(ordered))
            for tensor in ordered:
                _write_tensor(file, tensor)
                done += 1
                progress(done, len(tensors))
            file.flush()
            os.fsync(file.fileno())
    if len(shards) > 1:
        weight_map = {t.name: name for name, shard in zip(names, shards, strict=True) for t in shard}
        metadata = {
            "total_parameters": sum(math.prod(tensor.shape) for tensor in tensors),
            "total_size": sum(tensor.nbytes for tensor in tensors),
        }
        index = json.dumps({"metadata": metadata, "weight_map": dict(sorted(weight_map.items()))}, indent=2)
        (folder / INDEX).write_text(index + "\n", encoding="utf-8")
    return names


def _shard_name(number: int, count: int) -> str:
    return f"model-{number:05d}-of-{count:05d}.safetensors"


def _header(tensors: Sequence[OutputTensor]) -> bytes:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for tensor in tensors:
        end = start + tensor.nbytes
        header[tensor.name] = {"dtype": tensor.code, "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data starts at a multiple of eight
    return len(text).to_bytes(8, "little") + text
