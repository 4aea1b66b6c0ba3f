"""The settings of a training run, and what follows from them: data and trained parts. `--dry-run` prints it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field

from emotion_qwen.convert.loading import load_config
from emotion_qwen.data.mixture import Mixture, Part
from emotion_qwen.data.parts import part_reader, read_part
from emotion_qwen.errors import SettingsError
from emotion_qwen.extensions import beside
from emotion_qwen.model import EmotionQwenConfig, EmotionQwenForConditionalGeneration, preset
from emotion_qwen.model.parts import TRAINED
from emotion_qwen.model.presets import NANO_HEARING
from emotion_qwen.model.source import NANO_NAME, find_model
from emotion_qwen.settings import Settings, read_yaml
from emotion_qwen.training.answer_settings import PreferenceSettings, ReinforcementSettings
from emotion_qwen.training.budgets import ClipBudgets
from emotion_qwen.training.rewards import check_reward
from emotion_qwen.training.stages import PREFERENCE, REINFORCEMENT, Stage, stage

GIB = 1024**3


def native_dtype() -> torch.dtype:
    """Return bfloat16 if this machine's GPU or processor multiplies it natively, else float32."""
    gpu = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if gpu or torch.cpu._is_avx512_bf16_supported() else torch.float32


class PartOfData(Settings):
    """One part of the data."""

    name: str
    kind: str = "manifest"
    """`manifest`, a kind of an installed package, or `FILE.py:NAME`, with FILE next to these settings or in the
    working directory."""
    domain: Literal["emotion", "general"]
    path: Path | None = None
    """Relative to `folder`."""
    split: str = "train"
    weight: float = Field(1.0, gt=0)
    """Share within its domain."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the kind: the keyword-only parameters of its reader, see `data.parts`."""


class BatchSettings(Settings):
    """How samples are collated into batches."""

    samples: int = Field(8, ge=1)
    """Samples per forward pass on one device."""
    accumulate: int = Field(1, ge=1)
    pack: int | None = Field(None, ge=16)
    """Tokens per packed row, into which the samples of a batch are packed; without it, rows are padded."""
    row_tokens: int | None = Field(None, ge=16)
    """Tokens of one row per forward pass, filled with as many samples as fit; replaces `samples` and `pack`."""
    share_prefixes: bool = False
    """Store a beginning that samples of a packed row share, such as a common question, only once; needs `pack`."""
    max_tokens: int | None = Field(None, ge=16)
    """Longer samples are rejected, never truncated."""
    max_rejected: int = Field(0, ge=0)
    by_length: bool = False
    """Batch samples of similar length."""
    evaluate_batch: int | None = Field(None, ge=1)
    """Samples per padded batch of validation. Default: 32, or `samples` if that is more; with `row_tokens` 1, which
    needs no more memory than training."""
    workers: int = Field(0, ge=0)

    @property
    def validation_samples(self) -> int:
        """Samples per padded batch of validation."""
        return self.evaluate_batch or (1 if self.row_tokens else max(self.samples, 32))


class OptimSettings(Settings):
    """Optimizer settings."""

    name: Literal["adamw", "muon"] = "adamw"
    learning_rate: float | None = Field(None, gt=0)
    """Default: that of the stage."""
    rates: dict[str, float] = Field(default_factory=dict)
    """Part -> learning rate."""
    weight_decay: float = Field(0.05, ge=0)
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    warmup: float = Field(0.03, ge=0, lt=1)
    """As a share of the steps."""
    steps: int = Field(..., ge=1)
    max_grad_norm: float = Field(1.0, gt=0)
    beta2: float = Field(0.95, gt=0, lt=1)
    length_exponent: float = Field(0.0, ge=0, le=1)
    """The weight of a supervised token is the length of its answer to the power of minus this: 0 weights all tokens
    equally, so that long answers dominate; 1 weights all answers equally, so that labels of one word count as much as
    descriptions."""


class AdapterSettings(Settings):
    """Low-rank adapters of the language model."""

    rank: int = Field(64, ge=1)
    alpha: int = Field(64, ge=1)
    dropout: float = Field(0.05, ge=0, lt=1)
    quantize: Literal["nf4", "int8"] | None = None
    """QLoRA: the frozen language model in 4 or 8 bits."""
    new_tokens: bool = False
    """Also train the embedding rows of the plain tokens that the tokenizer was given (`convert --tokens`)."""


class StrategySettings(Settings):
    """Distribution of the work over several devices. The launcher (`torchrun`) sets the number of processes."""

    kind: Literal["ddp", "fsdp", "deepspeed"] = "ddp"
    config: Path | None = None
    """DeepSpeed configuration (JSON)."""


