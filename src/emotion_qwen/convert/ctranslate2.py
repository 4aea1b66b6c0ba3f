"""Whisper in CTranslate2's format, as faster-whisper uses it: the encoder of `model.bin` under transformers' names.

The file is a flat list, little-endian: a version, the name and revision of the model's specification, the number of
variables, then for each variable its name, rank, sizes, type, number of bytes and values; at the end are aliases,
further names of a variable. Self-attention stores query, key and value as one matrix; query and key are not scaled
beforehand. Source: `python/ctranslate2/specs/model_spec.py` of OpenNMT/CTranslate2, versions 2 to 6 of the format.

Only headers are read here. Weights are mapped from the file when they are written, and 8-bit and 16-bit integers are
de-quantised to fp32 then: a value divided by the scale of its row.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from emotion_qwen.errors import CheckpointError

WEIGHTS = "model.bin"
SPECIFICATION = "WhisperSpec"
VERSIONS = range(2, 7)
TYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)
"""By the number that the format gives them."""
ITEM_SIZES = {4: torch.float32, 2: torch.int16, 1: torch.int8}
"""Before version 4 only the bytes of a value are stored."""
GELU = 3
# Variable of a layer -> names in transformers. What is stored as one and has several names is cut into equal parts.
_ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
LAYER = {
    "self_attention/layer_norm": ("self_attn_layer_norm",),
    "self_attention/linear_0": _ATTENTION,
    "self_attention/linear_1": ("self_attn.out_proj",),
    "ffn/layer_norm": ("final_layer_norm",),
    "ffn/linear_0": ("fc1",),
    "ffn/linear_1": ("fc2",),
}
AROUND = {"conv1": ("conv1",), "conv2": ("conv2",), "layer_norm": ("layer_norm",)}
VALUES = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
ENCODER = "encoder/"
POSITIONS = "position_encodings/encodings"
NO_BIAS = "self_attn.k_proj.bias"
"""Whisper's keys have none; the stored matrix contains zeros there."""


@dataclass(frozen=True)
class PackedTensor:
    """A tensor, or some of its rows, in a `model.bin`.

    Attributes:
        file: the file.
        name: of the variable.
        stored: type of the stored values.
        shape: of the rows that are read.
        offset: byte at which they begin.
        scales: of quantised values: one, or one per row.
    """

    file: Path
    name: str
    stored: torch.dtype
    shape: tuple[int, ...]
    offset: int
    scales: PackedTensor | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The type of what `read` returns."""
        return self.stored if self.stored.is_floating_point else torch.float32

    def read(self) -> torch.Tensor:
        """Read the values; integers are de-quantised.

        Raises:
            CheckpointError: the file has changed since its header was read.
        """
        size = math.prod(self.shape) * self.stored.itemsize
        try:
            data = np.fromfile(self.file, np.uint8, size, offset=self.offset)
        except OSError as error:
            raise CheckpointError(f"{self.file}: changed while it was read ({error}); start again") from error
        if len(data) < size:
            raise CheckpointError(f"{self.file}: changed while it was read ({self.name} ends early); start again")
        values = torch.from_numpy(data).view(self.stored).view(self.shape)
        if self.stored.is_floating_point or self.scales is None:
            return values
        scales = self.scales.read().float()
        return values.float() / (scales.view(-1, *[1] * (values.dim() - 1)) if scales.dim() else scales)

    def rows(self, first: int, count: int) -> PackedTensor:
        """Return `count` rows from row `first` on."""
        size = math.prod(self.shape[1:]) * self.stored.itemsize
        scales = self.scales.rows(first, count) if self.scales is not None and self.scales.shape else self.scales
        return replace(self, shape=(count, *self.shape[1:]), offset=self.offset + first * size, scales=scales)


def read_ctranslate2(folder: Path) -> tuple[dict[str, Any], dict[str, PackedTensor]]:
    """Read the header of a Whisper model in CTranslate2's format.

    Args:
        folder: contains `model.bin`.

    Returns:
        The fields of the encoder in transformers' Whisper configuration, taken from the shapes; and every tensor, the
        encoder's named as transformers names them (`model.encoder.*`), the others as in the file.

    Raises:
        CheckpointError: not this format, a version, model, type or activation that is not read, or a file that ends
            early.
    """
    path = folder / WEIGHTS
    variables = read_variables(path)
    encoder = {name.removeprefix(ENCODER): tensor for name, tensor in variables.items() if name.startswith(ENCODER)}
    values = _configuration(path, encoder)
    renamed = dict(_renamed(encoder, values["encoder_layers"]))
    used = {ENCODER + name for name in _used(values["encoder_layers"])}
    # Scalars such as the number of heads and the scales of quantised values are no weights of their own.
    rest = {
        name: tensor
        for name, tensor in variables.items()
        if name not in used and tensor.shape and not name.endswith("_scale")
    }
    return values, {**renamed, **rest}


def read_variables(path: Path) -> dict[str, PackedTensor]:
    """Read name, type, shape and place of every variable of a `model.bin`, aliases included.

    Raises:
        CheckpointError: as of `read_ctranslate2`.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            (version,) = _numbers(file, "I")
            if version not in VERSIONS:
                raise CheckpointError(
                    f"{path}: version {version} of the format, or another format; expected a Whisper model in "
                    f"CTranslate2's format, version {VERSIONS[0]} to {VERSIONS[-1]}"
                )
            specification = _text(file)
            if specification != SPECIFICATION:
                raise CheckpointError(
                    f"{path}: the specification is {specification!r}, expected {SPECIFICATION!r}; only Whisper's "
                    "encoder can be added"
                )
            _, count = _numbers(file, "II")
            variables = {tensor.name: tensor for tensor in (_variable(file, path, version) for _ in range(count))}
            aliases = _numbers(file, "I")[0] if version > 2 else 0
            pairs = [(_text(file), _text(file)) for _ in range(aliases)]
            variables.update({alias: variables[name] for alias, name in pairs})
        except (struct.error, UnicodeDecodeError, KeyError) as error:
            raise CheckpointError(
                f"{path}: {size} bytes that are not a complete model ({error}); copy it again"
            ) from error
    for name, scale in list(variables.items()):
        owner = name.removesuffix("_scale")
        if owner != name and owner in variables:
            variables[owner] = replace(variables[owner], scales=scale)
    return variables


