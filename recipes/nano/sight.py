"""Teach a trained vision transformer to see drawn scenes, patch by patch, without forgetting pictures.

Questions about a scene teach a word at a time; what stands under every patch is known, and teaches sixty-four. Every
step shows scenes, whose patches are to say kind and colour of the shape that covers them, where its centre lies, how
large it is, and whether the centre is theirs (so that a shape is counted once); and pictures, on which the transformer
is held to the features it had before. Rotary positions are relative: without being asked, no feature says where in the
picture it stands, and a language model cannot find out. The heads are thrown away.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from emotion_qwen.model.vision import EmotionQwenVisionTransformer
from emotion_qwen.processing.patches import normalize, patchify
from emotion_qwen.training.optimizer import MuonWithAdamW, split_parameters
from emotion_qwen.training.plan import native_dtype
from recipes.nano.shape_questions import shapes_item
from recipes.nano.shapes import COLOUR_NAMES, KINDS, LARGE, SMALL, Scene, render
from recipes.nano.vision_start import PictureBatches, PictureStream

SCENE_SIDE = 64
NOTHING = len(KINDS) * len(COLOUR_NAMES)
"""The class of a patch that no shape covers; the others are kind x colour."""
MEASURE = 3.0
"""Weight of the squared error of place and size."""
HOLD = 3.0
"""Weight of the distance from the features the pictures had before; these are brought to variance 1."""
_MIDDLE_RADIUS, _RADIUS_SPREAD = (SMALL[1] + LARGE[0]) / 2, (LARGE[1] - SMALL[0]) / 2


@dataclass(frozen=True)
class SightRun:
    """One run: `scenes` drawn scenes and `pictures` pictures per step."""

    data: Path
    output: Path
    steps: int
    learning_rate: float = 2e-3
    scenes: int = 48
    pictures: int = 32
    weight_decay: float = 0.05
    seed: int = 17


def scene_classes(scene: Scene, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Tell what stands under every patch of a scene.

    A patch belongs to a shape whose disc holds its centre. Discs do not touch, so there is one answer; the hole of a
    ring and the notches of a star count as theirs.

    Args:
        scene: the scene.
        side: patches along one side.

    Returns:
        (side, side) int64, rows from the top: kind x colour, or `NOTHING`; and (side, side, 4) float32: 1 for the
        patch that holds its shape's centre, then x, y and radius of the shape, brought to about -1..1; 0 elsewhere.
    """
    centres = (np.arange(side) + 0.5) / side
    classes = np.full((side, side), NOTHING)
    geometry = np.zeros((side, side, 4), np.float32)
    for shape in scene.shapes:
        inside = (centres[None, :] - shape.x) ** 2 + (centres[:, None] - shape.y) ** 2 <= shape.radius**2
        classes[inside] = KINDS.index(shape.kind) * len(COLOUR_NAMES) + COLOUR_NAMES.index(shape.colour)
        geometry[inside, 1:] = 2 * shape.x - 1, 2 * shape.y - 1, (shape.radius - _MIDDLE_RADIUS) / _RADIUS_SPREAD
        geometry[int(shape.y * side), int(shape.x * side), 0] = 1
    return classes, geometry


class SightStream(Dataset):
    """One item a step: pictures in line, and scenes by their number."""

    def __init__(self, run: SightRun, pictures: PictureStream, patch: int, merge: int) -> None:
        self.run, self.pictures, self.patch, self.merge = run, pictures, patch, merge
        self.collate = PictureBatches(1, run.seed)

    def __len__(self) -> int:
        return self.run.steps

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        places = range(step * self.run.pictures, (step + 1) * self.run.pictures)
        pixels = self.collate([self.pictures[place % len(self.pictures)] for place in places])["pixels"]
        first = step * self.run.scenes
        return {"pixels": pixels, **draw_scenes(range(first, first + self.run.scenes), "train", self.patch, self.merge)}


