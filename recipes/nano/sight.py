"""Train a vision transformer on drawn scenes, patch by patch, without forgetting pictures.

A question about a scene supervises one word; the known content of every patch gives sixty-four targets. Every step has
scenes, in which each patch predicts kind and colour of the shape that covers it, the position of its centre, its size,
and whether the patch contains the centre (so that a shape is counted once); and pictures, on which the features must
stay close to those before. Rotary positions are relative: without this training, no feature holds its absolute position
in the picture, and the language model cannot infer it. The heads are discarded.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset

from emotion_qwen.model.vision import EmotionQwenVisionTransformer
from emotion_qwen.processing.patches import normalize, patchify
from emotion_qwen.training.optimizer import MuonWithAdamW, split_parameters
from emotion_qwen.training.plan import native_dtype
from recipes.nano.shape_questions import shapes_item
from recipes.nano.shapes import COLOUR_NAMES, KINDS, LARGE, SMALL, Scene, render
from recipes.nano.vision_start import OrderedTrainer, PictureBatches, PictureStream, resume, training_arguments

SCENE_SIDE = 64
NOTHING = len(KINDS) * len(COLOUR_NAMES)
"""Class of a patch that no shape covers; the others are kind x colour."""
MEASURE = 3.0
"""Weight of the squared error of position and size."""
HOLD = 3.0
"""Weight of the distance from the earlier features of the pictures, which are scaled to variance 1."""
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
    """Return the content of every patch of a scene.

    A patch belongs to the shape whose disc contains the patch's centre. Discs do not touch, so this is unique; the hole
    of a ring and the notches of a star count as part of the shape.

    Args:
        scene: the scene.
        side: number of patches along one side.

    Returns:
        (side, side) int64, rows from the top: kind x colour, or `NOTHING`; and (side, side, 4) float32: 1 for the patch
        that contains its shape's centre, then x, y and radius of the shape, scaled to about -1..1; 0 elsewhere.
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
    """One item per step: pictures in order, and scenes by their index."""

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

    The last two are in the order of `patchify`; see `scene_classes`.
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
    """The vision transformer, heads for the content of a patch, and a copy of the transformer before training."""

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

        Without `pixels`, the loss has no term for the earlier features.
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


def _only(items: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return items[0]


def run_sight(run: SightRun, vision: EmotionQwenVisionTransformer, pictures: PictureStream) -> SightStudent:
    """Train the transformer in place, continuing from the last checkpoint in `run.output` if there is one."""
    student = SightStudent(vision)
    shape = vision.config
    arguments = training_arguments(
        run,
        max_steps=run.steps,
        per_device_train_batch_size=1,
        warmup_steps=max(run.steps // 20, 1),
        bf16=native_dtype() == torch.bfloat16,
        logging_steps=20,
        save_steps=100,
    )
    trainer = OrderedTrainer(
        model=student,
        args=arguments,
        train_dataset=SightStream(run, pictures, shape.patch_size, shape.spatial_merge_size),
        data_collator=_only,
        optimizers=(MuonWithAdamW(split_parameters(student, {}, run.learning_rate, run.weight_decay)), None),
    )
    resume(trainer)
    return student


@torch.no_grad()
def patch_accuracy(student: SightStudent, scenes: int = 200) -> dict[str, float]:
    """Measure the accuracy on validation scenes.

    Returns:
        Percentage of correct patches, among all (`every`) and those with a shape (`shown`); percentage of scenes with
        all centres correct (`centres`); mean absolute error of a shape's `x`, `y` and `radius`, as shares of the side.
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