class GateSettings(Settings):
    """An objective for the gate; off by default."""

    objective: Literal["none", "balance", "domain"] = "none"
    weight: float = Field(0.0, ge=0)


class TrainSettings(Settings):
    """The settings of a run of one stage, read by `emotion-qwen train FILE key=value ...`."""

    stage: str
    start: str
    """Model or adapter folder, "nano" for the shipped one, hub name, or `preset:NAME` for random weights."""
    size: str | None = None
    """Named size (`nano`, `3b`, `7b`, ...) with which `--dry-run` plans while the start does not exist yet."""
    processor: str | None = None
    """Folder of the processor. Default: that of the start."""
    output: Path
    folder: Path = Path()
    """Folder from which relative paths of the data start."""
    data: list[PartOfData] = Field(..., min_length=1)
    validation: list[PartOfData] = Field(default_factory=list)
    trains: list[str] | None = None
    """Trained parts that replace those of the stage."""
    gate_mode: Literal["learned", "general", "emotion"] | None = None
    replay: float | None = Field(None, ge=0, le=1)
    """Share of general samples. Default: that of the stage."""
    batch: BatchSettings = Field(default_factory=lambda: BatchSettings.of({}))
    optim: OptimSettings
    adapter: AdapterSettings | None = None
    gate: GateSettings = Field(default_factory=lambda: GateSettings.of({}))
    reinforcement: ReinforcementSettings | None = None
    """For the stage `reinforcement`. Default: the rewards `label` and `form`."""
    preference: PreferenceSettings | None = None
    """For the stage `preference`."""
    clip: ClipBudgets = Field(default_factory=lambda: ClipBudgets.of({}))
    """Limits for videos and pictures. Default: those of the processor."""
    features: Path | None = None
    """Folder of cached patch features of the frozen vision transformer."""
    capture: bool = True
    """Detect and capture the faces of media given by path, as in inference."""
    strategy: StrategySettings = Field(default_factory=lambda: StrategySettings.of({}))
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Default: mixed precision in bfloat16 if the device multiplies it natively, as it is much slower otherwise."""
    frozen: Literal["auto", "float32", "bfloat16"] = "auto"
    """Dtype of frozen parts. Default: bfloat16 if products and the weights of the start are in bfloat16, so that
    nothing is lost, else float32. Trained parts are always float32."""
    attention: Literal["sdpa", "flex", "flash"] = "sdpa"
    """Attention implementation: that of torch, its compiled flex attention, or the package flash-attn (GPU only)."""
    checkpointing: bool = False
    """Recompute activations in the backward pass."""
    save_every: int = Field(100, ge=1)
    keep: int = Field(2, ge=1)
    evaluate_every: int | None = Field(None, ge=1)
    evaluate_samples: int = Field(512, ge=1)
    log_every: int = Field(10, ge=1)
    seed: int = 0

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of products in a training step."""
        return native_dtype() if self.precision == "auto" else getattr(torch, self.precision)

    @property
    def learns_from_answers(self) -> bool:
        """Whether the stage learns from whole answers rather than from tokens to repeat."""
        return self.stage in (REINFORCEMENT, PREFERENCE)

    @property
    def rewarded(self) -> ReinforcementSettings:
        """The settings of the stage `reinforcement`, or its defaults."""
        return self.reinforcement or ReinforcementSettings.of({})

    @property
    def copies_start(self) -> bool:
        """Whether the run keeps a frozen copy of its start, because no adapter can be switched off."""
        compared = self.stage == PREFERENCE or self.rewarded.kl > 0
        return self.learns_from_answers and self.adapter is None and compared

    @property
    def updates(self) -> int:
        """Steps of the optimizer with the same samples."""
        return self.rewarded.updates if self.stage == REINFORCEMENT else 1

    @property
    def plan(self) -> Stage:
        """The stage with this run's parts, gate mode and replay share."""
        chosen = stage(self.stage)
        changes = {"trains": self.trains and tuple(self.trains), "gate": self.gate_mode, "replay": self.replay}
        rate = self.optim.learning_rate
        values = {**chosen.__dict__, **{k: v for k, v in changes.items() if v is not None}}
        return Stage(**{**values, "learning_rate": rate or chosen.learning_rate})


