"""Heads as triangle meshes with a morph per facial action, in the units of the scene, so that all have the same size.

A mesh from a file has its own units and origin. They are determined from its morphs: the closing lids mark the eyes,
and the pursing lips mark the mouth.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from emotion_qwen.errors import MediaError, listed
from emotion_qwen.express.track import CHANNELS, PLACE

SKIN, PLAIN, HIDDEN = 0, 1, 2
"""Kinds of triangles: skin, whose colour depends on the identity; of their own colour; transparent, not drawn."""
EYE_X, EYE_Y, MOUTH_Y = 0.36, 0.22, -0.535
"""Positions of the eyes and the mouth in units of the scene, as in the drawn face."""
EYE_DEPTH = 0.72
"""z of the lids in units of the scene."""
FEWEST = 20
"""Smallest number of the 52 facial actions that a head must have as morphs."""
_ALIASES = {"cheekRaiserLeft": "cheekSquintLeft", "cheekRaiserRight": "cheekSquintRight"}
"""Morphs that add to a facial action of another name: both are action unit 6."""
_MIDDLE = ("browInnerUp", "cheekPuff")
"""Actions without a side that some heads have once per side."""


@dataclass(frozen=True, eq=False)
class HeadMesh:
    """A head.

    Attributes:
        vertices: (V, 3) at rest, in units of the scene.
        faces: (F, 3) vertex indices, counterclockwise from outside.
        kinds: (F,) SKIN, PLAIN or HIDDEN.
        colours: (V, 3) red, green and blue, 0 to 255, of triangles that are PLAIN.
        morphs: (52, V, 3) change of the vertices at full strength of each action; zeros where the head has no morph.
        has: names of the actions that the head has.
        shapes: name of an identity -> (V, 3) change of the vertices; empty for a head with one identity.
        iris: (V,) distance from the axis of the eye, for vertices of eyeballs, and infinity elsewhere; None if the iris
            is part of `colours`.
    """

    vertices: np.ndarray
    faces: np.ndarray
    kinds: np.ndarray
    colours: np.ndarray
    morphs: np.ndarray
    has: tuple[str, ...]
    shapes: Mapping[str, np.ndarray] = field(default_factory=dict)
    iris: np.ndarray | None = None
    lit: bool = True

    def at(self, frame: np.ndarray, shape: str = "") -> np.ndarray:
        """Return the vertices (V, 3) with facial actions (52,), in the shape of an identity if the head has it."""
        active = np.flatnonzero(frame)
        moved = self.vertices + np.tensordot(frame[active], self.morphs[active], 1)
        return moved + self.shapes[shape] if shape in self.shapes else moved


def channel_of(name: str) -> str | None:
    """Return the facial action that a morph of a file means, or None.

    Accepts "browDownLeft", "browDown_L", "BrowDownLeft" and names with a prefix such as "blendShape1.browDown_L".
    """
    plain = re.sub(
        r"[\s_.\-]*(L|R|Left|Right|left|right)$", lambda m: {"l": "Left", "r": "Right"}[m[1][0].lower()], name
    )
    plain = re.split(r"[.:]", plain)[-1].replace("_", "")
    plain = _ALIASES.get(plain[:1].lower() + plain[1:], plain)
    by_key = _by_key()
    middle = re.sub(r"(Left|Right)$", "", plain)
    if middle[:1].lower() + middle[1:] in _MIDDLE:
        plain = middle
    return by_key.get(plain.lower())


def _by_key() -> dict[str, str]:
    return {name.lower(): name for name in CHANNELS}


def gather_morphs(
    named: Iterable[tuple[str, np.ndarray, np.ndarray]], count: int, name: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Sum morphs of a file into facial actions.

    Args:
        named: name of a morph, vertex indices (N,), changes (N, 3).
        count: number V of vertices.
        name: of the file, for messages.

    Returns:
        (52, V, 3) changes, and the names of the actions that are there.

    Raises:
        MediaError: fewer than `FEWEST` actions are there.
    """
    morphs, present, others = np.zeros((len(CHANNELS), count, 3), np.float32), set(), []
    for morph, rows, change in named:
        channel = channel_of(morph)
        if channel is None:
            others.append(morph)
            continue
        np.add.at(morphs[PLACE[channel]], rows, change.astype(np.float32))
        present.add(channel)
    if len(present) < FEWEST:
        seen = f"; its morphs are {listed(sorted(set(others)), 4)}" if others else ""
        raise MediaError(
            f"{name} has {len(present)} of the 52 ARKit morphs{seen}; expected a head with morphs such as jawOpen and "
            "eyeBlinkLeft, at least 20 of them"
        )
    return morphs, tuple(channel for channel in CHANNELS if channel in present)


def aligned(vertices: np.ndarray, morphs: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Move and scale a head so that its eyes and mouth are where those of the drawn face are.

    Args:
        vertices: (V, 3), x to the person's left, y upwards, z to the front.
        morphs: (52, V, 3).
        name: of the file, for messages.

    Returns:
        Vertices and morphs in units of the scene.

    Raises:
        MediaError: the morphs of lids and lips are missing or do not fit a head that stands upright.
    """
    if not np.isfinite(vertices).all():
        raise MediaError(f"{name} has vertices that are not numbers; export the head again")
    left, right = (_centre(vertices, morphs, (f"eyeBlink{side}",)) for side in ("Left", "Right"))
    lips = _centre(vertices, morphs, ("mouthPucker", "mouthFunnel", "mouthClose"))
    if left is None or right is None or lips is None or left[0] <= right[0] or lips[1] >= left[1]:
        raise MediaError(
            f"{name}: eyes and mouth cannot be located from its morphs; expected eyeBlinkLeft, eyeBlinkRight and "
            "mouthPucker, with y upwards and the person's left at positive x"
        )
    eyes = (left + right) / 2
    across = 2 * EYE_X / (left[0] - right[0])
    up = (EYE_Y - MOUTH_Y) / (eyes[1] - lips[1])
    scale = np.array([across, up, across])
    moved = (vertices - eyes) * scale + (0.0, EYE_Y, EYE_DEPTH)
    return moved, (morphs * scale).astype(np.float32)


def _centre(vertices: np.ndarray, morphs: np.ndarray, channels: tuple[str, ...]) -> np.ndarray | None:
    """Return the mean position of vertices that the first existing action moves, weighted by their movement."""
    for channel in channels:
        moved = np.linalg.norm(morphs[PLACE[channel]], axis=1) ** 2
        if moved.sum() > 0:
            return (vertices * moved[:, None]).sum(0) / moved.sum()
    return None
