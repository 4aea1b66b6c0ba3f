"""Overlays: the trained changes to a model whose language model belongs to others, without any of the latter's bytes.

An overlay is a folder with `overlay.json`, one safetensors file, and the small files of a model folder. Its tensors are
of three kinds: whole tensors of our model; pairs `NAME:lora_A` (rank, in) and `NAME:lora_B` (out, rank), whose product
is added to the base's tensor NAME; and `NAME:rows` (n, hidden), new values of single rows of an embedding. `assemble`
combines base and overlay into one ordinary model folder.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field

from emotion_qwen.convert.conversion import DTYPE_NAMES
from emotion_qwen.convert.layouts import expected_shapes
from emotion_qwen.convert.shards import OutputTensor, ReadableTensor, StoredTensor, read_header, write_folder
from emotion_qwen.convert.special_tokens import place_tokens
from emotion_qwen.convert.text_model import language_tensors
from emotion_qwen.convert.text_sources import read_language
from emotion_qwen.errors import CheckpointError, SettingsError, unknown_choice
from emotion_qwen.model.configuration import EmotionQwenConfig
from emotion_qwen.model.folder import key_faults, read_json, staged_folder, weight_files
from emotion_qwen.processing.folder import load_processor
from emotion_qwen.settings import Settings

MANIFEST, TENSORS = "overlay.json", "overlay.safetensors"
FORMAT = 1
LORA_A, LORA_B, ROWS = ":lora_A", ":lora_B", ":rows"
COPIED = (
    "processor_config.json", "chat_template.jinja", "generation_config.json", "calibration.json", "training_facts.json",
    "README.md", "LICENSE", "LICENSE-WEIGHTS", "NOTICE",
)  # fmt: skip
"""Files of an overlay that are copied unchanged to the assembled folder."""
BLOCK = 2**20  # bytes hashed together


class OverlayManifest(Settings):
    """The content of `overlay.json`.

    Attributes:
        format: of the overlay, `FORMAT`.
        name: of the model that base and overlay make.
        base: SHA-256 of the base, as of `source_digest`.
        weights: SHA-256 of the safetensors file.
        dtype: in which the assembled folder stores its weights.
        lora_scale: the product of every pair is multiplied by it.
        rows: tensor -> the rows that `NAME:rows` sets, in that order.
        tokens: plain tokens added to the tokenizer, in the order of their ids.
    """

    format: int
    name: str
    base: str
    weights: str
    dtype: str = "float32"
    lora_scale: float = 1.0
    rows: dict[str, list[int]] = Field(default_factory=dict)
    tokens: list[str] = Field(default_factory=list)


@dataclass(frozen=True, eq=False)
class MergedTensor:
    """A weight with a LoRA pair merged into it: base + scale * up @ down, in fp32."""

    base: ReadableTensor
    down: ReadableTensor
    up: ReadableTensor
    scale: float
    dtype: torch.dtype = torch.float32

    @property
    def shape(self) -> tuple[int, ...]:
        """The base's."""
        return self.base.shape

    def read(self) -> torch.Tensor:
        """Merge."""
        return self.base.read().float() + self.scale * (self.up.read().float() @ self.down.read().float())


@dataclass(frozen=True, eq=False)
class PatchedTensor:
    """An embedding with new values in some rows."""

    base: ReadableTensor
    values: ReadableTensor
    rows: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        """The base's."""
        return self.base.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The base's."""
        return self.base.shape

    def read(self) -> torch.Tensor:
        """Read the base and set the rows."""
        values = self.base.read().clone()
        values[list(self.rows)] = self.values.read().to(values.dtype)
        return values


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits.

    Raises:
        CheckpointError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror}); check the path and its permissions"
        ) from error
    return digest.hexdigest()


def source_digest(source: Path) -> str:
    """Return the SHA-256 that names a base: of a file its own, of a folder that of its weight files' digests."""
    if source.is_file():
        return file_digest(source)
    digests = [file_digest(path) for path in weight_files(source)[0]]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def read_overlay(overlay: Path) -> OverlayManifest:
    """Read and check the manifest of an overlay.

    Raises:
        CheckpointError: no overlay, one of another format, or one whose weights are not those that it names.
    """
    path = overlay / MANIFEST
    try:
        manifest = OverlayManifest.of(read_json(path), str(path))
    except FileNotFoundError as error:
        raise CheckpointError(f"{overlay}: no {MANIFEST}; give a folder of an overlay") from error
    except SettingsError as error:
        raise CheckpointError(str(error)) from error
    if manifest.format != FORMAT:
        raise CheckpointError(f"{path}: format {manifest.format}, expected {FORMAT}; use the version for this package")
    if manifest.dtype not in DTYPE_NAMES:
        raise CheckpointError(f"{path}: {unknown_choice('dtype', manifest.dtype, DTYPE_NAMES)}")
    if file_digest(overlay / TENSORS) != manifest.weights:
        raise CheckpointError(f"{overlay / TENSORS}: not the file named in {MANIFEST}; copy both again")
    return manifest


