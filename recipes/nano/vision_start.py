"""Train a vision transformer from random weights to classify faces and objects, with a small convolutional teacher.

A transformer of nano's size learns slowly from 40 thousand small pictures; a convolutional network of the same cost
learns faster from them, because locality is built into it. So this network is trained first (`teacher`), and the
transformer then learns from the labels, the teacher's prediction for the same augmented picture (Touvron et al. 2021,
DeiT) and, patch by patch, its feature maps (Li et al. 2022, locality guidance); it is initialised to attend to
neighbours. Only the transformer is kept; teacher and heads are discarded.

The picture at each position of the run and its augmentation are functions of the position alone, so an interrupted run
continues exactly.
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

from emotion_qwen.data.pictures import Pictures, read_pictures
from emotion_qwen.model.vision import EmotionQwenVisionTransformer
from emotion_qwen.processing.patches import normalize, patchify
from emotion_qwen.training.optimizer import MuonWithAdamW, split_parameters
from recipes.nano.augment import augment

EMOTIONS = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")
OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CLASSES = EMOTIONS + OBJECTS
SIDE = 48
WIDTHS = (64, 128, 256)
"""Number of channels of the teacher's three scales."""
GUIDED = (4 * WIDTHS[0], 4 * WIDTHS[1], WIDTHS[2])
"""Outputs of a student's patch for each scale: four positions of the finer two, one of the coarsest."""


@dataclass(frozen=True)
class Source:
    """A picture file of the mixture: the share of it per pass, and the maximum for each of its classes."""

    file: str
    share: float = 1.0
    crop: float = 1.0
    cap: int | None = None


SOURCES = (
    Source("faces_fer_aligned.parquet"),
    Source("faces_lfw_expressions.parquet", crop=0.85, cap=2500),
    Source("pictures_cifar10.parquet", share=0.6),
)


