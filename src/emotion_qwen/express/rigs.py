"""Faces that a track can move: the drawn face, and heads from files, behind one interface."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from emotion_qwen.express.face import draw_face, drawn_box
from emotion_qwen.express.features import Actions, brows, wrinkles
from emotion_qwen.express.head_files import load_head
from emotion_qwen.express.identities import Identity, identity_of, toned
from emotion_qwen.express.mesh import EYE_DEPTH, HIDDEN, SKIN, HeadMesh
from emotion_qwen.express.mouth import mouth_of
from emotion_qwen.express.paint import paint
from emotion_qwen.express.raster import rasterise, vertex_normals
from emotion_qwen.express.scene import BODY_SHARE, VIEW, Shape, at_depth, ellipse, on_head, on_picture
from emotion_qwen.express.track import CHANNELS

CAMERA = 8.0
"""Distance of the camera from the pivot of a head, in units of the scene."""
TEXTURE = 512
"""Side in pixels of the picture of brows, lips and wrinkles that is laid on a head."""
ROW = 4096
BROW_SHARE = 0.9
"""Part of the motion of the drawn face's brows that is painted on a head in addition to the motion of its mesh."""
KEY = np.array([-0.42, 0.5, 0.76])
FILL = np.array([0.75, 0.1, 0.65])
KEY_SHARE, FILL_SHARE, AMBIENT, SHINE = 0.72, 0.2, 0.26, 0.1
"""Lights: directions to a key light at the upper left and a weak fill light, and their shares."""


class Rig(Protocol):
    """A face that facial actions can move."""

    @property
    def name(self) -> str:
        """Name of the face."""
        ...

    @property
    def mesh(self) -> HeadMesh | None:
        """The mesh, for files of meshes; None for the drawn face."""
        ...

    def render(
        self, frame: np.ndarray, head: np.ndarray, identity: str = "amber", size: int = 512, fine: int = 2
    ) -> np.ndarray:
        """Return (size, size, 3) uint8 RGB of a frame (52,) with the head's angles (3,) in degrees."""
        ...

    def box(self, head: np.ndarray, size: int = 512) -> np.ndarray:
        """Return x1, y1, x2, y2 of the face in pixels."""
        ...


class DrawnRig:
    """The drawn face, which is always there."""

    name = "drawn"
    mesh: HeadMesh | None = None

    def render(
        self, frame: np.ndarray, head: np.ndarray, identity: str = "amber", size: int = 512, fine: int = 2
    ) -> np.ndarray:
        """Draw a frame; see `draw_face`."""
        return draw_face(frame, head, identity, size, fine)

    def box(self, head: np.ndarray, size: int = 512) -> np.ndarray:
        """Return the box of the face; see `drawn_box`."""
        return drawn_box(head, size)


class MeshRig:
    """A head from a file, drawn by our rasteriser with brows, lips and wrinkles of the drawn face.

    Args:
        mesh: the head.
        name: of the head.
    """

    def __init__(self, mesh: HeadMesh, name: str) -> None:
        self.mesh, self.name = mesh, name
        self._faces = mesh.faces[mesh.kinds != HIDDEN]
        self._is_skin = mesh.kinds[mesh.kinds != HIDDEN] == SKIN

    def render(
        self, frame: np.ndarray, head: np.ndarray, identity: str = "amber", size: int = 512, fine: int = 2
    ) -> np.ndarray:
        """Render a frame; arguments as of `draw_face`."""
        who, side = identity_of(identity), size * fine
        vertices = self.mesh.at(frame, identity)
        turned = _turned(vertices, head)
        normals = vertex_normals(turned, self._faces)
        zoom = CAMERA / (CAMERA - turned[:, 2:])
        plane = on_picture(turned[:, :2] * zoom, side)
        covered = rasterise(np.column_stack([plane, turned[:, 2]]), self._faces, side)
        resting = covered.interpolate(self.mesh.vertices, self._faces)
        normal = covered.interpolate(normals, self._faces)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        colour = covered.interpolate(self.mesh.colours, self._faces)
        if self.mesh.iris is not None:
            radius = covered.interpolate(np.minimum(self.mesh.iris, 1.0)[:, None], self._faces)[:, 0]
            colour = _iris_colour(colour, radius, who)
        skin = self._is_skin[covered.faces]
        colour[skin] = skin_colour(resting[skin], frame, who)
        if self.mesh.lit:
            light = _light(normal)
            inner = ~skin & (resting[:, 1] < -0.2) & self._is_skin.any()
            light[inner] *= 0.55 + 0.45 * np.clip((resting[inner, 2:3] - 0.3) / 0.5, 0, 1)  # the mouth is dark inside
            colour = colour * light + 255 * SHINE * _shine(normal) * skin[:, None]
        picture = np.empty((side * side, 3), np.float32)
        picture[:] = who.background
        picture[covered.pixels] = colour
        picture = picture.reshape(side, side, 3).clip(0, 255).astype(np.uint8)
        return picture if fine == 1 else cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)

    def box(self, head: np.ndarray, size: int = 512) -> np.ndarray:
        """Return the box of the face: eyes and mouth are aligned with those of the drawn face."""
        return drawn_box(head, size)


