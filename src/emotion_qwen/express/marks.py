"""The marks of generated media: a word in the corner of a picture, and the provenance as JSON in a file's metadata.

Regulation (EU) 2024/1689 (AI Act), article 50, requires both: people must be able to see that a face is generated, and
machines must be able to detect it.
"""

from __future__ import annotations

import json
from functools import lru_cache

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
    size = min(max(round(min(height, width) * 0.04), 9), LARGEST)
    font, stroke = _font(size), max(size // 10, 1)
    left, top, right, bottom = (round(side) for side in font.getbbox(MARK, anchor="rs", stroke_width=stroke))
    # The corner alone is drawn on, at a whole number of pixels from the place of the text.
    x, y = width - size * 0.6, height - size * 0.5
    x1, y1 = max(int(x) + left - 2, 0), max(int(y) + top - 2, 0)
    x2, y2 = min(int(x) + right + 2, width), min(int(y) + bottom + 2, height)
    corner = Image.fromarray(np.ascontiguousarray(picture[y1:y2, x1:x2]))
    ImageDraw.Draw(corner).text(
        (x - x1, y - y1), MARK, fill="white", font=font, anchor="rs", stroke_width=stroke, stroke_fill="black"
    )
    marked = picture.copy()
    marked[y1:y2, x1:x2] = np.asarray(corner)
    return marked


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
