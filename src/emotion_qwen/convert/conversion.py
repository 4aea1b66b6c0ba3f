"""Convert a Qwen2.5-VL checkpoint to a folder of this package, without loading a model.

Tensors are copied from the source's shards into new ones, one shard at a time; the merger is written twice, as general
and as emotion expert; the gate is new, and so is the compressor of an added audio encoder. Because both experts start
equal and the gate's weights sum to 1, the converted model answers like its source, whatever the gate's output. The
target gets its name only when it is complete.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError

from emotion_qwen.convert.fresh import SEED, new_compressor, new_experts, new_gate, new_vision
from emotion_qwen.convert.layouts import EMBEDDING, PART_NAMES, TIED_HEAD, KeyMap, detect_layout, key_map
from emotion_qwen.convert.shards import (
    OutputTensor,
    ReadableTensor,
    StoredTensor,
    read_tensors,
    same_bytes,
    write_folder,
)
from emotion_qwen.convert.whisper import WhisperSource
from emotion_qwen.errors import CheckpointError, SettingsError, unknown_choice
from emotion_qwen.model.configuration import EmotionQwenConfig, EmotionQwenVisionConfig
from emotion_qwen.model.folder import read_json, staged_folder
from emotion_qwen.model.parts import ACTIONS, AUDIO_COMPRESSOR, AUDIO_ENCODER, GATE, GENERAL, VISION
from emotion_qwen.model.source import missing_processor_files

ARCHITECTURE = "EmotionQwenForConditionalGeneration"
DTYPE_NAMES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
# Copied byte for byte when the source has them; Python files never are.
COMPANIONS = (
    "generation_config.json", "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json",
    "chat_template.json", "chat_template.jinja", "tokenizer.json", "tokenizer_config.json", "tokenizer.model",
    "vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json", "LICENSE", "NOTICE",
)  # fmt: skip
# These fields of the source's config.json are replaced, everything else is kept.
OWN_FIELDS = ("model_type", "architectures", "auto_map", "transformers_version")


@dataclass(frozen=True)
class KeyReport:
    """Report of a conversion (or with `dry_run`, of what it would do) for every key.

    Attributes:
        source: the source folder.
        target: the written folder.
        layout: "hub", "nested" or "ours"; of a text-only source its kind, for example "llama" or "llama GGUF".
        written: False after a dry run.
        parts: part of the model -> (tensors, parameters).
        cloned: tensors of the emotion expert that are copies of the source's merger, with that source.
        fresh: tensors that are new: of the gate, of the audio tower's compressor, of experts and vision transformer.
        gate_seed: seed of the new gate; None if the gate is the source's.
        dropped: source keys not carried over, with the reason.
        dtypes: dtype -> number of tensors as written.
        size: bytes of all tensors.
        weights: names of the weight files.
        companions: files copied byte for byte.
        missing: files of tokenizer and image processor that the source lacks; the result cannot be used without them.
        whisper: the folder of the audio encoder, if one was given.
        vision: for a text-only source, the folder of the vision transformer; None if it is new.
        tokens: special token that a text-only source lacks -> source of its embedding row.
    """

    source: str
    target: str
    layout: str
    written: bool
    parts: dict[str, tuple[int, int]]
    cloned: dict[str, str]
    fresh: tuple[str, ...]
    gate_seed: int | None
    dropped: dict[str, str]
    dtypes: dict[str, int]
    size: int
    weights: tuple[str, ...]
    companions: tuple[str, ...]
    missing: tuple[str, ...] = ()
    whisper: str | None = None
    vision: str | None = None
    tokens: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Give the report as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


@dataclass(frozen=True)
class WriteOptions:
    """How a converted folder is written; see `convert`."""

    dtype: str | None = None
    max_shard_size: float = 5e9
    dry_run: bool = False
    finish: Callable[[Path], object] = lambda folder: None
    progress: Callable[[int, int], None] = lambda done, total: None

    def check(self, target: Path) -> None:
        """Refuse what cannot be written, before anything is read.

        Raises:
            SettingsError: an unknown dtype.
            CheckpointError: the target is not empty.
        """
        if self.dtype is not None and self.dtype not in DTYPE_NAMES:
            raise SettingsError(unknown_choice("dtype", self.dtype, DTYPE_NAMES))
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise CheckpointError(f"target {target} is not empty; choose another name or remove it first")


def convert(
    source: Path,
    target: Path,
    *,
    fresh_gate: bool = False,
    dtype: str | None = None,
    max_shard_size: float = 5e9,
    dry_run: bool = False,
    whisper: WhisperSource | None = None,
    finish: Callable[[Path], object] = lambda folder: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> KeyReport:
    """Convert a checkpoint folder.

    Args:
        source: folder with config.json and safetensors weights: Qwen2.5-VL in either of its key layouts, or a folder of
            this package (which is checked and copied).
        target: folder to make; it must not exist or be empty.
        fresh_gate: start a new gate although the source has one.
        dtype: "bfloat16", "float16" or "float32"; None keeps every tensor's own.
        max_shard_size: bytes at which an output shard is full.
        dry_run: check everything and report, but write nothing.
        whisper: the encoder of a Whisper checkpoint, to add audio input.
        finish: called with the folder when all is written and before it gets its name; adds files or changes them.
        progress: called with (tensors written, all tensors).

    Returns:
        The report for every key.

    Raises:
        CheckpointError: the source is incomplete, damaged (including NaN or infinite values), pickled, quantised or
            does not fit its config.json; the target is not empty; or the disk is full. Nothing is left under the
            target's name then.
        SettingsError: the dtype is unknown.
    """
    source, target = Path(source), Path(target)
    options = WriteOptions(dtype, max_shard_size, dry_run, finish, progress)
    options.check(target)
    mapping, tensors = read_mapped(source, fresh_gate=fresh_gate, whisper=whisper)
    facts = {"missing": tuple(missing_processor_files(source)), "whisper": whisper.folder if whisper else None}
    return write_mapped(source, target, mapping, tensors, options, companions=COMPANIONS, **facts)


def read_mapped(
    source: Path, *, fresh_gate: bool = False, whisper: WhisperSource | None = None
) -> tuple[KeyMap, dict[str, ReadableTensor]]:
    """Map a checkpoint folder onto our model; only headers are read.

    Args:
        source, fresh_gate, whisper: see `convert`.

    Returns:
        The key map, and name in our model -> where its values are read; those of `KeyMap.fresh` have no source.

    Raises:
        CheckpointError: as of `convert`, as far as names and shapes tell.
    """
    values = read_config(source)
    stored = read_tensors(source)
    detect_layout(stored)  # a checkpoint of another layout is refused by its keys before its config.json is judged
    shapes = {key: tensor.shape for key, tensor in stored.items()}
    mapping = key_map(shapes, parse_config(values), fresh_gate=fresh_gate, whisper=whisper)
    _check_tied(mapping, stored)
    audio = whisper.stored if whisper else {}
    return mapping, {
        name: (audio if audio and name.startswith(AUDIO_ENCODER) else stored)[key]
        for name, key in mapping.sources.items()
    }


def write_mapped(
    source: Path,
    target: Path,
    mapping: KeyMap,
    tensors: Mapping[str, ReadableTensor],
    options: WriteOptions,
    *,
    companions: Sequence[str],
    **facts: Any,
) -> KeyReport:
    """Write the model that a key map describes, or with `dry_run` only report it.

    Args:
        source: of the report; companion files are copied from this folder.
        target: see `convert`.
        mapping: of every tensor of the result.
        tensors: name in our model -> where its values are read; those of `mapping.fresh` are made here.
        options: of the writing.
        companions: names of files that are copied where the source has them.
        facts: further fields of the report.

    Raises:
        CheckpointError: as of `convert`.
    """
    outputs = output_tensors(mapping, tensors, options.dtype)
    copied = tuple(name for name in companions if (source / name).is_file())
    weights: list[str] = []
    if not options.dry_run:
        config = finished_config(mapping.config, options.dtype)
        with staged_folder(target, sum(tensor.nbytes for tensor in outputs)) as folder:
            weights = write_folder(folder, outputs, options.max_shard_size, options.progress)
            config.save_pretrained(folder)
            for name in copied:
                shutil.copyfile(source / name, folder / name)
            options.finish(folder)
    return _report((source, target), mapping, outputs, weights, companions=copied, **facts)


def read_config(source: Path) -> dict[str, Any]:
    """Read the source's config.json unchanged.

    Raises:
        CheckpointError: no such folder or file, not JSON, another model, or a quantised one.
    """
    if not source.is_dir():
        raise CheckpointError(
            f"source {str(source)!r} is not a folder; a model on the hub is downloaded first: "
            f"`hf download {source} --local-dir FOLDER`"
        )
    try:
        values = read_json(source / "config.json")
    except FileNotFoundError as error:
        raise CheckpointError(f"{source}: no config.json; give the folder that contains it and the weights") from error
    if values.get("quantization_config"):
        method = values["quantization_config"].get("quant_method", "unknown method")
        raise CheckpointError(
            f"{source}: a quantised checkpoint ({method}); convert the unquantised one, then quantise"
        )
    return values


def parse_config(values: dict[str, Any]) -> EmotionQwenConfig:
    """Build our configuration from a source's config.json, flat or nested; every value of the source is kept.

    Args:
        values: the parsed config.json.

    Raises:
        CheckpointError: another kind of model, or values that no such model can have.
    """
    kind = values.get("model_type")
    if kind not in ("qwen2_5_vl", EmotionQwenConfig.model_type):
        raise CheckpointError(
            f"model_type is {kind!r}, expected 'qwen2_5_vl' or {EmotionQwenConfig.model_type!r}; "
            "only Qwen2.5-VL has the vision transformer that this model is built on"
        )
    kept = {key: value for key, value in values.items() if key not in OWN_FIELDS}
    for part in ("text_config", "vision_config"):
        if isinstance(kept.get(part), dict):
            kept[part] = {key: value for key, value in kept[part].items() if key != "model_type"}
    try:
        vision = EmotionQwenVisionConfig(**kept.get("vision_config") or {})
        # The published widths give 16 heads and 320; another width gets the same proportions.
        kept.setdefault("gate_num_heads", vision.num_heads)
        kept.setdefault("gate_hidden_size", max(vision.hidden_size // 4, 1))
        return EmotionQwenConfig(**kept)
    except (StrictDataclassError, TypeError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"config.json does not describe a Qwen2.5-VL model: {error}; take the original file"
        ) from error


def _check_tied(mapping: KeyMap, stored: dict[str, StoredTensor]) -> None:
    if mapping.dropped.get(TIED_HEAD) is None:
        return
    embedding = mapping.sources[EMBEDDING]
    if not same_bytes(stored[TIED_HEAD], stored[embedding]):
        raise CheckpointError(
            f"{TIED_HEAD} differs from {embedding} although config.json sets tie_word_embeddings; "
            "set it to false there to keep both"
        )


def output_tensors(
    mapping: KeyMap, tensors: Mapping[str, ReadableTensor], dtype: str | None = None
) -> list[OutputTensor]:
    """Return the tensors of the converted model in order; new ones get the most frequent dtype of the source.

    Args:
        mapping, tensors: of `read_mapped`.
        dtype: see `convert`.
    """
    usual = Counter(tensor.dtype for tensor in tensors.values()).most_common(1)[0][0]
    new = _new_tensors(mapping)
    outputs = []
    for name, shape in mapping.shapes.items():
        source = new[name] if name in mapping.fresh else tensors[name]
        kept = usual if name in mapping.fresh else source.dtype
        outputs.append(OutputTensor(name, DTYPE_NAMES[dtype] if dtype else kept, shape, source))
    return outputs


def _new_tensors(mapping: KeyMap) -> dict[str, torch.Tensor]:
    """Make the tensors that no source has, part by part."""
    config = mapping.config
    makers: dict[str, Callable[[], dict[str, torch.Tensor]]] = {
        GATE: lambda: new_gate(config),
        GENERAL: lambda: new_experts(config),
        VISION: lambda: new_vision(config),
    }
    if config.hearing is not None:
        hearing = config.hearing
        makers[AUDIO_COMPRESSOR] = lambda: new_compressor(hearing, config.text_config.hidden_size)
    new: dict[str, torch.Tensor] = {}
    for prefix, make in makers.items():
        if any(name.startswith(prefix) for name in mapping.fresh):
            new.update(make())
    return new


def finished_config(config: EmotionQwenConfig, dtype: str | None = None) -> EmotionQwenConfig:
    """Set the fields of a converted model that its source cannot have; see `convert` for `dtype`."""
    config.architectures = [ARCHITECTURE]
    if dtype:
        parts: tuple[Any, ...] = (config, config.text_config, config.vision_config)
        for part in (*parts, *([config.hearing] if config.hearing else [])):
            part.dtype = DTYPE_NAMES[dtype]
    return config


def _report(
    folders: tuple[Path, Path], mapping: KeyMap, tensors: list[OutputTensor], weights: list[str], **facts: Any
) -> KeyReport:
    parts = {}
    hears, measures = mapping.config.hearing is not None, mapping.config.facial_actions is not None
    for part, prefix in PART_NAMES.items():
        if (part.startswith("audio") and not hears) or (prefix == ACTIONS and not measures):
            continue
        counts = [torch.Size(shape).numel() for name, shape in mapping.shapes.items() if name.startswith(prefix)]
        parts[part] = (len(counts), sum(counts))
    return KeyReport(
        source=str(folders[0]),
        target=str(folders[1]),
        layout=mapping.layout,
        written=bool(weights),
        parts=parts,
        cloned={name: mapping.sources[name] for name in mapping.cloned},
        fresh=mapping.fresh,
        gate_seed=SEED if any(name.startswith(GATE) for name in mapping.fresh) else None,
        dropped=mapping.dropped,
        dtypes=dict(Counter(str(tensor.dtype).removeprefix("torch.") for tensor in tensors)),
        size=sum(tensor.nbytes for tensor in tensors),
        weights=tuple(weights),
        **facts,
    )
