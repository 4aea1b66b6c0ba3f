"""Read heads from files: glTF 2.0 with ARKit morphs, and the NPZ form of the ICT-FaceKit head."""

from __future__ import annotations

import base64
import binascii
import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from PIL import Image

from emotion_qwen.errors import MediaError
from emotion_qwen.express.identities import IDENTITIES
from emotion_qwen.express.mesh import EYE_Y, HIDDEN, PLAIN, SKIN, HeadMesh, aligned, gather_morphs

COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
UNSUPPORTED = ("KHR_draco_mesh_compression", "EXT_meshopt_compression")
UNREADABLE = (
    OSError, ValueError, LookupError, TypeError, AttributeError, MemoryError, RecursionError, struct.error,
    zipfile.BadZipFile, Image.DecompressionBombError,
)  # fmt: skip
"""Errors that a file may cause if its values have different types, sizes or references from those of its format."""
TRIANGLES = 4
GAMMA = 2.2
"""Exponent between the linear colours of glTF and those of a picture."""
_ICT_KINDS = {
    "M_Face": SKIN, "M_BackHead": SKIN, "M_EyeBlend": HIDDEN, "M_EyeOcclusion": HIDDEN, "M_LacrimalFluid": HIDDEN,
    "M_IrisLeft": HIDDEN, "M_IrisRight": HIDDEN,
}  # fmt: skip
_ICT_COLOURS = {
    "M_EyeLashes": (38, 26, 24), "M_GumsTongue": (176, 88, 88), "M_Teeth": (240, 234, 222),
    "M_ScleraLeft": (240, 236, 232), "M_ScleraRight": (240, 236, 232),
}  # fmt: skip
_SHAPES_USED, _SHAPE_STRENGTH = 8, 0.6


def load_head(path: Path) -> HeadMesh:
    """Read a head from `.glb`, `.gltf` or `.npz`.

    Raises:
        MediaError: the file cannot be read, is of another kind, or has no ARKit morphs.
    """
    readers = {".glb": _read_gltf, ".gltf": _read_gltf, ".npz": _read_ict}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise MediaError(f"{str(path)!r} ends in {path.suffix!r}; expected a head as {', '.join(readers)}")
    try:
        with np.errstate(invalid="ignore"):  # of a damaged file; see `aligned`
            return reader(path)
    except UNREADABLE as error:
        raise MediaError(f"{str(path)!r} cannot be read as a head ({error}); export it again as binary glTF") from error


def _read_ict(path: Path) -> HeadMesh:
    """Read the ICT-FaceKit head (USC Institute for Creative Technologies, MIT licence) as arrays in one file."""
    with np.load(path, allow_pickle=False) as stored:
        neutral, faces = stored["neutral"].astype(np.float64), stored["faces"]
        materials = [str(name) for name in stored["materials"]]
        material = stored["material"]
        names = [str(name) for name in stored["expression_names"]]
        changes = stored["expressions"]
        identities = stored["identities"][:_SHAPES_USED].astype(np.float32)
    rows = np.arange(len(neutral))
    named = ((name, rows, change) for name, change in zip(names, changes, strict=True))
    morphs, has = gather_morphs(named, len(neutral), repr(str(path)))
    vertices, scaled = aligned(neutral, morphs, repr(str(path)))
    factor = (vertices[1] - vertices[0]) / np.where(neutral[1] == neutral[0], 1, neutral[1] - neutral[0])
    kinds = np.array([_ICT_KINDS.get(name, PLAIN) for name in materials], np.uint8)[material]
    colours, iris = np.zeros((len(neutral), 3), np.float32), np.full(len(neutral), np.inf)
    for place, name in enumerate(materials):
        used = np.unique(faces[material == place])
        colours[used] = _ICT_COLOURS.get(name, (0, 0, 0))
        if "Sclera" in name:  # drawn on the eyeball, because the iris lies behind its clear part
            ball = (vertices[used].min(0) + vertices[used].max(0)) / 2
            is_front = vertices[used, 2] > ball[2]
            iris[used] = np.where(is_front, np.linalg.norm((vertices[used] - ball)[:, :2], axis=1), 1.0)
        if "Lashes" in name:  # the strips of the lower lashes would look like solid bars
            low = (material == place) & (vertices[faces[:, 0], 1] < EYE_Y)
            kinds[low] = HIDDEN
    random = np.random.default_rng(0)
    shapes = {
        who: np.tensordot(random.normal(0, _SHAPE_STRENGTH, len(identities)), identities, 1) * factor
        for who in IDENTITIES
    }
    return HeadMesh(vertices, faces.astype(np.int64), kinds, colours, scaled, has, shapes, iris)