def read_settings(path: Path, overrides: tuple[str, ...] = ()) -> TrainSettings:
    """Read a run's settings.

    Args:
        path: YAML file.
        overrides: texts such as `optim.learning_rate=2.0e-5`.

    Raises:
        SettingsError: wrong key or value; unknown stage, part, or kind of data.
    """
    values = read_yaml(path, overrides)
    rewards = (values.get("reinforcement") or {}).get("rewards")
    for reward in rewards if isinstance(rewards, list) else ():
        if isinstance(reward, dict) and isinstance(reward.get("name"), str):
            reward["name"] = beside(reward["name"], path.parent)
    for parts in (values.get("data"), values.get("validation")):
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict) and isinstance(part.get("kind"), str):
                part["kind"] = beside(part["kind"], path.parent)
    settings = TrainSettings.of(values, str(path))
    for kind in dict.fromkeys(part.kind for part in (*settings.data, *settings.validation)):
        part_reader(kind)
    for part in (*settings.plan.trains, *settings.optim.rates):
        if part not in TRAINED:
            raise SettingsError(f"{path}: unknown part {part!r}; expected one of {', '.join(TRAINED)}")
    if settings.features is not None and "vision" in settings.plan.trains:
        raise SettingsError(
            f"{path}: features are cached while the vision transformer learns; cached features would be stale, "
            "remove one of `features` and `vision`"
        )
    if settings.batch.share_prefixes and settings.batch.pack is None:
        raise SettingsError(f"{path}: batch.share_prefixes applies to packed rows; set batch.pack too, for example 512")
    _check_rows(settings, path)
    _check_precision(settings, path)
    if settings.strategy.kind == "deepspeed":
        check_deepspeed(settings.strategy.config)
    if settings.learns_from_answers:
        _check_answer_stage(settings, path)
    for block, name in ((settings.reinforcement, REINFORCEMENT), (settings.preference, PREFERENCE)):
        if block is not None and settings.stage != name:
            raise SettingsError(f"{path}: `{name}` is for the stage {name}, not {settings.stage}; remove the block")
    return settings


def _check_rows(settings: TrainSettings, path: Path) -> None:
    """Refuse settings that cannot be combined with rows filled from a buffer.

    Raises:
        SettingsError: a setting that such rows replace.
    """
    batch = settings.batch
    if batch.row_tokens is None:
        return
    replaced = {name for name in ("samples", "pack", "by_length", "share_prefixes") if name in batch.model_fields_set}
    if given := [f"batch.{name}" for name in sorted(replaced) if getattr(batch, name)]:
        raise SettingsError(
            f"{path}: {', '.join(given)} does not apply with batch.row_tokens, which takes as many samples as fit into "
            "one row; remove one of them"
        )


def _check_precision(settings: TrainSettings, path: Path) -> None:
    """Refuse dtypes and attention implementations that cannot be combined.

    Raises:
        SettingsError: such a combination.
    """
    if settings.frozen == "bfloat16" and settings.dtype != torch.bfloat16:
        raise SettingsError(
            f"{path}: frozen=bfloat16 needs products in bfloat16, here they are in "
            f"{str(settings.dtype).removeprefix('torch.')}; set precision=bfloat16"
        )
    if settings.attention == "flash" and settings.batch.pack:
        raise SettingsError(
            f"{path}: attention=flash separates the samples of a single row only, and batch.pack makes several; use "
            "batch.row_tokens"
        )
    if settings.attention == "flash" and settings.dtype != torch.bfloat16:
        raise SettingsError(f"{path}: attention=flash computes in bfloat16 only; set precision=bfloat16")


def _check_answer_stage(settings: TrainSettings, path: Path) -> None:
    """Check the settings of a stage that learns from whole answers.

    Raises:
        SettingsError: a setting that such a stage cannot follow, or an unknown reward.
    """
    batch, optim = settings.batch, settings.optim
    unused = {
        "batch.pack": batch.pack, "batch.row_tokens": batch.row_tokens,
        "batch.share_prefixes": batch.share_prefixes, "batch.by_length": batch.by_length,
        "gate.objective": settings.gate.objective != "none", "optim.length_exponent": optim.length_exponent,
        "strategy.kind": settings.strategy.kind != "ddp", "attention": settings.attention != "sdpa",
    }  # fmt: skip
    if given := [name for name, value in unused.items() if value]:
        raise SettingsError(f"{path}: the stage {settings.stage} does not use {', '.join(given)}; remove it")
    if settings.stage == PREFERENCE:
        return
    names = [reward.key for reward in settings.rewarded.rewards]
    for reward in settings.rewarded.rewards:
        check_reward(reward.name, reward.options)
        if names.count(reward.key) > 1:
            raise SettingsError(f"{path}: reward {reward.key!r} is there twice; give it once, with one weight")
    for name, number in (("optim.steps", optim.steps), ("save_every", settings.save_every)):
        if number % settings.rewarded.updates:
            raise SettingsError(
                f"{path}: {name} {number} is no multiple of reinforcement.updates {settings.rewarded.updates}, so that "
                "a checkpoint would stand between the updates of one draw; change one of them"
            )


