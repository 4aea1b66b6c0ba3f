"""A stage over samples of unlike media, as one process or one of several; also a script, for the ranks of a test.

    python mixed_ranks.py runs FOLDER SETTINGS plain|sharded ...
    python mixed_ranks.py faults FOLDER SETTINGS

`runs` trains into FOLDER/plain and so on; `sharded` puts the model through `fully_shard` before the trainer sees it,
for Accelerate itself shards on GPUs only. `faults` lets one thing after another fail on a single rank, and writes how
each rank ended to FOLDER/RANK.json.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from emotion_qwen.data.collate import SampleCollator
from emotion_qwen.data.mixture import SampleList
from emotion_qwen.errors import DataError, EmotionQwenError
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.records import Clip, Sample
from emotion_qwen.training import plan, run
from emotion_qwen.training.trainer import StageTrainer, StopOnSignal

RATE = 16_000
MEDIA = ((), ("image",), ("image", "video"), ("audio",), ("video",), ("video", "audio"), ("image", "image"))
"""Media of one sample after another: text alone, a picture, a picture and a video, a sound, and so on."""


def mixed_samples(domain: str, count: int) -> list[Sample]:
    """Make samples of every kind of `MEDIA` by turns, with answers of unequal length."""
    samples, rng = [], np.random.default_rng(len(domain))
    for number in range(count):
        content = [{"type": kind, kind: _medium(kind, rng)} for kind in MEDIA[number % len(MEDIA)]]
        question = {"role": "user", "content": [*content, {"type": "text", "text": f"What is {number}?"}]}
        answer = {"role": "assistant", "content": " ".join(["happy", "cat", "red"][: 1 + number % 3])}
        samples.append(Sample(f"{domain}/{number}", (question, answer)))
    return samples


def _medium(kind: str, rng: np.random.Generator) -> Any:
    if kind == "audio":
        return rng.normal(0, 0.1, RATE).astype(np.float32)
    frames = rng.integers(0, 255, (4, 48, 48, 3), dtype=np.uint8)
    return frames[0] if kind == "image" else Clip(frames, np.arange(4) / 2, "made", duration=2.0)


def _open_parts(settings: plan.TrainSettings, parts: list[plan.PartOfData]) -> list[SampleList]:
    return [SampleList(part.name, part.domain, tuple(mixed_samples(part.domain, 28))) for part in parts]


def shard(model: nn.Module) -> nn.Module:
    """Shard every block of the encoders and of the language model, and what is left."""
    inner = model.model
    for block in (*inner.visual.blocks, *inner.audio.encoder.layers, inner.compressor, *inner.language_model.layers):
        fully_shard(block)
    fully_shard(model)
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
    return model


def mixed_parts() -> Any:
    """Let the parts of all settings be mixed samples."""
    return mock.patch.object(plan, "open_parts", _open_parts)


def train(path: Path, *overrides: str, sharded: bool = False) -> run.Outcome:
    """Run the stage of a settings file over mixed samples."""
    make_trainer = run.make_trainer

    def make_sharded(settings: plan.TrainSettings, model: nn.Module, *rest: Any) -> Any:
        PartialState(cpu=True)  # the ranks meet
        return make_trainer(settings, shard(model), *rest)

    with mixed_parts():
        if not sharded:
            return run.run_stage(plan.read_settings(path, overrides))
        with (
            mock.patch.object(run, "make_trainer", make_sharded),
            mock.patch.object(Accelerator, "prepare_model", lambda self, model, *args, **kwargs: model),
            mock.patch.object(StageTrainer, "_save_checkpoint"),  # of a sharded run it is Accelerate that writes them
        ):
            return run.run_stage(plan.read_settings(path, overrides))


def _on_rank(rank: int, owner: Any, name: str, replacement: Callable[..., Any]) -> Any:
    """Replace a method on one rank; the replacement takes the original first."""
    original = getattr(owner, name)

    def replaced(*args: Any, **kwargs: Any) -> Any:
        here = int(os.environ["RANK"]) == rank
        return replacement(original, *args, **kwargs) if here else original(*args, **kwargs)

    return mock.patch.object(owner, name, replaced)


def _broken(original: Callable[..., Any], self: Any, items: Any) -> Any:
    if any(item.place >= 4 for item in items):
        raise DataError("the sample cannot be read")
    return original(self, items)


def _no_number(original: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    loss = original(self, *args, **kwargs)
    return loss * float("nan") if self.state.global_step == 2 else loss


def _full_disk(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    raise OSError(28, "No space left on device")


def _signalled(original: Callable[..., Any], self: Any, args: Any, state: Any, *rest: Any, **kwargs: Any) -> Any:
    if state.global_step == 3:
        os.kill(os.getpid(), signal.SIGTERM)
    return original(self, args, state, *rest, **kwargs)


FAULTS = {
    "data": (1, SampleCollator, "__call__", _broken),
    "loss": (1, StageTrainer, "compute_loss", _no_number),
    "checkpoint": (0, StageTrainer, "_finish", _full_disk),
    "model": (0, EmotionQwenProcessor, "save_pretrained", _full_disk),
    "signal": (1, StopOnSignal, "on_step_end", _signalled),
}
"""Name -> (rank, where, what is replaced, by what)."""


def fail(folder: Path, path: Path) -> None:
    """Let every fault happen on its rank, and write down how this rank ended."""
    ends = {}
    for name, (rank, *place) in FAULTS.items():
        with _on_rank(rank, *place):
            try:
                outcome = train(path, f"output={folder / name}")
                ends[name] = f"{outcome.folder.name}, signal {outcome.signal}"
            except EmotionQwenError as error:
                ends[name] = f"{type(error).__name__}: {error}"
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(ends), encoding="utf-8")


def main(what: str, folder: str, path: str, *kinds: str) -> None:
    """Do what this rank of a test is for."""
    torch.set_num_threads(1)
    if what == "faults":
        fail(Path(folder), Path(path))
    for kind in kinds:
        train(Path(path), f"output={Path(folder) / kind}", sharded=kind == "sharded")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
