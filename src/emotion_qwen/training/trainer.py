"""Extend transformers' `Trainer` for training stages.

The mixture determines the order of the data, checkpoints are written completely or not at all, a signal saves and
stops, a loss that is not finite stops the run at once, and validation separates emotion and general skill.
"""

from __future__ import annotations

import itertools
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import PartialState
from accelerate.utils import gather, gather_object
from safetensors import SafetensorError
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, SequentialSampler
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import EvalPrediction

from emotion_qwen.data.mixture import Mixture
from emotion_qwen.data.rows import STATE, RowStream, StreamState
from emotion_qwen.errors import TrainingError
from emotion_qwen.model.modeling import IGNORE
from emotion_qwen.training.checkpoint import STAGING, finish_checkpoint, latest_checkpoint
from emotion_qwen.training.speed import Speedometer


def answer_weights(labels: torch.Tensor, exponent: float) -> torch.Tensor:
    """Return (B, L) weights of supervised tokens: the length of their answer to the power -`exponent`, else 0.

    Args:
        labels: (B, L) token ids, `IGNORE` outside answers; an answer is a run of supervised tokens.
        exponent: 0 weights all tokens equally, 1 all answers.
    """
    supervised = labels != IGNORE
    begins = supervised & ~F.pad(supervised, (1, 0))[:, :-1]
    number = begins.flatten().cumsum(0)  # of the answer that a token is in, over all rows
    lengths = torch.bincount(number[supervised.flatten()], minlength=int(number[-1]) + 1)
    weights = lengths.clamp(min=1).float() ** -exponent
    return torch.where(supervised, weights[number].view_as(labels), 0.0)


