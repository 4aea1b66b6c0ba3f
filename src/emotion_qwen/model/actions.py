"""Facial actions: a small head that measures facial movements and head angles from a visual's patch features.

It uses only the vision transformer: no token passes through the head, and no answer of the language model depends on
it. `EmotionQwenConfig.facial_actions` names its outputs: blendshapes of ARKit, about 0 to 1, and the head angles yaw,
pitch and roll in degrees. They are meaningful only for crops of one face.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from emotion_qwen.errors import ShapeError
from emotion_qwen.model.compressor import mean_per_visual
from emotion_qwen.model.vision import group_segments


class FacialActionHead(nn.Module):
    """Facial actions and head angles from patch features: mean and maximum over patches, layer norm, linear.

    Args:
        width: of the patch features.
        outputs: number A of actions and angles.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * width)
        self.linear = nn.Linear(2 * width, outputs)

    def forward(self, features: torch.Tensor, grid_thw: torch.Tensor | None = None) -> torch.Tensor:
        """Measure V visuals; the patches of a frame may come in any order.

        Args:
            features: (N, width) patch features of the visuals, one after another, as
                `VisualFeatures.last_hidden_state`; or (V, patches, width) of pictures of one size, without `grid_thw`.
            grid_thw: (V, 3) times, rows and columns of patches of every visual.

        Returns:
            (V, A) fp32. Each temporal patch of a video is measured separately; the mean over them is returned.

        Raises:
            ShapeError: the grids do not add up to the number of features.
        """
        if grid_thw is None:
            pooled = torch.cat([features.mean(1), features.amax(1)], dim=1)
            return self.linear(self.norm(pooled)).float()
        grid_thw = grid_thw.to(features.device)
        times = grid_thw[:, 0]
        sizes = torch.repeat_interleave(grid_thw[:, 1] * grid_thw[:, 2], times)  # patches of every frame
        if int(sizes.sum()) != len(features):
            raise ShapeError(
                f"{len(features)} patch features for grids of {int(sizes.sum())} patches; "
                "pass grid_thw of exactly these visuals"
            )
        frames = features.new_empty(len(sizes), self.linear.out_features, dtype=torch.float32)
        for group in group_segments(_bounds(sizes)):
            rows = features if group.rows is None else features[group.rows]
            frames[sizes == group.length] = self(rows.view(group.count, group.length, -1))
        return mean_per_visual(frames, _bounds(times))

    @torch.no_grad()
    def rescale(self, mean: torch.Tensor, deviation: torch.Tensor) -> None:
        """Change the linear layer so that outputs x become x * deviation + mean, (A,) each."""
        self.linear.weight.mul_(deviation[:, None])
        self.linear.bias.mul_(deviation).add_(mean)


def _bounds(sizes: torch.Tensor) -> torch.Tensor:
    return F.pad(sizes.cumsum(0), (1, 0))
