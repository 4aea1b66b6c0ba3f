"""Facial actions: the 45 blendshapes that vary, and their changes when a picture is mirrored or rotated."""

from __future__ import annotations

import torch

from emotion_qwen.faces.face_claims import other_side

ACTIONS = (
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "eyeLookDownLeft",
    "eyeLookDownRight",
    "eyeLookInLeft",
    "eyeLookInRight",
    "eyeLookOutLeft",
    "eyeLookOutRight",
    "eyeLookUpLeft",
    "eyeLookUpRight",
    "eyeSquintLeft",
    "eyeSquintRight",
    "eyeWideLeft",
    "eyeWideRight",
    "jawLeft",
    "jawOpen",
    "jawRight",
    "mouthClose",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthFunnel",
    "mouthLeft",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthPucker",
    "mouthRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
)
"""ARKit's names without cheekPuff, cheekSquint, jawForward and noseSneer, which MediaPipe leaves near zero."""


MIRROR = tuple(ACTIONS.index(other_side(name)) for name in ACTIONS)
"""Index of each action's counterpart on the other side of the face; its own index if it has none."""


def mirrored(
    actions: torch.Tensor, angles: torch.Tensor, turn: torch.Tensor, flip: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return actions and angles of pictures that were turned, then mirrored (see `recipes.nano.augment.Geometry`).

    Args:
        actions: (B, 45).
        angles: (B, 3) yaw, pitch and roll in degrees; yaw is positive to the right of the picture, roll clockwise.
        turn: (B,) radians, counterclockwise.
        flip: (B,), -1 where the picture was mirrored, else 1.
    """
    swapped = torch.where(flip[:, None] < 0, actions[:, list(MIRROR)], actions)
    yaw, pitch, roll = angles.unbind(1)
    return swapped, torch.stack([flip * yaw, pitch, flip * (roll - torch.rad2deg(turn))], dim=1)
