"""Train the motion model on recordings of facial actions.

    python -m recipes.express.train_motion --recordings livelink takes --emotions takes.csv --output runs/express/motion

The recordings are what `emotion-qwen express import` reads, or tracks that it wrote (kind `track`). Which emotion each
shows is said by a table (CSV with `file` and `emotion`), by a pattern for the names of the files, or by the recording
itself. Some whole recordings are held out: the weights with the lowest loss on them are kept. An interrupted run
continues from its last checkpoint along the same path; a finished one is skipped.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.progress import Progress
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from emotion_qwen.batch.following import terminal_progress
from emotion_qwen.console import quiet, run_command
from emotion_qwen.errors import CheckpointError, SettingsError
from emotion_qwen.express.motion_model import MOTION_SIZES, MotionConfig, MotionModel, motion_config
from emotion_qwen.express.motion_model.configuration import MOVING
from emotion_qwen.files import locked, write_whole
from recipes.express.sequences import (
    KINDS,
    MotionSequence,
    WindowBatch,
    WindowDrawer,
    correlation_time,
    emotion_names,
    face_at_rest,
    moving_channels,
    read_sequences,
)

STATE, FACTS = "state.safetensors", "training.json"
MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of each weight."""


@dataclass(frozen=True)
class MotionSchedule:
    """How the model is trained.

    Attributes:
        steps: number of batches.
        size: windows per batch.
        rate: highest learning rate; it falls to 0 as a cosine.
        warmup: steps in which the rate rises.
        decay: weight decay.
        dropped: share of windows without a condition, for guidance.
        without_past: share of windows whose frames before are hidden.
        past_noise: deviation of the noise on the frames before, because those that are generated are not perfect.
        every: steps between validations; each writes a checkpoint.
        seed: of weights and batches.
    """

    steps: int = 4000
    size: int = 32
    rate: float = 1e-3
    warmup: int = 50
    decay: float = 0.01
    dropped: float = 0.1
    without_past: float = 0.15
    past_noise: float = 0.05
    every: int = 200
    seed: int = 0


def flow_loss(
    model: MotionModel, batch: WindowBatch, random: torch.Generator, *, dropped: float = 0.0, past_noise: float = 0.0
) -> torch.Tensor:
    """Return the squared error of the velocity, averaged over the frames that recordings have.

    Args:
        model: to train.
        batch: of windows.
        random: source of the random motion and of the places on the path.
        dropped: see `MotionSchedule`, and so for `past_noise`.
    """
    around, frames, count = batch.around, batch.frames, len(batch.frames)
    start = model.source(around, torch.randn(frames.shape, generator=random))
    time = torch.rand(count, generator=random)
    alone = torch.rand(count, generator=random) < dropped
    noise = past_noise * torch.randn(around.past.shape, generator=random) * around.known[..., None]
    around = replace(around, past=around.past + noise)
    noisy = start + time[:, None, None] * (frames - start)
    error = (model(noisy, time, around, alone) - (frames - start)).square().mean(dim=-1)
    return (error * batch.valid).sum() / batch.valid.sum()


