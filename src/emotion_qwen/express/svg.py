"""Write the drawn face as SVG: the same shapes as in the painted picture, as paths that scale to any size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from emotion_qwen.errors import SettingsError
from emotion_qwen.express.face import SIZE, face_shapes
from emotion_qwen.express.identities import identity_of
from emotion_qwen.express.marks import MARK, mark_text
from emotion_qwen.express.scene import VIEW, Shape, projected
from emotion_qwen.express.track import ExpressionTrack
from emotion_qwen.files import write_whole

LEAST_OPACITY = 0.01


def scene_svg(shapes: Sequence[Shape], head: Sequence[float], note: str, size: int = SIZE) -> str:
    """Return a scene as an SVG document.

    Args:
        shapes: from back to front; the first fills the picture.
        head: yaw, pitch and roll in degrees.
        note: machine-readable mark, written as metadata.
        size: side of the picture in user units.
    """
    paths = projected(shapes, head, size)
    clips = {shape.name: f"clip{place}" for place, shape in enumerate(shapes) if shape.name}
    scale = size / (VIEW[2] - VIEW[0])
    blurs = {shape.blur: f"blur{round(shape.blur * 1000)}" for shape in shapes if shape.blur}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" width="{size}" height="{size}">',
        f"<title>{MARK} face</title><metadata>{escape(note)}</metadata><defs>",
        *(
            f'<filter id="{name}" x="-50%" y="-50%" width="200%" height="200%">'
            f'<feGaussianBlur stdDeviation="{blur * scale:.2f}"/></filter>'
            for blur, name in blurs.items()
        ),
        *(
            f'<clipPath id="{clips[shape.name]}"><path d="{_path(path)}"/></clipPath>'
            for shape, path in zip(shapes, paths, strict=True)
            if shape.name
        ),
        f'</defs><rect width="{size}" height="{size}" fill="{_hex(shapes[0])}"/>',
    ]
    for shape, path in zip(shapes[1:], paths[1:], strict=True):
        if shape.opacity < LEAST_OPACITY:
            continue
        opacity = f' opacity="{shape.opacity:.3g}"' if shape.opacity < 1 else ""
        soft = f' filter="url(#{blurs[shape.blur]})"' if shape.blur else ""
        drawn = f'<path d="{_path(path)}" fill="{_hex(shape)}"{opacity}{soft}/>'
        # The clip is on a group: on the path itself, it would be applied before the blur in some viewers.
        lines.append(f'<g clip-path="url(#{clips[shape.clip]})">{drawn}</g>' if shape.clip else drawn)
    corner = size * 0.025
    lines.append(
        f'<text x="{size - corner:.0f}" y="{size - corner:.0f}" text-anchor="end" font-family="sans-serif" '
        f'font-size="{size * 0.035:.0f}" fill="#fff" stroke="#000" stroke-width="2" paint-order="stroke">{MARK}</text>'
    )
    return "\n".join(lines) + "\n</svg>\n"


def write_svg_frames(track: ExpressionTrack, folder: Path, identity: str) -> None:
    """Write a track as one SVG file per frame, `frame_00000.svg` and so on, into a folder.

    Raises:
        SettingsError: there is no such identity, or the folder is a file.
        StorageError: a file cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"{str(folder)!r} is a file; expected a folder for the SVG frames, or a name with .svg")
    who = identity_of(identity)
    for number, (frame, head) in enumerate(zip(track.frames, track.head, strict=True)):
        text = scene_svg(face_shapes(frame, who), head.tolist(), mark_text(track.provenance))
        write_whole(folder / f"frame_{number:05d}.svg", text, sync=False)


def _path(points: np.ndarray) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points.tolist()) + "Z"


def _hex(shape: Shape) -> str:
    return "#" + "".join(f"{round(value):02x}" for value in np.clip(shape.colour, 0, 255))