class StageTrainer(Trainer):
    """Trains one stage.

    Attributes:
        mixture: the data, for the position saved with every checkpoint.
        keep: number of newest checkpoints to keep.
        optimizer_for: builds the optimizer for a model, which may be sharded.
        validation_collator: collates validation samples, padded.
        gate_objective: "none", "balance" (equal use of both experts over a batch) or "domain" (the gate is supervised
            by the domain of each visual), and its weight.
    """

    mixture: Mixture
    keep: int = 2
    optimizer_for: Callable[[nn.Module], Optimizer]
    validation_collator: Callable[..., Any]
    gate_objective: tuple[str, float] = ("none", 0.0)
    length_exponent: float = 0.0
    """See `OptimSettings.length_exponent`."""
    updates: int = 1
    """Steps of the optimizer with the same samples."""
    padding_token: int = -1
    speed: Speedometer
    latest: dict[str, float] = {}  # noqa: RUF012  replaced, never changed
    """Further figures of the latest step, which are logged with its loss."""

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)

    def get_train_dataloader(self) -> DataLoader:
        """Return the loader of batches; rows of a stream are batches already, different ones on every rank."""
        if not isinstance(self.train_dataset, RowStream):
            return super().get_train_dataloader()
        pinned = self.args.dataloader_pin_memory and torch.cuda.is_available()
        workers = self.args.dataloader_num_workers
        return DataLoader(self.train_dataset, batch_size=None, num_workers=workers, pin_memory=pinned)

    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        """Build the optimizer after the model has its final form."""
        if getattr(self, "optimizer", None) is None:
            self.optimizer: Optimizer = self.optimizer_for(model or self.model)
        return self.optimizer

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log figures, those of the loss with `latest` and with the speed of this device."""
        if "loss" in logs:
            logs = {**logs, **self.latest, **self.speed.figures()}
        super().log(logs, start_time)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Return padded validation batches, with one sample per row."""
        training = self.data_collator
        self.data_collator: Any = self.validation_collator
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = training

    @property
    def whole_model(self) -> Any:
        """The model without training or sharding wrappers; with its adapters, if there are any."""
        model = self.accelerator.unwrap_model(self.model)
        return model.get_base_model() if hasattr(model, "get_base_model") else model

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return the loss of the supervised tokens, plus the gate objective if there is one."""
        domains = inputs.pop("domains", None)
        if self.length_exponent and model.training:
            inputs["token_weights"] = answer_weights(inputs["labels"], self.length_exponent)
        loss, outputs = super().compute_loss(model, {**inputs, "supervised_only": True}, True, num_items_in_batch)
        kind, weight = self.gate_objective
        if model.training and weight and outputs.gate_weights is not None:
            shares = 1.0 if num_items_in_batch is None else 1.0 / self.args.gradient_accumulation_steps
            loss = loss + weight * shares * gate_loss(kind, outputs.gate_weights, domains)
        return (loss, outputs) if return_outputs else loss

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> torch.Tensor | int | None:
        """Return the divisor of a step's loss over all its batches and ranks: the sum of token weights."""
        if not self.length_exponent:
            return super()._get_num_items_in_batch(batch_samples, device)
        weights = [answer_weights(batch["labels"], self.length_exponent)[:, 1:].sum() for batch in batch_samples]
        total = torch.stack(weights).sum().to(device)
        return self.accelerator.gather(total).sum() if self.args.world_size > 1 else total

    def training_step(self, model, inputs, num_items_in_batch=None):
        """Make one step; stop if the loss of any rank is not finite."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        losses = self.accelerator.gather(loss.detach().reshape(1))
        ranks = (~torch.isfinite(losses)).nonzero()[:, 0].tolist()
        if ranks:
            last = latest_checkpoint(Path(self.args.output_dir))
            where = f" on rank(s) {_listed(ranks)}" if len(losses) > 1 else ""
            raise TrainingError(
                f"the loss of step {self.state.global_step + 1} is {losses[ranks[0]].item()}{where}; the weights were "
                f"not changed by it. Last good folder: {last or 'none yet'}. Lower optim.learning_rate or look at the "
                "data, then --resume"
            )
        return loss

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        """Read the batches of a step; a data error of one rank stops all ranks before they wait for each other."""
        with self.fail_together("reading its data"):
            batches = list(itertools.islice(epoch_iterator, num_batches))
        if isinstance(self.train_dataset, RowStream):
            for batch in batches:
                number, state = batch.pop(STATE)
                self.train_dataset.states[number] = state
        for batch in batches:
            if "labels" in batch:
                self.speed.add(self.whole_model, batch, self.padding_token)
        return super().get_batch_samples(iter(batches), num_batches, device)

    @contextmanager
    def fail_together(self, doing: str) -> Iterator[None]:
        """Synchronise all ranks, and stop them all if one failed inside the block.

        Raises:
            TrainingError: another rank failed; an error of this rank is raised unchanged.
        """
        failed = True
        try:
            yield
            failed = False
        finally:
            failures = of_all_ranks(int(failed))
        if ranks := [rank for rank, number in enumerate(failures) if number]:
            raise TrainingError(f"rank(s) {_listed(ranks)} failed while {doing}; their own messages say why")

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """Return the loss and, per sample, whether greedy decoding would give exactly its answers."""
        inputs = self._prepare_inputs(inputs)
        inputs.pop("domains", None)
        with torch.no_grad(), self.compute_loss_context_manager():
            outputs = model(**inputs, supervised_only=True)
        targets = inputs["labels"][:, 1:]
        taught = targets != IGNORE
        wrong = torch.zeros_like(targets, dtype=torch.bool)
        wrong[taught] = outputs.logits.argmax(-1) != targets[taught]
        return outputs.loss.detach(), (~wrong.any(dim=1)).float(), torch.ones(len(targets), device=targets.device)

    def _save_checkpoint(self, model, trial) -> None:
        final = Path(self.args.output_dir)
        staging = final / STAGING
        name = f"checkpoint-{self.state.global_step}"
        try:
            if self.args.should_save:
                shutil.rmtree(staging, ignore_errors=True)
            self.accelerator.wait_for_everyone()
            self.args.output_dir = str(staging)
            with self.fail_together("saving a checkpoint"):
                super()._save_checkpoint(model, trial)
            with self.fail_together("saving a checkpoint"):
                self._finish(staging / name, final / name)
        except (OSError, RuntimeError, SafetensorError) as error:
            shutil.rmtree(staging, ignore_errors=True)
            last = latest_checkpoint(final)
            raise TrainingError(
                f"step {self.state.global_step} could not be saved in {final} ({' '.join(str(error).split())}); "
                f"last good folder: {last or 'none yet'}. Make room or choose another output, then --resume"
            ) from error
        finally:
            self.args.output_dir = str(final)

    def _finish(self, staged: Path, target: Path) -> None:
        """Rename a written checkpoint to its final name, with the position in the data."""
        position = self.position()
        if self.args.should_save:
            finish_checkpoint(staged, target, position, self.keep)

    def position(self) -> dict[str, Any]:
        """Return the position in the data after the latest step; every rank must call it."""
        args, steps = self.args, self.state.global_step // self.updates
        if not isinstance(self.train_dataset, RowStream):
            samples = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
            return self.mixture.position(steps * samples)
        stream = self.train_dataset
        per_rank = max(stream.workers, 1)
        mine = range(args.process_index * per_rank, (args.process_index + 1) * per_rank)
        states = [(number, stream.states.get(number, StreamState())) for number in mine]
        states = gather_object(states) if args.world_size > 1 else states
        seen = sum(state.read - len(state.buffer) for _, state in states)
        streams = {str(number): asdict(state) for number, state in sorted(states, key=lambda entry: entry[0])}
        rows = steps * args.gradient_accumulation_steps
        return {**self.mixture.position(seen), "rows": rows, "streams": streams}


def of_all_ranks(number: int) -> list[int]:
    """Gather a number from every rank, in rank order; all ranks must call it."""
    return gather(torch.tensor([number], device=PartialState().device)).tolist()


def gate_loss(kind: str, weights: torch.Tensor, domains: torch.Tensor | None) -> torch.Tensor:
    """Compute the gate objective.

    Args:
        kind: "balance": squared distance of the batch's mean weights from one half; "domain": cross-entropy of each
            visual's weights against its domain.
        weights: (V, 2) fusion weights, fp32.
        domains: (V,) 0 general, 1 emotion.
    """
    if kind == "balance":
        return (weights.mean(dim=0) - 0.5).square().sum()
    assert domains is not None  # set by the collator for the visuals of a mixture
    return F.nll_loss(weights.clamp_min(1e-6).log(), domains)


def exact_share(prediction: EvalPrediction) -> dict[str, float]:
    """Return the percentage of samples whose answers are exactly right."""
    return {"exact": float(prediction.predictions.mean() * 100)}


class StopOnSignal(TrainerCallback):
    """On SIGTERM or SIGINT, finish the step, save, and stop. A second signal stops at once.

    Args:
        every: stop only after a multiple of this many steps.
    """

    def __init__(self, every: int = 1) -> None:
        self.every = every
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def on_train_begin(self, args, state, control, **kwargs):
        """Install the signal handlers."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self.received = number
        signal.signal(number, signal.SIG_DFL)

    def on_step_end(self, args, state, control, **kwargs):
        """Save and stop on all ranks if any rank received a signal; a single one would wait forever for the others."""
        self.received = max(of_all_ranks(self.received or 0)) or None
        if self.received is not None and state.global_step % self.every == 0:
            control.should_save = control.should_training_stop = True
        return control

    def on_train_end(self, args, state, control, **kwargs):
        """Restore the signal handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _listed(ranks: list[int]) -> str:
    return ", ".join(map(str, ranks))
