"""The marks of generated media: a word in the corner of a picture, and the provenance as JSON in a file's metadata.

Regulation (EU) 2024/1689 (AI Act), article 50, asks for both: people must be able to see that a face is generated, and
machines must be able to detect it.
"""

from __future__ import annotations

import json

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from emotion_qwen.express.track import Provenance

MARK = "synthetic"
"""The visible word."""
LARGEST = 22
"""Largest height of its letters, pixels."""


def mark_text(provenance: Provenance) -> str:
    """Return the provenance as JSON, for the metadata of a file."""
    return json.dumps(provenance.model_dump(), ensure_ascii=True)


def with_mark(picture: np.ndarray) -> np.ndarray:
    """Return a picture (H, W, 3) uint8 with the visible word in its lower right corner."""
    height, width = picture.shape[:2]
    drawn = Image.fromarray(picture)
    size = min(max(round(min(height, width) * 0.04), 9), LARGEST)
    place = (width - size * 0.6, height - size * 0.5)
    ImageDraw.Draw(drawn).text(
        place, MARK, fill="white", font=ImageFont.load_default(size), anchor="rs", stroke_width=max(size // 10, 1),
        stroke_fill="black",
    )  # fmt: skip
    return np.asarray(drawn)