class MotionTraining:
    """A model in training, and how far it is.

    Args:
        model: with its statistics set.
        training: sequences.
        held_out: other sequences; without any, the last weights are kept.
        schedule: of the run.
    """

    def __init__(
        self,
        model: MotionModel,
        training: Sequence[MotionSequence],
        held_out: Sequence[MotionSequence],
        schedule: MotionSchedule,
    ) -> None:
        self.model, self.schedule = model, schedule
        statistics = (model.config, model.mean, model.deviation)
        self._drawer = WindowDrawer(training, *statistics)
        self._checker = WindowDrawer(held_out, *statistics) if held_out else None
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=schedule.rate, betas=(0.9, 0.99), weight_decay=schedule.decay
        )
        self.step_number = 0
        self.history: list[dict[str, Any]] = []
        self.best = self._weights()

    @property
    def is_finished(self) -> bool:
        """Whether all steps were made."""
        return self.step_number >= self.schedule.steps

    def step(self) -> float:
        """Make one step, drawn from its number alone, and return the loss."""
        schedule, number = self.schedule, self.step_number
        share = number / schedule.steps
        rate = schedule.rate * min(1.0, (number + 1) / schedule.warmup) * 0.5 * (1 + math.cos(math.pi * share))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        random = np.random.default_rng([schedule.seed, number])
        torch.manual_seed(int(random.integers(2**31)))  # of dropout
        self.model.train()
        batch = self._drawer.draw(schedule.size, random, schedule.without_past)
        noise = torch.Generator().manual_seed(int(random.integers(2**31)))
        loss = flow_loss(self.model, batch, noise, dropped=schedule.dropped, past_noise=schedule.past_noise)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step_number += 1
        return loss.item()

    def validate(self, loss: float) -> None:
        """Add the step to the history, and keep the weights if they are the best on the held-out sequences.

        Args:
            loss: mean of the steps since the last time.
        """
        entry: dict[str, Any] = {"step": self.step_number, "training": round(loss, 5)}
        earlier = [other["validation"] for other in self.history if "validation" in other]
        if self._checker is not None:
            entry["validation"] = round(self.validation_loss(), 5)
        if self._checker is None or entry["validation"] < min(earlier, default=math.inf):
            self.best = self._weights()
        self.history.append(entry)

    @torch.no_grad()
    def validation_loss(self, batches: int = 4) -> float:
        """Return the loss on held-out sequences, with the same windows and noise every time."""
        assert self._checker is not None
        self.model.eval()
        losses = []
        for number in range(batches):
            batch = self._checker.draw(self.schedule.size, np.random.default_rng(number), self.schedule.without_past)
            losses.append(flow_loss(self.model, batch, torch.Generator().manual_seed(number)).item())
        return float(np.mean(losses))

    def save(self, path: Path, key: str) -> None:
        """Write all of the state in one move.

        Args:
            path: of the file.
            key: of the settings and recordings; see `settings_key`.
        """
        tensors = {f"best.{name}": values for name, values in self.best.items()}
        for name, weight in self.model.named_parameters():
            tensors[f"weights.{name}"] = weight.detach()
            for moment in MOMENTS:
                tensors[f"{moment}.{name}"] = self.optimizer.state[weight][moment]
        position = {"step": str(self.step_number), "history": json.dumps(self.history), "key": key}
        write_whole(path, save({name: values.contiguous() for name, values in tensors.items()}, position))

    @torch.no_grad()
    def resume(self, path: Path, key: str) -> None:
        """Continue from a state.

        Raises:
            CheckpointError: it cannot be read.
            SettingsError: it is of other settings or recordings.
        """
        try:
            with safe_open(path, "pt") as file:
                position = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{str(path)!r} cannot be read ({error}); remove it to start anew") from error
        if position["key"] != key:
            raise SettingsError(f"{str(path)!r} is of other settings or recordings; give another --output")
        self.step_number, self.history = int(position["step"]), json.loads(position["history"])
        self.best = {name: tensors[f"best.{name}"] for name in self.best}
        for name, weight in self.model.named_parameters():
            weight.copy_(tensors[f"weights.{name}"])
            moments = {moment: tensors[f"{moment}.{name}"].clone() for moment in MOMENTS}
            self.optimizer.state[weight] = {"step": torch.tensor(float(self.step_number)), **moments}

    @torch.no_grad()
    def finish(self) -> MotionModel:
        """Return the model with the weights that were kept."""
        for name, weight in self.model.named_parameters():
            weight.copy_(self.best[name])
        return self.model.eval()

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: weight.detach().clone() for name, weight in self.model.named_parameters()}


def new_model(sequences: Sequence[MotionSequence], size: str, seed: int, **changes: Any) -> MotionModel:
    """Return an untrained model of what moves in sequences, with their statistics.

    Raises:
        DataError: nothing moves.
        SettingsError: the size is unknown, or a change does not fit.
    """
    names = moving_channels(sequences)
    columns = [MOVING.index(name) for name in names]
    torch.manual_seed(seed)
    changes.setdefault("source_seconds", correlation_time(sequences, names, changes.get("fps", MotionConfig.fps)))
    model = MotionModel(motion_config(size, channels=names, **changes))
    frames = np.concatenate([sequence.frames for sequence in sequences])[:, columns]
    model.set_statistics(torch.from_numpy(frames).float(), torch.from_numpy(face_at_rest(sequences)[columns]).float())
    return model


def split_held_out(
    sequences: Sequence[MotionSequence], share: float, seed: int
) -> tuple[list[MotionSequence], list[MotionSequence]]:
    """Return the sequences to train on, and those held out: whole recordings, at least one if there are two or more.

    Raises:
        SettingsError: the share is out of range.
    """
    if not 0 <= share <= 0.5:
        raise SettingsError(f"--held-out is {share:g}; expected 0 to 0.5")
    count = max(round(share * len(sequences)), 1) if share and len(sequences) > 1 else 0
    order = np.random.default_rng(seed).permutation(len(sequences)).tolist()
    return [sequences[place] for place in sorted(order[count:])], [sequences[place] for place in sorted(order[:count])]