def _variable(file: BinaryIO, path: Path, version: int) -> PackedTensor:
    name = _text(file)
    (rank,) = _numbers(file, "B")
    shape = _numbers(file, f"{rank}I")
    code, size = _numbers(file, "BI")
    known = dict(enumerate(TYPES)) if version > 3 else ITEM_SIZES
    if code not in known:
        raise CheckpointError(
            f"{path}: {name} has the unknown type {code}; expected one of {', '.join(map(str, known))}"
        )
    if version < 4:
        size *= code  # it was a number of values
    if math.prod(shape) * known[code].itemsize != size:
        raise CheckpointError(f"{path}: {name} has {size} bytes for {shape} of {known[code]}; copy the file again")
    tensor = PackedTensor(path, name, known[code], shape, file.tell())
    if size:  # an end beyond that of the file is noticed at its last byte
        file.seek(size - 1, 1)
        if not file.read(1):
            raise struct.error(f"{name} ends early")
    return tensor


def _numbers(file: BinaryIO, kinds: str) -> tuple[int, ...]:
    layout = struct.Struct("<" + kinds)
    return layout.unpack(file.read(layout.size))


def _text(file: BinaryIO) -> str:
    (length,) = _numbers(file, "H")
    data = file.read(length)
    if len(data) < length:
        raise struct.error("a name ends early")
    return data.rstrip(b"\0").decode()


def _configuration(path: Path, encoder: dict[str, PackedTensor]) -> dict[str, Any]:
    """Read the fields of transformers' configuration from shapes and from the number of heads."""
    needed = ("conv1/weight", "num_heads", POSITIONS, "layer_0/ffn/linear_0/weight")
    missing = [ENCODER + name for name in needed if name not in encoder]
    if missing:
        raise CheckpointError(f"{path}: no {', '.join(missing)}; convert the Whisper model again with ctranslate2>=3")
    if "activation" in encoder and int(encoder["activation"].read()) != GELU:
        raise CheckpointError(f"{path}: the encoder's activation is not GELU, as Whisper's is; take another model")
    width, mels, _ = encoder["conv1/weight"].shape
    layers = {name.split("/")[0] for name in encoder if name.startswith("layer_") and name.split("_")[1][0].isdigit()}
    return {
        "model_type": "whisper",
        "d_model": width,
        "num_mel_bins": mels,
        "encoder_layers": len(layers),
        "encoder_attention_heads": int(encoder["num_heads"].read()),
        "encoder_ffn_dim": encoder["layer_0/ffn/linear_0/weight"].shape[0],
        "max_source_positions": encoder[POSITIONS].shape[0],
    }


def _used(layers: int) -> dict[str, tuple[str, ...]]:
    """Return every variable of the encoder -> its names in transformers."""
    used: dict[str, tuple[str, ...]] = {POSITIONS: ("embed_positions.weight",)}
    blocks: list[tuple[str, str, Mapping[str, tuple[str, ...]]]] = [("", "", AROUND)]
    blocks += [(f"layer_{number}/", f"layers.{number}.", LAYER) for number in range(layers)]
    for prefix, ours, table in blocks:
        for stored, names in table.items():
            for kind in ("gamma", "beta") if "norm" in stored else ("weight", "bias"):
                used[f"{prefix}{stored}/{kind}"] = tuple(f"{ours}{name}.{VALUES[kind]}" for name in names)
    return used


def _renamed(encoder: dict[str, PackedTensor], layers: int) -> Iterator[tuple[str, PackedTensor]]:
    for stored, names in _used(layers).items():
        if stored in encoder:
            tensor = encoder[stored]
            if not tensor.stored.is_floating_point and tensor.scales is None:
                raise CheckpointError(
                    f"{tensor.file}: {tensor.name} is stored as {tensor.stored} without its scales; copy the file again"
                )
            count = tensor.shape[0] // len(names)
            for place, name in enumerate(names):
                if not name.endswith(NO_BIAS):
                    yield "model.encoder." + name, tensor.rows(place * count, count)
