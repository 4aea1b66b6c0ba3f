"""The drawn face as a mesh: its solid shapes as flat layers in depth, with a morph per facial action.

Soft shadows are left out, because glTF has no blur. It has no morphs of opacity either, so a wrinkle is a band that
widens with its strength. Skin over the eyeballs stands for the cutting of the iris to the lids.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from emotion_qwen.express.face import face_outline
from emotion_qwen.express.features import INK, SIDES, Actions, brows, eye_lids, eyes, nose, wrinkle_folds
from emotion_qwen.express.hair import back_hair, front_hair
from emotion_qwen.express.identities import Identity, identity_of, toned
from emotion_qwen.express.mesh import PLAIN, HeadMesh
from emotion_qwen.express.mouth import mouth
from emotion_qwen.express.scene import Shape, on_head, stroke
from emotion_qwen.express.track import CHANNELS

SOLID, SHARP = 0.72, 0.01
"""Least opacity and largest blur of a shape that becomes a layer."""
STEP = 0.0015
"""Distance between layers in units of the scene, so that they do not flicker."""
COVER = 0.17
"""How far the skin around an eye reaches."""
GROOVE = 0.8
"""Width of a wrinkle at full strength, relative to that of the painted one with its soft edge."""


def _solid_shapes(frame: np.ndarray, who: Identity) -> list[Shape]:
    """Return the shapes from which layers are made; their number does not depend on the frame."""
    act = Actions(frame)
    shapes = [
        *back_hair(who),
        Shape(face_outline(act, who), who.skin),
        *_grooves(act, who),
        *nose(act, who),
        *mouth(act, who),
    ]
    waiting = list(_covers(act, who))
    for shape in eyes(act, who):
        if shape.colour == INK and waiting and np.sign(shape.points[:, 0].mean()) == np.sign(waiting[0].points[0, 0]):
            shapes += [waiting.pop(0), waiting.pop(0)]  # over the iris, under the lashes
        shapes.append(shape)
    return [*shapes, *brows(act, who), *front_hair(who)]


def _grooves(act: Actions, who: Identity) -> Iterator[Shape]:
    """Yield the wrinkles as bands, which have no width where there is none."""
    colour = toned(who.skin, 0.62, 12)
    for line, width, strength in wrinkle_folds(act, who):
        yield Shape(on_head(stroke(line, GROOVE * width * min(max(strength, 0.0), 1.0))), colour)


def _covers(act: Actions, who: Identity) -> Iterator[Shape]:
    """Yield the skin above and below each eye, from the edge of the lid outwards."""
    for side, sign in SIDES:
        reach = np.sin(np.pi * np.linspace(0, 1, 17)) ** 0.5 * COVER
        level = 0.212 + 0.022 * np.linspace(0, 1, 17)
        for edge, direction in zip(eye_lids(act, who, side, sign), (1, -1), strict=True):
            outer = np.stack([edge[:, 0], level + direction * reach], 1)
            yield Shape(on_head(np.concatenate([edge, outer[::-1]])), who.skin)


def _points(frame: np.ndarray, who: Identity, chosen: list[int]) -> np.ndarray:
    shapes = _solid_shapes(frame, who)
    return np.concatenate([shapes[row].points + np.array([0, 0, STEP * layer]) for layer, row in enumerate(chosen)])


def strip(count: int) -> np.ndarray:
    """Return the triangles (F, 3) of a closed outline of so many points, as a strip across it.

    Every shape of the drawn face is either symmetric or a band, so that point k lies opposite to the k-th from the end.
    """
    first = np.arange(count // 2 - 1)
    last = count - 1 - first
    quads = np.stack([first, first + 1, last - 1, first, last - 1, last], 1).reshape(-1, 3)
    middle = count // 2 - 1
    return quads if count % 2 == 0 else np.concatenate([quads, [[middle, middle + 1, middle + 2]]])


@lru_cache(maxsize=4)
def paper_head(identity: str) -> HeadMesh:
    """Return the mesh of an identity of the drawn face.

    Raises:
        SettingsError: there is no such identity.
    """
    who, rest = identity_of(identity), np.zeros(len(CHANNELS))
    shapes = _solid_shapes(rest, who)
    chosen = [row for row, shape in enumerate(shapes) if shape.opacity >= SOLID and shape.blur <= SHARP]
    counts = [len(shapes[row].points) for row in chosen]
    starts = np.cumsum([0, *counts[:-1]])
    faces = np.concatenate([strip(count) + start for count, start in zip(counts, starts, strict=True)])
    colours = np.repeat(np.array([shapes[row].colour for row in chosen]), counts, axis=0)
    vertices = _points(rest, who, chosen)
    morphs = np.stack([_points(row, who, chosen) - vertices for row in np.eye(len(CHANNELS))]).astype(np.float32)
    has = tuple(name for name, change in zip(CHANNELS, morphs, strict=True) if np.abs(change).max() > STEP / 10)
    return HeadMesh(vertices, faces, np.full(len(faces), PLAIN, np.uint8), colours.clip(0, 255), morphs, has)