def open_parts(settings: TrainSettings, parts: list[PartOfData]) -> list[Part]:
    """Open the parts of the data.

    Raises:
        DataError: a file is missing or broken.
    """
    opened = []
    for part in parts:
        path = None if part.path is None else settings.folder / part.path
        opened.append(read_part(part.kind, part.name, part.domain, path, part.split, **part.options))
    return opened


def absent_data(settings: TrainSettings) -> list[str]:
    """Return the paths of the data, validation included, that do not exist."""
    paths = [settings.folder / part.path for part in (*settings.data, *settings.validation) if part.path is not None]
    return list(dict.fromkeys(str(path) for path in paths if not path.exists()))


def shares_of(parts: list[PartOfData], replay: float) -> list[float]:
    """Return the share of every part: `replay` in total for the general parts, the rest for the emotion parts.

    If one domain has no part, the other gets its share.
    """
    whole = {domain: sum(p.weight for p in parts if p.domain == domain) for domain in ("general", "emotion")}
    of_domain = {"general": replay, "emotion": 1 - replay}
    if not whole["general"] or not whole["emotion"]:
        of_domain = {"general": 1.0, "emotion": 1.0}
    return [of_domain[p.domain] * p.weight / whole[p.domain] for p in parts]


def make_mixture(settings: TrainSettings, processes: int) -> Mixture:
    """Build the mixture of a run, with as many items as its steps need, or an endless one for `batch.row_tokens`.

    Raises:
        DataError: a file is missing or broken, or a part is empty.
    """
    used = [(p, s) for p, s in zip(settings.data, shares_of(settings.data, settings.plan.replay), strict=True) if s]
    batch = settings.batch
    length = settings.optim.steps // settings.updates * batch.samples * batch.accumulate * processes
    parts = open_parts(settings, [p for p, _ in used])
    return Mixture(parts, [s for _, s in used], None if batch.row_tokens else length, settings.seed)


def start_config(settings: TrainSettings) -> EmotionQwenConfig:
    """Read the configuration of a run's start without its weights.

    If the start does not exist yet (for example because it is the output of an earlier stage), the configuration of
    the run's `size` is returned.

    Raises:
        CheckpointError: the folder is missing and no size is given, or it is not a model folder.
    """
    if settings.start.startswith("preset:"):
        return preset(settings.start.removeprefix("preset:"))
    if not start_is_there(settings):
        hears = {"audio_config": NANO_HEARING if settings.size == "nano" else {}}
        return preset(str(settings.size), **(hears if "audio" in settings.plan.trains else {}))
    return load_config(find_model(settings.start, weights=False))


def start_is_there(settings: TrainSettings) -> bool:
    """Return whether a run's start exists; a run with a `size` can be planned without it."""
    start = settings.start
    return settings.size is None or start.startswith("preset:") or start == NANO_NAME or Path(start).exists()


def empty_model(config: EmotionQwenConfig) -> EmotionQwenForConditionalGeneration:
    """Build a model on the meta device, which needs no memory."""
    with torch.device("meta"):
        return EmotionQwenForConditionalGeneration(config)


def check_deepspeed(path: Path | None) -> dict[str, Any]:
    """Read a DeepSpeed configuration and refuse settings that would silently change the run.

    Raises:
        SettingsError: no file, not JSON, no ZeRO stage 2 or 3, or a scheduler (it would replace the cosine schedule).
    """
    if path is None or not path.is_file():
        raise SettingsError(f"strategy.config {str(path)!r} is no file; give DeepSpeed's JSON")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise SettingsError(f"{path}: not valid JSON ({error}); correct the file") from error
    if config.get("zero_optimization", {}).get("stage") not in (2, 3):
        raise SettingsError(f"{path}: zero_optimization.stage is missing; expected 2 or 3")
    gathers = config["zero_optimization"].get("stage3_gather_16bit_weights_on_model_save", False)
    if config["zero_optimization"]["stage"] == 3 and not gathers:
        raise SettingsError(
            f"{path}: zero_optimization.stage3_gather_16bit_weights_on_model_save is not true; set it, or the run "
            "could not save its model at the end"
        )
    if "scheduler" in config:
        raise SettingsError(
            f"{path}: it brings a scheduler ({config['scheduler'].get('type')}), which would replace "
            "optim.schedule without a word; remove it"
        )
    return config
