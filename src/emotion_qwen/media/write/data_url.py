"""A picture as a part of a message of OpenAI's chat API."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

QUALITY = 90


def as_url(picture: Image.Image, kind: str) -> dict[str, Any]:
    """Return a picture as a part of a message; `kind` is "png" (lossless) or "jpeg"."""
    data = io.BytesIO()
    picture.save(data, kind, quality=QUALITY)  # PNG ignores the quality
    url = f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}
