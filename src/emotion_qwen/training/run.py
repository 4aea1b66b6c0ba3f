"""Run one stage: from settings to a model folder with the proof of which parts changed."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import TrainingArguments, set_seed

from emotion_qwen.convert.loading import load_model
from emotion_qwen.data.collate import SampleCollator
from emotion_qwen.data.feature_filling import FeatureFiller
from emotion_qwen.data.features import FeatureCache
from emotion_qwen.data.mixture import LengthGrouped, Mixture, OnePass, Part
from emotion_qwen.data.rows import RowStream, saved_states
from emotion_qwen.errors import CheckpointError, DataError, SettingsError, TrainingError
from emotion_qwen.faces import CenterFaceDetector
from emotion_qwen.model import EmotionQwenForConditionalGeneration, preset
from emotion_qwen.model.source import find_model, locate
from emotion_qwen.prepare import prepare_sample
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.processing.folder import load_processor
from emotion_qwen.records import Sample
from emotion_qwen.training.adapters import add_adapter, added_rows, load_quantized
from emotion_qwen.training.answers import AnswerTrainer, PromptCollator, RepeatedSteps
from emotion_qwen.training.checkpoint import POSITION, STAGING, latest_checkpoint, read_position, save_model
from emotion_qwen.training.optimizer import make_optimizer
from emotion_qwen.training.plan import AdapterSettings, TrainSettings, make_mixture, open_parts
from emotion_qwen.training.precision import choose_attention, frozen_dtype, loading_dtype, set_dtypes, stored_dtype
from emotion_qwen.training.preference import PreferenceTrainer
from emotion_qwen.training.ranks import on_rank_zero, without_worker
from emotion_qwen.training.reinforcement import ReinforcementTrainer
from emotion_qwen.training.speed import Speedometer, peak_flops
from emotion_qwen.training.stages import PREFERENCE, REINFORCEMENT, enter_stage, gathered_state, part_digests
from emotion_qwen.training.trainer import StageTrainer, StopOnSignal, exact_share

REJECTED = "rejected.jsonl"
TRAINERS: dict[str, type[StageTrainer]] = {REINFORCEMENT: ReinforcementTrainer, PREFERENCE: PreferenceTrainer}
"""Stage -> its trainer; all others use `StageTrainer`."""


@dataclass(frozen=True)
class Outcome:
    """The result of a run.

    Attributes:
        folder: of the trained model; the newest checkpoint if the run was stopped.
        steps: total number of steps.
        signal: the signal that stopped it; None if it finished.
    """

    folder: Path
    steps: int
    signal: int | None


def run_stage(settings: TrainSettings, resume: bool = False) -> Outcome:
    """Train one stage.

    Args:
        settings: of the run.
        resume: continue from the newest checkpoint in `settings.output`, if there is one.

    Raises:
        SettingsError: the output already contains a run and `resume` is not set, or a part does not exist.
        CheckpointError: the start does not fit.
        DataError: data cannot be read, or differ from those of the checkpoint.
        TrainingError: the loss is not finite, a checkpoint cannot be written, or a frozen part has changed.
    """
    check_strategy(settings)
    last = _checkpoint_to_resume(settings, resume)
    if last is None and os.environ.get("RANK", "0") == "0":
        (settings.output / REJECTED).unlink(missing_ok=True)  # left by a run that ended before its first checkpoint
    set_seed(settings.seed)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    mixture = make_mixture(settings, processes)
    position = None if last is None else read_position(last)
    if position is not None:
        mixture.check_position(position)
    model, processor = load_start(settings)
    choose_attention(model, settings.attention)
    learning = enter_stage(model, settings.plan)
    frozen = frozen_dtype(settings, stored_dtype(settings))
    set_dtypes(model, frozen)
    proves = settings.adapter is None and settings.strategy.kind != "deepspeed"  # its shards cannot be hashed
    before = part_digests(model) if proves else None
    if settings.adapter is not None:
        rows = added_rows(processor.tokenizer) if settings.adapter.new_tokens else ()
        model = add_adapter(model, undropped(settings), learning, rows)
        set_dtypes(model, frozen)  # adapters are trained
    trainer = make_trainer(settings, model, processor, mixture, position)
    try:
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    except DataError as error:
        raise DataError(without_worker(str(error))) from error
    stop = next(c for c in trainer.callback_handler.callbacks if isinstance(c, StopOnSignal))
    steps = trainer.state.global_step
    if steps < settings.optim.steps:
        return Outcome(latest_checkpoint(settings.output) or settings.output, steps, stop.received)
    _finish(settings, trainer, processor, learning, before)
    return Outcome(settings.output / "model", steps, None)


def undropped(settings: TrainSettings) -> AdapterSettings:
    """Return the settings of the adapters, without dropout in stages that compare likelihoods of the same answer."""
    assert settings.adapter is not None
    return settings.adapter.model_copy(update={"dropout": 0.0}) if settings.learns_from_answers else settings.adapter


def check_strategy(settings: TrainSettings) -> None:
    """Refuse a strategy that would silently be replaced by another one.

    Raises:
        SettingsError: FSDP without a GPU, which Accelerate turns into DDP, or without a launcher; several processes in
            a stage that learns from whole answers.
    """
    if settings.learns_from_answers and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingsError(
            f"the stage {settings.stage} runs in one process, not {os.environ['WORLD_SIZE']}; start it without a "
            "launcher, and raise batch.accumulate for larger steps"
        )
    if settings.strategy.kind != "fsdp":
        return
    if not torch.cuda.is_available():
        raise SettingsError(
            "strategy.kind=fsdp needs GPUs: without one, Accelerate would silently run DDP; use strategy.kind=ddp here"
        )
    if "WORLD_SIZE" not in os.environ:
        raise SettingsError(
            "strategy.kind=fsdp needs a launcher that starts one process per GPU: "
            "torchrun --nproc-per-node GPUS -m emotion_qwen.cli train ..."
        )


def _checkpoint_to_resume(settings: TrainSettings, resume: bool) -> Path | None:
    shutil.rmtree(settings.output / STAGING, ignore_errors=True)
    last = latest_checkpoint(settings.output)
    if last is not None and not resume:
        raise SettingsError(
            f"{settings.output} holds a run already (last: {last.name}); go on with --resume, or give another output"
        )
    return last


def load_start(settings: TrainSettings) -> tuple[EmotionQwenForConditionalGeneration, EmotionQwenProcessor]:
    """Load the model and processor that a run starts from.

    Raises:
        CheckpointError: the model or processor does not exist or does not fit.
        SettingsError: new adapters or quantised weights for a start that is itself an adapter.
    """
    processor = start_processor(settings)
    if settings.start.startswith("preset:"):
        config = processor.name_tokens(preset(settings.start.removeprefix("preset:")))
        return EmotionQwenForConditionalGeneration(config), processor
    source = find_model(settings.start)
    dtype = loading_dtype(settings, stored_dtype(settings))
    if settings.adapter is None:
        return load_model(source, dtype=dtype), processor
    if source.adapter is not None:
        raise SettingsError(
            f"start {settings.start} is itself an adapter and a new one would lose it; merge it first: "
            "emotion-qwen merge ADAPTER BASE TARGET"
        )
    folder = source.base.resolve()  # saved with the adapter as the name of its base
    if settings.adapter.quantize:
        return load_quantized(folder, settings.adapter.quantize, settings.dtype, dtype), processor
    return load_model(replace(source, base=folder), dtype=dtype), processor


def start_processor(settings: TrainSettings) -> EmotionQwenProcessor:
    """Load the processor given in the settings, or else that of the start, with the budgets of the run.

    Raises:
        CheckpointError: there is no processor.
        SettingsError: budgets that no clip fits.
    """
    if settings.processor is not None:
        folder = locate(settings.processor, weights=False)
    elif settings.start.startswith("preset:"):
        raise CheckpointError(f"start {settings.start} has no processor; give `processor`, for example processor=nano")
    else:
        folder = find_model(settings.start, weights=False).processor
    processor = load_processor(folder)
    shape = processor.image_processor
    changed = settings.clip.settings(processor.settings, shape.patch_size * shape.merge_size)
    processor.clip_settings |= changed
    return processor


class ValidationSubset(Dataset):
    """The first samples of one pass over validation parts, in a fixed order."""

    def __init__(self, parts: list[Part], count: int) -> None:
        mixture = Mixture(parts, [1.0] * len(parts), min(count, sum(len(part) for part in parts)), seed=0)
        self.samples: list[Sample] = [mixture[place].sample for place in range(len(mixture))]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, place: int) -> Sample:
        return self.samples[place]


def make_trainer(
    settings: TrainSettings,
    model: Any,
    processor: EmotionQwenProcessor,
    mixture: Mixture,
    position: dict[str, Any] | None = None,
) -> StageTrainer:
    """Build the trainer of a run, for a model whose frozen parts are already set.

    Args:
        settings: of the run.
        model: plain or with adapters.
        processor: of the model.
        mixture: the data.
        position: in the data, saved with the checkpoint from which the run is resumed.
    """
    base = model.get_base_model() if settings.adapter is not None else model
    if settings.batch.share_prefixes and (chosen := base.config.text_config._attn_implementation) != "sdpa":
        raise SettingsError(
            f"batch.share_prefixes needs the attention implementation sdpa, not {chosen}; set it to false"
        )
    if settings.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    validation = validation_subsets(settings)
    args = training_arguments(settings, bool(validation))
    visible = OnePass(mixture.parts) if mixture.length is None else mixture
    prepare = sample_preparation(settings, args, base, processor, [visible, *validation.values()])
    collate = (PromptCollator if settings.learns_from_answers else SampleCollator)(
        processor,
        base.model.get_rope_index,
        settings.batch.pack,
        settings.batch.max_tokens,
        settings.batch.max_rejected,
        prepare,
        settings.output / REJECTED,
        share_prefixes=settings.batch.share_prefixes,
        pixels=settings.dtype,
    )
    plan = settings.plan
    data: Any = mixture
    if settings.batch.by_length:
        data = LengthGrouped(mixture, settings.batch.samples, seed=settings.seed)
    if settings.updates > 1:
        data = RepeatedSteps(mixture, settings.batch.samples * settings.batch.accumulate, settings.updates)
    if settings.batch.row_tokens:
        data = row_stream(settings, args, mixture, collate, position)
    trainer = TRAINERS.get(settings.stage, StageTrainer)(
        model=model,
        args=args,
        train_dataset=data,
        eval_dataset=validation or None,
        data_collator=collate,
        compute_metrics=exact_share if validation else None,
        callbacks=[StopOnSignal(settings.updates)],
    )
    if isinstance(trainer, AnswerTrainer):
        trainer.configure(settings, processor)
    trainer.mixture, trainer.keep = mixture, settings.keep
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    trainer.speed = Speedometer(peak_flops(device) if settings.dtype == torch.bfloat16 else None)
    trainer.padding_token = processor.tokenizer.pad_token_id
    trainer.optimizer_for = lambda trained: make_optimizer(trained, settings.optim, plan.learning_rate)
    trainer.length_exponent = settings.optim.length_exponent
    trainer.gate_objective = (settings.gate.objective, settings.gate.weight)
    trainer.validation_collator = SampleCollator(processor, prepare=prepare, pixels=settings.dtype)
    return trainer


def row_stream(
    settings: TrainSettings,
    args: TrainingArguments,
    mixture: Mixture,
    collate: SampleCollator,
    position: dict[str, Any] | None,
) -> RowStream:
    """Build the rows of a run with `batch.row_tokens`, from its start or from a saved position.

    Raises:
        DataError: the position is that of a run with another number of processes or workers.
    """
    assert settings.batch.row_tokens is not None
    workers = settings.batch.workers
    states = saved_states(position, args.world_size * max(workers, 1))
    used = 0 if position is None else position["rows"]
    ranks = (args.process_index, args.world_size)
    fixed = settings.attention == "flex"  # which is compiled per length
    return RowStream(mixture, collate, settings.batch.row_tokens, *ranks, workers, used, states, fixed)


def validation_subsets(settings: TrainSettings) -> dict[str, ValidationSubset]:
    """Open the validation parts, one data set per domain."""
    by_domain: dict[str, list[Part]] = {}
    for part in open_parts(settings, settings.validation):
        by_domain.setdefault(part.domain, []).append(part)
    return {domain: ValidationSubset(parts, settings.evaluate_samples) for domain, parts in by_domain.items()}


def sample_preparation(
    settings: TrainSettings, args: TrainingArguments, base: Any, processor: EmotionQwenProcessor, sources: list[Any]
) -> Callable[[Sample], Sample]:
    """Return the function that prepares a sample's media for the processor.

    With `features`, rank 0 first fills the cache from all sources on its device, while the other ranks wait.
    """
    # A partial rather than a closure, because spawned worker processes must pickle it.
    prepare = partial(prepare_sample, detector=CenterFaceDetector() if settings.capture else None, processor=processor)
    if settings.features is None:
        return prepare
    folder, vision = settings.features, base.model.visual

    def fill() -> None:
        place = next(vision.parameters()).device
        filler = FeatureFiller(folder, vision.to(args.device), processor, prepare, settings.dtype, settings.capture)
        try:
            filler.fill(sources, settings.batch.workers)
        finally:
            vision.to(place)

    on_rank_zero(args.process_index, fill)
    return FeatureCache(folder).prepare


def training_arguments(settings: TrainSettings, evaluates: bool) -> TrainingArguments:
    """Translate the settings to `TrainingArguments` of transformers."""
    batch, optim = settings.batch, settings.optim
    every = settings.evaluate_every
    strategy: dict[str, Any] = {}
    if settings.strategy.kind == "fsdp":
        strategy["fsdp"] = True
        strategy["fsdp_config"] = {
            "version": 2,
            "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "transformer_layer_cls_to_wrap": ["Qwen2_5_VLDecoderLayer", "Qwen2_5_VLVisionBlock"],
        }
    if settings.strategy.kind == "deepspeed":
        strategy["deepspeed"] = str(settings.strategy.config)
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(settings.output / "tensorboard")
    return TrainingArguments(
        output_dir=str(settings.output),
        max_steps=optim.steps,
        per_device_train_batch_size=batch.samples,
        per_device_eval_batch_size=batch.validation_samples,
        ignore_data_skip=batch.row_tokens is not None,  # the rows themselves continue at their position
        gradient_accumulation_steps=batch.accumulate,
        learning_rate=settings.plan.learning_rate,
        lr_scheduler_type=optim.schedule,
        warmup_steps=max(round(optim.warmup * optim.steps), 1),
        weight_decay=optim.weight_decay,
        max_grad_norm=optim.max_grad_norm,
        adam_beta2=optim.beta2,
        bf16=settings.dtype == torch.bfloat16,
        use_cpu=not torch.cuda.is_available(),
        ddp_find_unused_parameters=False,  # every batch reaches every trained part
        dataloader_num_workers=batch.workers,
        logging_steps=settings.log_every,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if evaluates and every else "no",
        eval_steps=every if evaluates else None,
        eval_on_start=False,
        label_names=["labels"],
        save_strategy="steps",
        save_steps=settings.save_every,
        report_to=["tensorboard"] if importlib.util.find_spec("tensorboard") else [],
        remove_unused_columns=False,
        seed=settings.seed,
        data_seed=settings.seed,
        **strategy,
    )


def _finish(
    settings: TrainSettings,
    trainer: StageTrainer,
    processor: EmotionQwenProcessor,
    learning: tuple[str, ...],
    before: dict[str, str] | None,
) -> None:
    """Save the model completely or not at all, with the proof of which parts changed. Every rank must call it."""
    proof: dict[str, Any] = {"stage": settings.stage, "start": settings.start, "steps": settings.optim.steps}
    proof |= {"trains": list(learning), "gate": settings.plan.gate, "replay": settings.plan.replay}
    model = trainer.accelerator.unwrap_model(trainer.model)
    if before is not None:
        with trainer.fail_together("comparing the parts of the model"):
            proof |= _moved(before, part_digests(model), learning)
    proof["log"] = trainer.state.log_history
    proof[POSITION.removesuffix(".json")] = trainer.position()
    deepspeed = settings.strategy.kind == "deepspeed"
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped) if deepspeed else gathered_state(model)
    with trainer.fail_together("saving the model"):
        if trainer.args.should_save:
            save_model(settings.output, model, state, processor, settings.start, proof)


def _moved(before: dict[str, str], after: dict[str, str], learning: tuple[str, ...]) -> dict[str, Any]:
    """Compare digests of the model's parts before and after.

    Raises:
        TrainingError: a frozen part has changed.
    """
    changed = sorted(part for part in after if after[part] != before[part])
    wrong = [part for part in changed if part not in learning]
    if wrong:
        raise TrainingError(f"frozen part(s) {', '.join(wrong)} have changed; this is a fault of ours, report it")
    return {"changed": changed, "parts": after, "parts_before": before}
