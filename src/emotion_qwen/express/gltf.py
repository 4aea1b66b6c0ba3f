"""Write a track as glTF 2.0: a head with a morph target per facial action, and the track as its animation."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen import __version__
from emotion_qwen.express.head_files import GAMMA
from emotion_qwen.express.identities import identity_of
from emotion_qwen.express.mesh import HIDDEN, SKIN, HeadMesh
from emotion_qwen.express.paper_head import paper_head
from emotion_qwen.express.raster import vertex_normals
from emotion_qwen.express.rigs import Rig, skin_colour
from emotion_qwen.express.track import CHANNELS, PLACE, ExpressionTrack
from emotion_qwen.files import write_whole

FLOAT, INDEX = 5126, 5125
VERTEX_DATA, INDEX_DATA = 34962, 34963
LEAST_MOVE = 1e-5
"""Smallest change of a vertex, in units of the scene, that a morph target stores."""


class _Buffer:
    """The binary part of a glTF file with its views and accessors."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, values: np.ndarray, target: int | None = None) -> int:
        """Append an array; return the index of its view."""
        self.data += b"\0" * (-len(self.data) % 4)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": values.nbytes}
        self.views.append({**view, **({"target": target} if target else {})})
        self.data += np.ascontiguousarray(values).tobytes()
        return len(self.views) - 1

    def add(self, values: np.ndarray, kind: str, target: int | None = None, bounds: bool = False) -> int:
        """Append an array as an accessor of this kind; return its index."""
        stored = values.astype("<u4" if values.dtype.kind in "iu" else "<f4")
        entry: dict[str, Any] = {
            "bufferView": self.view(stored, target),
            "componentType": INDEX if stored.dtype.kind == "u" else FLOAT,
            "count": len(values),
            "type": kind,
        }
        if bounds:
            flat = stored.reshape(len(values), -1)
            entry |= {"min": flat.min(0).tolist(), "max": flat.max(0).tolist()}
        self.accessors.append(entry)
        return len(self.accessors) - 1

    def add_sparse(self, change: np.ndarray) -> int:
        """Append changes (V, 3), of which most are 0, as a sparse accessor; return its index."""
        change = np.where(np.abs(change).max(1, keepdims=True) > LEAST_MOVE, change, 0).astype("<f4")
        rows = np.flatnonzero(change.any(1))
        entry: dict[str, Any] = {
            "componentType": FLOAT, "count": len(change), "type": "VEC3",
            "min": change.min(0).tolist(), "max": change.max(0).tolist(),
        }  # fmt: skip
        if len(rows):
            entry["sparse"] = {
                "count": len(rows),
                "indices": {"bufferView": self.view(rows.astype("<u4")), "componentType": INDEX},
                "values": {"bufferView": self.view(change[rows])},
            }
        else:
            entry["bufferView"] = self.view(change)
        self.accessors.append(entry)
        return len(self.accessors) - 1


def write_gltf(track: ExpressionTrack, rig: Rig, identity: str, path: Path) -> None:
    """Write a track as `.glb`, or as `.gltf` with its data embedded.

    Args:
        track: the track.
        rig: a head from a file, whose mesh is written; the drawn face is written as flat layers in depth.
        identity: its colours and shape.
        path: ends in `.glb` or `.gltf`.

    Raises:
        SettingsError: there is no such identity.
        StorageError: the file cannot be written.
    """
    document, data = gltf_document(track, rig, identity)
    if path.suffix.lower() == ".gltf":
        uri = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
        document["buffers"][0]["uri"] = uri
        write_whole(path, json.dumps(document))
        return
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + len(data)
    parts = (b"glTF", struct.pack("<II", 2, total), struct.pack("<I", len(text)), b"JSON", text)
    write_whole(path, b"".join((*parts, struct.pack("<I", len(data)), b"BIN\0", data)))