def assemble(
    base: Path,
    overlay: Path,
    target: Path,
    *,
    record: Callable[[Path], object] = lambda folder: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Make one `from_pretrained` folder of a text-only base and an overlay.

    Args:
        base: folder or GGUF file, as of `read_language`; the one that the overlay was trained on.
        overlay: folder, see the module.
        target: folder to make; it must not exist or be empty.
        record: called with the folder before it gets its name; adds files.
        progress: called with (tensors written, all tensors).

    Raises:
        CheckpointError: another base than the overlay's, an overlay that does not fit it, or a disk that is full;
            nothing is left under the target's name then.
        MissingPackage: the source is a GGUF file and gguf is not installed.
    """
    manifest = read_overlay(overlay)
    digest = source_digest(base)
    if digest != manifest.base:
        raise CheckpointError(
            f"{base}: SHA-256 {digest[:16]}..., but the overlay of {manifest.name!r} was trained on "
            f"{manifest.base[:16]}...; give exactly that file"
        )
    config = EmotionQwenConfig(**read_json(overlay / "config.json"))
    language = read_language(base)
    placed = place_tokens(
        language.tokenizer, language.text["vocab_size"], language.text["max_position_embeddings"], manifest.tokens
    )
    tensors = overlaid(language_tensors(language, placed), read_header(overlay / TENSORS), config, manifest)
    number = DTYPE_NAMES[manifest.dtype]
    outputs = [OutputTensor(name, number, shape, tensors[name]) for name, shape in expected_shapes(config).items()]
    with staged_folder(target, sum(output.nbytes for output in outputs)) as folder:
        write_folder(folder, outputs, 5e9, progress)
        for name in COPIED:
            if (overlay / name).is_file():
                shutil.copyfile(overlay / name, folder / name)
        placed.tokenizer.save_pretrained(folder)
        processor = load_processor(folder)
        processor.save_pretrained(folder)
        before = _token_ids(config)
        if _token_ids(processor.name_tokens(config)) != before:
            raise CheckpointError(f"{overlay / 'config.json'}: its token ids are not those of the assembled tokenizer")
        config.dtype = number
        config.save_pretrained(folder)
        record(folder)


def overlaid(
    base: Mapping[str, ReadableTensor],
    stored: Mapping[str, StoredTensor],
    config: EmotionQwenConfig,
    manifest: OverlayManifest,
) -> dict[str, ReadableTensor]:
    """Put every tensor of the overlay in its place.

    Args:
        base: the language model, by our names.
        stored: tensors of the overlay.
        config: of the result.
        manifest: of the overlay.

    Returns:
        Name in our model -> where its values are read.

    Raises:
        CheckpointError: tensors that are missing, unknown or of another shape; all of them are named.
    """
    tensors, wrong = dict(base), []
    for name, tensor in stored.items():
        plain, _, kind = name.partition(":")
        if not kind:
            tensors[name] = tensor
        elif plain not in base or (kind in ("lora_A", "lora_B") and plain + _partner(kind) not in stored):
            wrong.append(name)
        elif name.endswith(LORA_B):
            down, shape = stored[plain + LORA_A], base[plain].shape
            if (tensor.shape[0], down.shape[1]) != shape or tensor.shape[1] != down.shape[0]:
                wrong.append(f"{name} {tensor.shape} with {down.shape} for {shape}")
            tensors[plain] = MergedTensor(base[plain], down, tensor, manifest.lora_scale)
        elif name.endswith(ROWS):
            rows, (count, *inner) = manifest.rows.get(plain, []), base[plain].shape
            if tensor.shape != (len(rows), *inner) or not all(0 <= row < count for row in rows):
                wrong.append(f"{name} {tensor.shape} for {len(rows)} rows of {base[plain].shape}")
            tensors[plain] = PatchedTensor(base[plain], tensor, tuple(rows))
        elif not name.endswith(LORA_A):
            wrong.append(name)
    expected = expected_shapes(config)
    wrong += [
        f"{name} {tensors[name].shape} instead of {shape}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ]
    kinds = {
        "missing tensors": [name for name in expected if name not in tensors],
        "unknown tensors": [name for name in tensors if name not in expected],
        "unfit tensors": wrong,
    }
    if faults := key_faults(kinds, 6):
        raise CheckpointError(f"overlay {manifest.name!r} and its base are incompatible: {faults}")
    return tensors


def _token_ids(config: EmotionQwenConfig) -> dict[str, int | None]:
    return {name: value for name, value in config.to_dict().items() if name.endswith("_token_id")}


def _partner(kind: str) -> str:
    return LORA_B if kind == "lora_A" else LORA_A