class PictureStream(Dataset):
    """All pictures of a run in sequence: position i selects a picture; the order is a function of the seed alone."""

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
    """The validation pictures of one source, in file order, never augmented (their position is None)."""

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
    """Collate pictures; training pictures are augmented, with a strength that rises over the first `ramp` positions."""

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
    """A residual network for small pictures: a 6 x 6 stem of stride 2, three scales, mean pooling; 2.7 M parameters."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
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
        return {"logits": self.opinion(pixels)[0]}

    def opinion(self, pixels: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return logits (B, classes) and the maps of the three scales, coarsest last: (B, width, side, side)."""
        features = F.relu(self.stem(pixels.contiguous(memory_format=torch.channels_last)))
        maps = []
        for place, block in enumerate(self.blocks):
            features = block(features)
            if place % 2 == 0:  # the last block of a scale
                maps.append(features)
        return self.head(self.drop(features.mean(dim=(2, 3)))), maps


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
    """The vision transformer with temporary heads: a class from the mean patch, the teacher's maps from every patch.

    The heads for maps read the layers at one, two and three thirds of the depth, one for each of the teacher's scales
    (following Li et al. 2022, locality guidance).
    """

    def __init__(self, vision: EmotionQwenVisionTransformer, guided: Sequence[int] = GUIDED) -> None:
        super().__init__()
        self.vision = vision
        width, depth = vision.config.hidden_size, vision.config.depth
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(CLASSES))
        self.guides = nn.ModuleList(nn.Linear(width, channels) for channels in guided)
        self.layers = [max(depth * (i + 1) // len(guided), 1) - 1 for i in range(len(guided))]
        self.seen: dict[int, torch.Tensor] = {}
        for layer in set(self.layers):
            vision.blocks[layer].register_forward_hook(lambda _, __, out, at=layer: self.seen.update({at: out}))

    def forward(self, pixels: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, Any]:
        """Return `logits` (B, classes) for `pixels` (B, 3, S, S); in training, also `guesses`, one tensor per scale."""
        config = self.vision.config
        frames = pixels.unsqueeze(1).expand(-1, config.temporal_patch_size, -1, -1, -1)
        patches = patchify(frames, config.patch_size, config.temporal_patch_size, config.spatial_merge_size)
        side = pixels.shape[-1] // config.patch_size
        grid = torch.tensor([[1, side, side]]).expand(len(pixels), 3)
        features = self.vision(patches, grid).last_hidden_state.view(len(pixels), side * side, -1)
        answer: dict[str, Any] = {"logits": self.head(self.norm(features.mean(dim=1)))}
        if self.training:
            looked = zip(self.guides, self.layers, strict=True)
            answer["guesses"] = [guide(self.seen[layer]) for guide, layer in looked]
        return answer

    def map_distance(self, guesses: Sequence[torch.Tensor], maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the mean squared distance of guesses to the teacher's maps, which are scaled to variance 1."""
        merge = self.vision.config.spatial_merge_size
        targets = [maps_by_patch(m, SIDE // self.vision.config.patch_size, merge) for m in maps]
        return torch.stack([F.mse_loss(g.float(), t) for g, t in zip(guesses, targets, strict=True)]).mean()


def maps_by_patch(maps: torch.Tensor, side: int, merge: int) -> torch.Tensor:
    """Divide feature maps (B, C, S, S), normalised per channel, among the patches: (B * side^2, C * k^2), k <= 2."""
    maps = F.batch_norm(maps.float(), None, None, training=True)
    if maps.shape[-1] > 2 * side:
        maps = F.adaptive_avg_pool2d(maps, 2 * side)
    return patchify(maps.unsqueeze(1), maps.shape[-1] // side, 1, merge)


@torch.no_grad()
def look_nearby(vision: EmotionQwenVisionTransformer, sharpness: float = 5.0) -> None:
    """Set the attention biases so that a head initially attends to one neighbour of its patch, like a convolution.

    Rotary positions make the product of a constant query and a constant key a function of the offset alone; rotating
    the key back by an offset puts the maximum there. Of six heads, four attend to the direct neighbours in even layers
    and the diagonal ones in odd layers, one to its own patch, and one is unchanged. All of it stays trainable
    (following d'Ascoli et al. 2021, ConViT; here without a new parameter).

    Args:
        vision: the transformer; its rotary positions rotate half of a head's pairs by row, half by column.
        sharpness: size of the constant query and key in the two fastest pairs.
    """
    config = vision.config
    size = config.hidden_size // config.num_heads
    pairs = size // 4  # per direction
    speeds = 10000.0 ** (-torch.arange(pairs) / pairs)
    direct, diagonal = ((0, 1), (0, -1), (1, 0), (-1, 0)), ((1, 1), (1, -1), (-1, 1), (-1, -1))
    for layer, block in enumerate(vision.blocks):
        offsets = ((0, 0), *(diagonal if layer % 2 else direct))
        query, key, _ = block.attn.qkv.bias.view(3, config.num_heads, size).unbind(0)
        for head, offset in zip(range(config.num_heads), offsets, strict=False):
            for axis in (0, 1):
                for pair in (0, 1):
                    at = axis * pairs + pair
                    turn = speeds[pair] * offset[axis]
                    query[head, at] = sharpness
                    key[head, at] = sharpness * torch.cos(turn)
                    key[head, at + size // 2] = -sharpness * torch.sin(turn)


class OrderedTrainer(Trainer):
    """transformers' Trainer for a data set in the order of training."""

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


class VisionTrainer(OrderedTrainer):
    """Trainer with smoothed cross-entropy; with a teacher, also its softened predictions and feature maps."""

    teacher: ConvTeacher | None = None
    temperature = 2.0
    follow = 0.9
    guidance = 10.0

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return the loss of a batch, and with `return_outputs` also the outputs."""
        outputs = model(**inputs)
        logits = outputs["logits"].float()
        loss = F.cross_entropy(logits, inputs["labels"], label_smoothing=0.1 if self.teacher is None else 0.0)
        if self.teacher is not None and model.training:
            with torch.no_grad(), torch.autocast(logits.device.type, torch.bfloat16):
                opinion, maps = self.teacher.opinion(inputs["pixels"])
            teacher = F.log_softmax(opinion.float() / self.temperature, -1)
            student = F.log_softmax(logits / self.temperature, -1)
            parted = F.kl_div(student, teacher, log_target=True, reduction="batchmean") * self.temperature**2
            loss = (1 - self.follow) * loss + self.follow * parted
            loss = loss + self.guidance * model.map_distance(outputs["guesses"], maps)
        return (loss, outputs) if return_outputs else loss


def accuracy(prediction: Any) -> dict[str, float]:
    """Compute accuracy in percent, of emotions among the seven and of objects among the ten."""
    logits, labels = torch.tensor(prediction.predictions), torch.tensor(prediction.label_ids)
    if labels[0] < len(EMOTIONS):
        right = logits[:, : len(EMOTIONS)].argmax(-1) == labels
    else:
        right = logits[:, len(EMOTIONS) :].argmax(-1) + len(EMOTIONS) == labels
    return {"accuracy": right.float().mean().item() * 100}


@dataclass(frozen=True)
class VisionRun:
    """Settings of one training run. `ramp_passes` is the number of passes until augmentation has full strength."""

    data: Path
    output: Path
    passes: int
    learning_rate: float
    batch_size: int = 128
    weight_decay: float = 0.05
    ramp_passes: float = 4.0
    seed: int = 7


def training_arguments(run: Any, **more: Any) -> TrainingArguments:
    """Return the arguments that the training runs of nano's vision transformer share, with those of one run."""
    return TrainingArguments(
        output_dir=str(run.output),
        learning_rate=run.learning_rate,
        lr_scheduler_type="cosine",
        max_grad_norm=1.0,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="steps",
        save_total_limit=2,
        report_to=[],
        remove_unused_columns=False,
        seed=run.seed,
        **more,
    )


def resume(trainer: Trainer) -> None:
    """Train, continuing from the last checkpoint in the output folder if there is one."""
    folder = trainer.args.output_dir
    trainer.train(resume_from_checkpoint=get_last_checkpoint(folder) if Path(folder).is_dir() else None)


def run_vision(run: VisionRun, model: nn.Module, teacher: ConvTeacher | None = None) -> Path:
    """Train `model` on the pictures, continuing from the last checkpoint in `run.output` if there is one.

    Returns:
        The file of the trained weights, `run.output/model.safetensors`.
    """
    stream = PictureStream(run.data, "train", SOURCES, passes=run.passes, seed=run.seed)
    one_pass = len(stream) // run.passes
    steps_per_pass = one_pass // run.batch_size
    arguments = training_arguments(
        run,
        max_steps=len(stream) // run.batch_size,
        per_device_train_batch_size=run.batch_size,
        per_device_eval_batch_size=256,
        warmup_steps=steps_per_pass // 2,
        bf16=True,
        logging_steps=max(steps_per_pass // 5, 1),
        eval_strategy="steps",
        eval_steps=steps_per_pass,
        save_steps=max(steps_per_pass // 4, 1),
        label_names=["labels"],
    )
    validation = {source.file.split("_")[1].split(".")[0]: HeldPictures(run.data, source) for source in SOURCES}
    trainer = VisionTrainer(
        model=model,
        args=arguments,
        train_dataset=stream,
        eval_dataset=validation,
        data_collator=PictureBatches(round(run.ramp_passes * one_pass), run.seed),
        compute_metrics=accuracy,
        optimizers=(MuonWithAdamW(split_parameters(model, {}, run.learning_rate, run.weight_decay)), None),
    )
    trainer.teacher = teacher
    resume(trainer)
    trainer.save_model(str(run.output))
    return run.output / "model.safetensors"