def draw_scenes(indices: range, split: str, patch: int, merge: int) -> dict[str, torch.Tensor]:
    """Draw scenes: `scenes` (B, 3, S, S) normalised; `classes` (B * patches,) and `geometry` (B * patches, 4).

    The last two stand in the order of `patchify`; see `scene_classes`.
    """
    drawn = [shapes_item(index, split).scene for index in indices]
    pixels = torch.from_numpy(np.stack([render(scene, SCENE_SIDE) for scene in drawn])).permute(0, 3, 1, 2).float()
    targets = [scene_classes(scene, SCENE_SIDE // patch) for scene in drawn]
    classes, geometry = (torch.from_numpy(np.stack(maps)) for maps in zip(*targets, strict=True))
    return {
        "scenes": normalize(pixels / 255),
        "classes": patchify(classes[:, None, None], 1, 1, merge).flatten(),
        "geometry": patchify(geometry.permute(0, 3, 1, 2)[:, None], 1, 1, merge),
    }


def patch_features(vision: EmotionQwenVisionTransformer, pixels: torch.Tensor) -> torch.Tensor:
    """Return (B * patches, hidden) features of square pictures (B, 3, S, S), in the order of `patchify`."""
    config = vision.config
    frames = pixels.unsqueeze(1).expand(-1, config.temporal_patch_size, -1, -1, -1)
    patches = patchify(frames, config.patch_size, config.temporal_patch_size, config.spatial_merge_size)
    side = pixels.shape[-1] // config.patch_size
    seen = vision(patches, torch.tensor([[1, side, side]]).expand(len(pixels), 3))
    groups = seen.last_hidden_state.view(-1, config.spatial_merge_size**2, config.hidden_size)
    return groups[seen.pooler_output.to(groups.device).argsort()].flatten(0, 1)


class SightStudent(nn.Module):
    """The vision transformer, heads for what stands under a patch, and the transformer as it was."""

    def __init__(self, vision: EmotionQwenVisionTransformer) -> None:
        super().__init__()
        self.vision = vision
        self.before = copy.deepcopy(vision).requires_grad_(False)
        self.norm = nn.LayerNorm(vision.config.hidden_size)
        self.head = nn.Linear(vision.config.hidden_size, NOTHING + 1)
        self.geometry = nn.Linear(vision.config.hidden_size, 4)

    def forward(
        self,
        scenes: torch.Tensor,
        classes: torch.Tensor,
        geometry: torch.Tensor,
        pixels: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return `loss`, `logits` (B * patches, classes) and `geometry` (B * patches, 4), the first a logit.

        Without `pixels` nothing is held.
        """
        seen = self.norm(patch_features(self.vision, scenes))
        logits, predicted = self.head(seen).float(), self.geometry(seen).float()
        shown = classes != NOTHING
        loss = F.cross_entropy(logits, classes) + MEASURE * F.mse_loss(predicted[shown, 1:], geometry[shown, 1:])
        loss = loss + F.binary_cross_entropy_with_logits(predicted[:, 0], geometry[:, 0])
        if pixels is not None:
            with torch.no_grad():
                wanted = patch_features(self.before, pixels).float()
            kept = patch_features(self.vision, pixels).float()
            loss = loss + HOLD * F.mse_loss(kept, wanted) / wanted.var()
        return {"loss": loss, "logits": logits, "geometry": predicted}


class SightTrainer(Trainer):
    """transformers' Trainer over steps that are batches already."""

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def _only(items: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return items[0]


def run_sight(run: SightRun, vision: EmotionQwenVisionTransformer, pictures: PictureStream) -> SightStudent:
    """Train the transformer in place, going on from the last checkpoint in `run.output` if there is one."""
    student = SightStudent(vision)
    shape = vision.config
    arguments = TrainingArguments(
        output_dir=str(run.output),
        max_steps=run.steps,
        per_device_train_batch_size=1,
        learning_rate=run.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(run.steps // 20, 1),
        max_grad_norm=1.0,
        bf16=native_dtype() == torch.bfloat16,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=20,
        save_strategy="steps",
        save_steps=100,
        save_total_limit=2,
        report_to=[],
        remove_unused_columns=False,
        seed=run.seed,
    )
    trainer = SightTrainer(
        model=student,
        args=arguments,
        train_dataset=SightStream(run, pictures, shape.patch_size, shape.spatial_merge_size),
        data_collator=_only,
        optimizers=(MuonWithAdamW(split_parameters(student, {}, run.learning_rate, run.weight_decay)), None),
    )
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(run.output)) if run.output.is_dir() else None)
    return student


@torch.no_grad()
def patch_accuracy(student: SightStudent, scenes: int = 200) -> dict[str, float]:
    """Measure validation scenes.

    Returns:
        Percent of patches named right, of all (`every`) and of those with a shape (`shown`); percent of scenes whose
        centres are exactly found (`centres`); mean absolute error of a shape's `x`, `y` and `radius` in sides.
    """
    shape = student.vision.config
    drawn = draw_scenes(range(scenes), "validation", shape.patch_size, shape.spatial_merge_size)
    outputs = student.eval()(**drawn)
    right, shown = outputs["logits"].argmax(-1) == drawn["classes"], drawn["classes"] != NOTHING
    centres = ((outputs["geometry"][:, 0] > 0) == (drawn["geometry"][:, 0] > 0)).view(scenes, -1).all(1)
    missed = (outputs["geometry"] - drawn["geometry"])[shown, 1:].abs().mean(0)
    x, y, radius = (missed * torch.tensor([0.5, 0.5, _RADIUS_SPREAD])).tolist()
    shares = {"every": right, "shown": right[shown], "centres": centres}
    percent = {name: 100 * hits.float().mean().item() for name, hits in shares.items()}
    return percent | {"x": x, "y": y, "radius": radius}