def _read_gltf(path: Path) -> HeadMesh:
    """Read the triangle meshes of a glTF file, those with morphs and those without, as one head."""
    document = GltfFile.read(path)
    vertices, faces, colours, kinds, named, count = [], [], [], [], [], 0
    for mesh, matrix in document.meshes():
        target_names = document.target_names(mesh)
        for primitive in mesh["primitives"]:
            if primitive.get("mode", TRIANGLES) != TRIANGLES:
                continue
            points = document.accessor(primitive["attributes"]["POSITION"]).astype(np.float64)
            rows = np.arange(len(points))
            indices = document.accessor(primitive["indices"]).ravel() if "indices" in primitive else rows
            for name, target in zip(target_names, primitive.get("targets", []), strict=False):
                if "POSITION" in target:
                    change = document.accessor(target["POSITION"]).astype(np.float64) @ matrix[:3, :3].T
                    named.append((name, rows + count, change))
            vertices.append(points @ matrix[:3, :3].T + matrix[:3, 3])
            faces.append(indices.reshape(-1, 3).astype(np.int64) + count)
            colour, kind, two_sided = document.colour(primitive, len(points))
            if two_sided:
                faces.append(faces[-1][:, ::-1])
            colours.append(colour)
            kinds.append(np.full(len(indices) // 3 * (1 + two_sided), kind, np.uint8))
            count += len(points)
    if not vertices:
        raise MediaError(f"{str(path)!r} has no triangle mesh; expected a head with ARKit morphs")
    morphs, has = gather_morphs(named, count, repr(str(path)))
    moved, scaled = aligned(np.concatenate(vertices), morphs, repr(str(path)))
    all_kinds = np.concatenate(kinds)
    moving = np.abs(scaled).sum((0, 2)) > 0
    all_faces = np.concatenate(faces)
    coloured = len(np.unique(np.concatenate(colours), axis=0)) > len(colours)  # vertex colours or textures
    if not (all_kinds == SKIN).any() and not coloured:  # without names that say so, what moves is skin
        all_kinds = np.where(moving[all_faces].any(1), SKIN, all_kinds).astype(np.uint8)
    lit = "KHR_materials_unlit" not in document.document.get("extensionsUsed", [])
    return HeadMesh(moved, all_faces, all_kinds, np.concatenate(colours).astype(np.float32), scaled, has, lit=lit)


class GltfFile:
    """The parts of a glTF 2.0 file that a head needs; see the specification of the Khronos Group, section 3.

    Args:
        document: its JSON.
        buffers: contents of its buffers.
        path: of the file.
    """

    def __init__(self, document: dict[str, Any], buffers: list[bytes], path: Path) -> None:
        self.document, self._buffers, self._path = document, buffers, path

    @classmethod
    def read(cls, path: Path) -> GltfFile:
        """Read a `.glb` or `.gltf` file with its buffers.

        Raises:
            MediaError: it is no glTF 2.0, or uses a compression that is not supported.
        """
        data = path.read_bytes()
        binary = b""
        if data[:4] == b"glTF":
            length = struct.unpack_from("<I", data, 12)[0]
            document = json.loads(data[20 : 20 + length])
            start = 20 + length
            if start + 8 <= len(data):
                binary = data[start + 8 : start + 8 + struct.unpack_from("<I", data, start)[0]]
        else:
            document = json.loads(data)
        if not str(document.get("asset", {}).get("version", "")).startswith("2"):
            raise MediaError(f"{str(path)!r} is no glTF 2.0 file; export the head again as binary glTF")
        used = [name for name in document.get("extensionsRequired", []) if name in UNSUPPORTED]
        if used:
            raise MediaError(f"{str(path)!r} needs {used[0]}; export the head without compression")
        buffers = [_buffer(path, entry, binary) for entry in document.get("buffers", [])]
        return cls(document, buffers, path)

    def accessor(self, index: int) -> np.ndarray:
        """Return an accessor as (N, width), with sparse changes and normalised integers applied."""
        entry = self.document["accessors"][index]
        kind, width = np.dtype(COMPONENTS[entry["componentType"]]), WIDTHS[entry["type"]]
        if "bufferView" in entry:
            values = self._view(entry["bufferView"], entry.get("byteOffset", 0), kind, entry["count"], width).copy()
        else:
            values = np.zeros((entry["count"], width), kind)
        if "sparse" in entry:
            sparse, number = entry["sparse"], entry["sparse"]["count"]
            places, changed = sparse["indices"], sparse["values"]
            index_kind = np.dtype(COMPONENTS[places["componentType"]])
            rows = self._view(places["bufferView"], places.get("byteOffset", 0), index_kind, number, 1)[:, 0]
            values[rows] = self._view(changed["bufferView"], changed.get("byteOffset", 0), kind, number, width)
        if entry.get("normalized") and kind.kind in "iu":
            return np.maximum(values / np.iinfo(kind).max, -1.0)
        return values

    def _view(self, index: int, offset: int, kind: np.dtype, count: int, width: int) -> np.ndarray:
        view = self.document["bufferViews"][index]
        start, row = view.get("byteOffset", 0) + offset, kind.itemsize * width
        data = self._buffers[view["buffer"]]
        strides = (view.get("byteStride", row), kind.itemsize)
        return np.ndarray((count, width), kind, data, start, strides)

    def meshes(self) -> list[tuple[dict[str, Any], np.ndarray]]:
        """Return the meshes of the scene, each with its (4, 4) transformation to the scene.

        Raises:
            ValueError: a node stands below two others, or below itself.
        """
        nodes = self.document.get("nodes", [])
        below = [child for node in nodes for child in node.get("children", [])]
        children = set(below)
        if len(children) < len(below):  # a tree has no such node, and a walk through a circle would not end
            raise ValueError("a node has two parents")
        placed: list[tuple[dict[str, Any], np.ndarray]] = []
        waiting = [(place, np.eye(4)) for place in range(len(nodes)) if place not in children]
        while waiting:
            place, above = waiting.pop(0)
            node = nodes[place]
            matrix = above @ _matrix(node)
            if "mesh" in node:
                placed.append((self.document["meshes"][node["mesh"]], matrix))
            waiting += [(child, matrix) for child in node.get("children", [])]
        return placed

    def target_names(self, mesh: dict[str, Any]) -> list[str]:
        """Return the names of a mesh's morphs."""
        return list(mesh.get("extras", {}).get("targetNames", []))

    def colour(self, primitive: dict[str, Any], count: int) -> tuple[np.ndarray, int, bool]:
        """Return the colours of a primitive's vertices (V, 3), its kind, and whether both sides are seen.

        Colours are those of the vertices, or of the base colour texture at them, times the base colour. Without either,
        the name of the material decides whether it is skin.
        """
        number = primitive.get("material")
        material = {} if number is None else self.document["materials"][number]
        look = material.get("pbrMetallicRoughness", {})
        factor = np.array(look.get("baseColorFactor", (1, 1, 1, 1)), float)[:3].clip(0, 1)
        colours, kind = np.tile(factor, (count, 1)), PLAIN
        attributes, texture = primitive["attributes"], look.get("baseColorTexture")
        if "COLOR_0" in attributes:
            colours *= self.accessor(attributes["COLOR_0"])[:, :3]
        elif texture is not None and f"TEXCOORD_{texture.get('texCoord', 0)}" in attributes:
            places = self.accessor(attributes[f"TEXCOORD_{texture.get('texCoord', 0)}"])
            colours *= (self._texels(texture["index"], places) / 255) ** GAMMA
        else:
            name = material.get("name", "").lower()
            is_skin = any(word in name for word in ("skin", "head", "face")) and "eye" not in name
            kind = SKIN if is_skin else PLAIN
        return 255 * colours ** (1 / GAMMA), kind, bool(material.get("doubleSided", False))

    def _texels(self, index: int, places: np.ndarray) -> np.ndarray:
        """Return the colours (V, 3) of a texture at coordinates (V, 2), repeated beyond its edges."""
        image = self.document["images"][self.document["textures"][index]["source"]]
        if "bufferView" in image:
            view = self.document["bufferViews"][image["bufferView"]]
            start = view.get("byteOffset", 0)
            data = self._buffers[view["buffer"]][start : start + view["byteLength"]]
        else:
            data = _buffer(self._path, image, b"")
        with Image.open(io.BytesIO(data)) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        height, width = pixels.shape[:2]
        x, y = (places[:, 0] % 1 * width).astype(int) % width, (places[:, 1] % 1 * height).astype(int) % height
        return pixels[y, x].astype(float)


def _buffer(path: Path, entry: dict[str, Any], binary: bytes) -> bytes:
    """Return the content of a buffer: of the file itself, of its URI, or of a file next to it.

    Raises:
        MediaError: the buffer is elsewhere, or cannot be decoded.
    """
    uri = entry.get("uri")
    if uri is None:
        return binary
    if uri.startswith("data:"):
        try:
            return base64.b64decode(uri.partition(",")[2], validate=True)
        except binascii.Error as error:
            raise MediaError(f"{str(path)!r}: a buffer cannot be decoded ({error}); export the head again") from error
    beside = (path.parent / unquote(uri)).resolve()
    if path.parent.resolve() not in beside.parents:
        raise MediaError(f"{str(path)!r}: the buffer {uri!r} is not beside the file; export the head as binary glTF")
    return beside.read_bytes()


def _matrix(node: dict[str, Any]) -> np.ndarray:
    """Return the transformation (4, 4) of a node."""
    if "matrix" in node:
        return np.array(node["matrix"], float).reshape(4, 4).T
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array(node.get("scale", (1, 1, 1)), float)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix
