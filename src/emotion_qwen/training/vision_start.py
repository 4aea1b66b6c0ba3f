"""Start a vision transformer from nothing: faces and objects by name, taught by a small convolutional network.

A transformer of nano's size learns slowly from 35 thousand small pictures; a convolutional network of the same cost
learns the same pictures faster, because neighbourhood is built into it. So the network is trained first (`teacher`)
and the transformer then follows both the labels and the teacher's opinion of the very same augmented picture
(`student`; after Touvron et al. 2021, DeiT). Only the transformer goes on; teacher and head are thrown away.

Which picture stands at which place of the run, and how it is augmented, are functions of the place alone, so an
interrupted run goes on exactly where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from emotion_qwen.data.augment import augment
from emotion_qwen.data.pictures import Pictures, read_pictures
from emotion_qwen.model.vision import EmotionQwenVisionTransformer
from emotion_qwen.processing.patches import normalize, patchify

EMOTIONS = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")
OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CLASSES = EMOTIONS + OBJECTS
SIDE = 48


@dataclass(frozen=True)
class Source:
    """A picture file of the mixture: how much of it one pass shows, and the cap for each of its classes."""

    file: str
    share: float = 1.0
    crop: float = 1.0
    cap: int | None = None


SOURCES = (
    Source("faces_fer_aligned.parquet"),
    Source("faces_lfw_expressions.parquet", crop=0.85, cap=1500),
    Source("pictures_cifar10.parquet", share=0.25),
)


class PictureStream(Dataset):
    """All pictures of a run in one line: place i names a picture, and the order is a function of the seed alone."""

    def __init__(self, folder: Path, split: str, sources: Sequence[Source], *, passes: int, seed: int) -> None:
        parts = [(s, read_pictures(folder / s.file, split, SIDE, crop=s.crop)) for s in sources]
        self.pixels = torch.from_numpy(np.concatenate([p.pixels for _, p in parts])).permute(0, 3, 1, 2)
        names = [label for _, p in parts for label in p.labels]
        self.labels = torch.tensor([CLASSES.index(n) if n in CLASSES else -1 for n in names])
        rows, start = [], 0
        for source, pictures in parts:
            rows.append((source, start, pictures))
            start += len(pictures)
        generator = np.random.default_rng(seed)
        self.order = torch.from_numpy(np.concatenate([self._one_pass(rows, generator) for _ in range(passes)]))

    def _one_pass(self, rows: list[tuple[Source, int, Pictures]], generator: np.random.Generator) -> np.ndarray:
        chosen = []
        for source, start, pictures in rows:
            labels = self.labels[start : start + len(pictures)].numpy()
            for name in np.unique(labels[labels >= 0]):
                members = start + generator.permutation(np.flatnonzero(labels == name))
                count = round(len(members) * source.share)
                chosen.append(members[: min(count, source.cap or count)])
        return generator.permutation(np.concatenate(chosen))

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> dict[str, Any]:
        row = self.order[place]
        return {"place": place, "pixels": self.pixels[row], "labels": self.labels[row]}


class HeldPictures(Dataset):
    """The validation pictures of one source, in file order, never augmented (their place is None)."""

    def __init__(self, folder: Path, source: Source) -> None:
        pictures = read_pictures(folder / source.file, "validation", SIDE, crop=source.crop)
        self.rows = [i for i, name in enumerate(pictures.labels) if name in CLASSES]
        self.pixels = torch.from_numpy(pictures.pixels).permute(0, 3, 1, 2)
        self.labels = torch.tensor([CLASSES.index(pictures.labels[i]) for i in self.rows])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return {"place": None, "pixels": self.pixels[self.rows[place]], "labels": self.labels[place]}


@dataclass(frozen=True)
class PictureBatches:
    """Collate pictures; training ones are augmented, with a strength that rises over the first `ramp` places."""

    ramp: int
    seed: int

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return `pixels` (B, 3, S, S), normalised, and `labels` (B,)."""
        pixels = torch.stack([item["pixels"] for item in items]).float() / 255
        place = items[0]["place"]
        if place is not None:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + place)
            pixels = augment(pixels, min(1.0, place / max(self.ramp, 1)), generator)
        return {"pixels": normalize(pixels), "labels": torch.stack([item["labels"] for item in items])}


class ConvTeacher(nn.Module):
    """A residual network for small pictures: a 6 x 6 stem of stride 2, three scales, mean pooling; 1.5 M parameters."""

    def __init__(self, widths: tuple[int, ...] = (48, 96, 192)) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 6, 2, 2, bias=False), nn.BatchNorm2d(widths[0]))
        blocks = [ConvBlock(widths[0], widths[0], 1)]
        for before, width in pairwise(widths):
            blocks += [ConvBlock(before, width, 2), ConvBlock(width, width, 1)]
        self.blocks = nn.Sequential(*blocks)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(widths[-1], len(CLASSES))

    def forward(self, pixels: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Return `logits` (B, classes) for `pixels` (B, 3, S, S)."""
        features = self.blocks(F.relu(self.stem(pixels.contiguous(memory_format=torch.channels_last))))
        return {"logits": self.head(self.drop(features.mean(dim=(2, 3))))}


class ConvBlock(nn.Module):
    """Two 3 x 3 convolutions with batch norm and a shortcut."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width))
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))
        self.shortcut = (
            nn.Identity()
            if before == width and stride == 1
            else nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, before, H, W) to (B, width, H / stride, W / stride)."""
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class VisionStudent(nn.Module):
    """The vision transformer with a throw-away linear head over the mean of a picture's patches."""

    def __init__(self, vision: EmotionQwenVisionTransformer) -> None:
        super().__init__()
        self.vision = vision
        self.norm = nn.LayerNorm(vision.config.hidden_size)
        self.head = nn.Linear(vision.config.hidden_size, len(CLASSES))

    def forward(self, pixels: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Return `logits` (B, classes) for `pixels` (B, 3, S, S)."""
        config = self.vision.config
        frames = pixels.unsqueeze(1).expand(-1, config.temporal_patch_size, -1, -1, -1)
        patches = patchify(frames, config.patch_size, config.temporal_patch_size, config.spatial_merge_size)
        side = pixels.shape[-1] // config.patch_size
        grid = torch.tensor([[1, side, side]]).expand(len(pixels), 3)
        features = self.vision(patches, grid).last_hidden_state.view(len(pixels), side * side, -1)
        return {"logits": self.head(self.norm(features.mean(dim=1)))}


class VisionTrainer(Trainer):
    """Cross-entropy with smoothing, plus the teacher's softened opinion of the same pictures when there is one."""

    teacher: nn.Module | None = None
    temperature = 2.0
    follow = 0.6

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return the loss of a batch, and with `return_outputs` the outputs too."""
        outputs = model(**inputs)
        logits = outputs["logits"].float()
        loss = F.cross_entropy(logits, inputs["labels"], label_smoothing=0.1 if self.teacher is None else 0.0)
        if self.teacher is not None and model.training:
            with torch.no_grad():
                opinion = self.teacher(inputs["pixels"])["logits"].float()
            t = self.temperature
            parted = F.kl_div(
                F.log_softmax(logits / t, -1), F.log_softmax(opinion / t, -1), log_target=True, reduction="batchmean"
            )
            loss = (1 - self.follow) * loss + self.follow * t * t * parted
        return (loss, outputs) if return_outputs else loss


def accuracy(prediction: Any) -> dict[str, float]:
    """Score emotions among the seven and objects among the ten, in percent."""
    logits, labels = torch.tensor(prediction.predictions), torch.tensor(prediction.label_ids)
    if labels[0] < len(EMOTIONS):
        right = logits[:, : len(EMOTIONS)].argmax(-1) == labels
    else:
        right = logits[:, len(EMOTIONS) :].argmax(-1) + len(EMOTIONS) == labels
    return {"accuracy": right.float().mean().item() * 100}


@dataclass(frozen=True)
class VisionRun:
    """One run over the pictures. `ramp_passes`: passes until augmentation has its full strength."""

    data: Path
    output: Path
    passes: int
    learning_rate: float
    batch_size: int = 128
    weight_decay: float = 0.05
    ramp_passes: float = 4.0
    seed: int = 7


def run_vision(run: VisionRun, model: nn.Module, teacher: nn.Module | None = None) -> Path:
    """Train `model` on the pictures, going on from the last checkpoint in `run.output` if there is one.

    Returns:
        The file of the trained weights, `run.output/model.safetensors`.
    """
    stream = PictureStream(run.data, "train", SOURCES, passes=run.passes, seed=run.seed)
    one_pass = len(stream) // run.passes
    steps_per_pass = one_pass // run.batch_size
    arguments = TrainingArguments(
        output_dir=str(run.output),
        max_steps=len(stream) // run.batch_size,
        per_device_train_batch_size=run.batch_size,
        per_device_eval_batch_size=256,
        learning_rate=run.learning_rate,
        weight_decay=run.weight_decay,
        lr_scheduler_type="cosine",
        warmup_steps=steps_per_pass // 2,
        max_grad_norm=1.0,
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=max(steps_per_pass // 5, 1),
        eval_strategy="steps",
        eval_steps=steps_per_pass,
        save_strategy="steps",
        save_steps=max(steps_per_pass // 4, 1),
        save_total_limit=2,
        report_to=[],
        remove_unused_columns=False,
        label_names=["labels"],
        seed=run.seed,
    )
    held = {source.file.split("_")[1].split(".")[0]: HeldPictures(run.data, source) for source in SOURCES}
    trainer = VisionTrainer(
        model=model,
        args=arguments,
        train_dataset=stream,
        eval_dataset=held,
        data_collator=PictureBatches(round(run.ramp_passes * one_pass), run.seed),
        compute_metrics=accuracy,
    )
    trainer.teacher = teacher
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(run.output)) if run.output.is_dir() else None)
    trainer.save_model(str(run.output))
    return run.output / "model.safetensors"