def rig_of(path: Path | None) -> Rig:
    """Return the rig in a file, or the drawn face for None.

    Raises:
        MediaError: the file is no head with ARKit morphs.
    """
    return DrawnRig() if path is None else MeshRig(load_head(path), path.stem)


def rotation(head: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) of a head by yaw, pitch and roll in degrees: x right, y up, z towards the viewer."""
    yaw, pitch, roll = np.radians(head)
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def _turned(vertices: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Turn a head above its shoulders, which follow slightly."""
    share = np.clip((vertices[:, 1:2] + 1.7) / 0.6, 0, 1)
    share = share * share * (3 - 2 * share)
    body = vertices @ rotation(np.asarray(head) * BODY_SHARE).T
    return body + share * (vertices @ rotation(np.asarray(head)).T - body)


def _light(normal: np.ndarray) -> np.ndarray:
    """Return red, green and blue of the light (P, 3) on unit normals (P, 3); red reaches a little around edges."""
    wrap = np.array([0.35, 0.22, 0.16])
    key = np.clip((normal @ (KEY / np.linalg.norm(KEY)))[:, None] + wrap, 0, None) / (1 + wrap)
    fill = np.clip((normal @ (FILL / np.linalg.norm(FILL)))[:, None], 0, None)
    return AMBIENT + KEY_SHARE * key + FILL_SHARE * fill


def _shine(normal: np.ndarray) -> np.ndarray:
    half = KEY / np.linalg.norm(KEY) + (0, 0, 1)
    return np.clip(normal @ (half / np.linalg.norm(half)), 0, 1)[:, None] ** 24


def _iris_colour(colour: np.ndarray, radius: np.ndarray, who: Identity) -> np.ndarray:
    """Return colours (P, 3) with iris and pupil at so small distances (P,) from the axis of an eye."""
    for edge, ring in ((0.078, toned(who.iris, 0.45)), (0.068, who.iris), (0.03, (12.0, 9.0, 10.0))):
        share = np.clip((edge - radius) / 0.008, 0, 1)[:, None]
        colour = colour + share * (np.array(ring) - colour)
    return colour


def skin_colour(places: np.ndarray, frame: np.ndarray, who: Identity) -> np.ndarray:
    """Return the colours (P, 3) of skin at resting places (P, 3): brows, lips and wrinkles in front, cropped hair."""
    if not len(places):
        return np.zeros((0, 3))
    texture = _texture(np.round(frame, 3).tobytes(), who)
    at = on_picture(places[:, :2], TEXTURE).astype(np.float32)
    rows = np.pad(at, ((0, -len(at) % ROW), (0, 0))).reshape(-1, ROW, 2)  # OpenCV's pictures have at most 32,767 rows
    no_map: Any = None  # OpenCV takes both coordinates in one array
    painted = cv2.remap(texture, rows, no_map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).reshape(-1, 3)[
        : len(at)
    ]
    front = np.clip((places[:, 2:3] - EYE_DEPTH + 0.75) / 0.3, 0, 1)
    skin = np.array(who.skin)
    colour = skin + front * (painted.astype(np.float64) - skin)
    line = places[:, 1] - 0.98 + 0.77 * (EYE_DEPTH + 0.1 - places[:, 2]).clip(0, 1.3)
    is_ear = (np.abs(places[:, 0]) > 0.98) & (places[:, 1] < 0.35)
    crop = (np.clip(line / 0.12, 0, 1) * ~is_ear * 0.85)[:, None]
    return colour + crop * (np.array(toned(who.hair, 0.9)) - colour)


@lru_cache(maxsize=4)
def _texture(frame: bytes, who: Identity) -> np.ndarray:
    """Paint lips and blush at rest, and brows and wrinkles of a frame, (TEXTURE, TEXTURE, 3) uint8.

    The parts at rest move with the mesh; wrinkles are painted where they appear. The hair of the brows moves further
    than the skin around it, so a part of its motion is also painted.
    """
    values = np.frombuffer(frame)
    act, rest, part = Actions(values), Actions(np.zeros(len(CHANNELS))), Actions(values * BROW_SHARE)
    lines = mouth_of(rest, who)
    lips = np.concatenate([lines.top, lines.bottom[::-1]])
    square = np.array([VIEW[:2], (VIEW[2], VIEW[1]), VIEW[2:], (VIEW[0], VIEW[3])])
    shapes = [
        Shape(at_depth(square), who.skin),
        Shape(at_depth(square), who.skin, 0.0, 0.0, "", "face"),
        *(Shape(on_head(ellipse(x, -0.12, 0.2, 0.14)), toned(who.skin, 0.95, 22), 0.45, 0.08) for x in (0.47, -0.47)),
        *wrinkles(act, who),
        Shape(on_head(lips), who.lips, 0.8, 0.016),
        *brows(part, who),
    ]
    return paint(shapes, (0.0, 0.0, 0.0), TEXTURE, 1)