def gltf_document(track: ExpressionTrack, rig: Rig, identity: str) -> tuple[dict[str, Any], bytes]:
    """Return the JSON document and the binary buffer, padded to four bytes."""
    buffer, lit = _Buffer(), rig.mesh is not None
    mesh = rig.mesh if rig.mesh is not None else paper_head(identity)
    moving = [name for name in CHANNELS if name in mesh.has]
    primitive = _primitive(buffer, mesh, identity, moving, lit)
    pbr = {"baseColorFactor": [1, 1, 1, 1], "metallicFactor": 0, "roughnessFactor": 0.75}
    material: dict[str, Any] = {"name": "head", "doubleSided": not lit, "pbrMetallicRoughness": pbr}
    if not lit:
        material["extensions"] = {"KHR_materials_unlit": {}}
    times = buffer.add(track.times, "SCALAR", bounds=True)
    columns = [PLACE[name] for name in moving]
    weights = buffer.add(track.frames[:, columns].reshape(-1), "SCALAR")
    turns = buffer.add(quaternions(track.head), "VEC4")
    document = {
        "asset": {
            "version": "2.0",
            "generator": f"emotion-qwen {__version__}",
            "extras": {"synthetic": True, "provenance": track.provenance.model_dump()},
        },
        **({} if lit else {"extensionsUsed": ["KHR_materials_unlit"]}),
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "head", "mesh": 0}],
        "meshes": [
            {
                "name": rig.name,
                "primitives": [primitive],
                "weights": [0.0] * len(moving),
                "extras": {"targetNames": moving},
            }
        ],
        "materials": [material],
        "animations": [
            {
                "name": "expression",
                "channels": [
                    {"sampler": 0, "target": {"node": 0, "path": "weights"}},
                    {"sampler": 1, "target": {"node": 0, "path": "rotation"}},
                ],
                "samplers": [
                    {"input": times, "output": weights, "interpolation": "LINEAR"},
                    {"input": times, "output": turns, "interpolation": "LINEAR"},
                ],
            }
        ],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data) + -len(buffer.data) % 4}],
    }
    return document, bytes(buffer.data) + b"\0" * (-len(buffer.data) % 4)


def _primitive(buffer: _Buffer, mesh: HeadMesh, identity: str, moving: Sequence[str], lit: bool) -> dict[str, Any]:
    """Append a mesh in the shape and colours of an identity; return its primitive."""
    faces = mesh.faces[mesh.kinds != HIDDEN]
    used = np.unique(faces)
    faces = np.searchsorted(used, faces)
    vertices = mesh.at(np.zeros(len(CHANNELS)), identity)[used]
    attributes = {"POSITION": buffer.add(vertices, "VEC3", VERTEX_DATA, bounds=True)}
    if lit:
        normals = vertex_normals(vertices, faces)
        normals[np.linalg.norm(normals, axis=1) < 0.5] = (0, 0, 1)
        attributes["NORMAL"] = buffer.add(normals, "VEC3", VERTEX_DATA)
    colours = _vertex_colours(mesh, identity)[used]
    attributes["COLOR_0"] = buffer.add((colours / 255) ** GAMMA, "VEC3", VERTEX_DATA)
    return {
        "attributes": attributes,
        "indices": buffer.add(faces.reshape(-1), "SCALAR", INDEX_DATA),
        "material": 0,
        "targets": [{"POSITION": buffer.add_sparse(mesh.morphs[PLACE[name]][used])} for name in moving],
    }


def _vertex_colours(mesh: HeadMesh, identity: str) -> np.ndarray:
    """Return colours (V, 3), 0 to 255."""
    colours, who = mesh.colours.astype(float), identity_of(identity)
    skin = np.unique(mesh.faces[mesh.kinds == SKIN])
    colours[skin] = skin_colour(mesh.vertices[skin], np.zeros(len(CHANNELS)), who)
    if mesh.iris is not None:
        colours[mesh.iris < 0.07] = who.iris
        colours[mesh.iris < 0.03] = (12, 9, 10)
    return colours


def quaternions(head: np.ndarray) -> np.ndarray:
    """Return rotations (T, 4) x, y, z, w of heads (T, 3) with yaw, pitch and roll in degrees, as `rigs.rotation`."""
    yaw, pitch, roll = np.radians(head).T / 2
    # About y by yaw, then about x by -pitch, then about z by -roll.
    about_y = np.stack([0 * yaw, np.sin(yaw), 0 * yaw, np.cos(yaw)], 1)
    about_x = np.stack([-np.sin(pitch), 0 * yaw, 0 * yaw, np.cos(pitch)], 1)
    about_z = np.stack([0 * yaw, 0 * yaw, -np.sin(roll), np.cos(roll)], 1)
    return _product(about_z, _product(about_x, about_y))


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the Hamilton products (T, 4) of quaternions with the real part last."""
    vector = a[:, 3:] * b[:, :3] + b[:, 3:] * a[:, :3] + np.cross(a[:, :3], b[:, :3])
    real = a[:, 3] * b[:, 3] - (a[:, :3] * b[:, :3]).sum(1)
    return np.column_stack([vector, real])