def settings_key(config: MotionConfig, schedule: MotionSchedule, sequences: Sequence[MotionSequence]) -> str:
    """Return a text that another configuration, schedule or recording changes."""
    digest = hashlib.sha256(json.dumps([config.to_diff_dict(), asdict(schedule)], default=str).encode())
    for sequence in sequences:
        digest.update(sequence.name.encode())
        for values in (sequence.frames, sequence.shares, sequence.intensity):
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def train_motion(
    sequences: Sequence[MotionSequence],
    output: Path,
    schedule: MotionSchedule,
    *,
    size: str = "nano",
    held_out: float = 0.1,
    progress: Progress | None = None,
    **changes: Any,
) -> MotionModel:
    """Train a model and write it to a folder, with its history in `training.json`; the same arguments give the same.

    Args:
        sequences: of all recordings.
        output: folder; a run that was interrupted there is continued.
        schedule: of the run.
        size: of `MOTION_SIZES`.
        held_out: share of the recordings.
        progress: shows the steps.
        changes: fields of the configuration.

    Raises:
        SettingsError: the folder holds a run of other settings or recordings, or a setting does not fit.
        StorageError: another run writes to the folder, or the disk is full.
    """
    training, others = split_held_out(sequences, held_out, schedule.seed)
    model = new_model(training, size, schedule.seed, **changes)
    running = MotionTraining(model, training, others, schedule)
    key, state = settings_key(model.config, schedule, [*training, *others]), output / STATE
    with locked(output):
        if state.is_file():
            running.resume(state, key)
        task = progress.add_task("training", total=schedule.steps, completed=running.step_number) if progress else None
        losses: list[float] = []
        while not running.is_finished:
            losses.append(running.step())
            if progress is not None and task is not None:
                progress.update(task, advance=1, description=f"loss {losses[-1]:.3f}")
            if running.step_number % schedule.every == 0 or running.is_finished:
                running.validate(float(np.mean(losses)))
                losses.clear()
                running.save(state, key)
        trained = running.finish()
        trained.save_pretrained(output)
        facts = {
            "recordings": [each.name for each in training],
            "held_out": [each.name for each in others],
            "seconds": round(sum(len(each.frames) for each in training) / model.config.fps, 1),
            "weights": sum(weight.numel() for weight in trained.parameters()),
            "schedule": asdict(schedule),
            "history": running.history,
        }
        write_whole(output / FACTS, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    return trained


@click.command()
@click.option(
    "--recordings",
    nargs=2,
    type=(click.Choice(KINDS), click.Path(path_type=Path)),
    multiple=True,
    required=True,
    help="kind, and file or folder",
)
@click.option("--emotions", type=click.Path(path_type=Path), default=None, help="CSV: file, emotion, intensity")
@click.option("--column", default="emotion", show_default=True, help="of the emotions in that table")
@click.option("--pattern", default="", help="for names of files, such as '(?P<emotion>[a-z]+)_[0-9]+'")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="folder of the model")
@click.option("--size", type=click.Choice([*MOTION_SIZES]), default="nano", show_default=True)
@click.option("--steps", type=click.IntRange(1), default=MotionSchedule.steps, show_default=True)
@click.option("--held-out", default=0.1, show_default=True, help="share of the recordings that validate")
@click.option("--seed", default=0, show_default=True)
@click.option("--guidance", default=0.0, show_default=True, help="with which the model will be used")
def train(recordings: tuple[tuple[str, Path], ...], output: Path, steps: int, seed: int, **options: Any) -> None:
    """Train the motion model; an interrupted run continues."""
    quiet()
    names = emotion_names(options["emotions"], options["column"], options["pattern"])
    sequences = read_sequences(recordings, names)
    seconds = sum(len(each.frames) for each in sequences) / MotionConfig.fps
    click.echo(f"{len(sequences)} recordings, {seconds:.0f} s")
    with terminal_progress(*Progress.get_default_columns()) as bar:
        train_motion(
            sequences, output, MotionSchedule(steps=steps, seed=seed), size=options["size"],
            held_out=options["held_out"], progress=bar, guidance=options["guidance"],
        )  # fmt: skip
    last = json.loads((output / FACTS).read_text(encoding="utf-8"))["history"][-1]
    click.echo(f"{output}: " + ", ".join(f"{name} {value}" for name, value in last.items()))


if __name__ == "__main__":
    sys.exit(run_command(train))
