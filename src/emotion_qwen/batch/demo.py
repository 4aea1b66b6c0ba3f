"""The built-in demo clip: a short video that slowly zooms into scikit-image's photograph of an astronaut."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from PIL import Image

SECONDS, FPS, SIZE = 3.0, 10, 384


def make_demo_clip(path: Path, photograph: Image.Image | None = None) -> Path:
    """Write the demo clip as MP4 and return its path.

    Args:
        path: of the clip.
        photograph: a square picture; default: NASA's public-domain portrait of Eileen Collins.
    """
    from skimage import data

    photograph = photograph or Image.fromarray(data.astronaut())
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 2_000_000
        for zoom in np.linspace(1.0, 0.6, round(SECONDS * FPS)):
            picture = _approach(photograph, float(zoom))
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())
    return path


def _approach(photograph: Image.Image, zoom: float) -> Image.Image:
    side = photograph.width * zoom
    left, top = (photograph.width - side) * 0.42, (photograph.height - side) * 0.05
    box = (left, top, left + side, top + side)
    return photograph.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box)
