"""Convert decoded frames to RGB as displayed: upright, on a white ground, in standard dynamic range.

Use one converter for a whole stream: FFmpeg's scaler starts its own threads, and a new scaler per frame would leave
hundreds of them behind.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av.filter
import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from emotion_qwen.media.high_dynamic_range import TRANSFERS, to_standard_range

_TURNS = {90: (True, True, False), 180: (False, True, True), 270: (True, False, True)}
"""Degrees counterclockwise -> the result of `orientation`."""


class FrameConverter:
    """Converts the frames of one stream.

    Args:
        fields: read only the upper field of an interlaced frame, instead of both fields interleaved.

    Attributes:
        interlaced: number of frames of which one field was read.
        high_range: number of frames converted from high to standard dynamic range.
    """

    def __init__(self, *, fields: bool = False) -> None:
        self.interlaced = self.high_range = 0
        self._fields = _UpperField() if fields else None
        self._scaler, self._resizer = VideoReformatter(), VideoReformatter()

    def rgb(self, frame: VideoFrame, size: tuple[int, int] | None = None) -> np.ndarray:
        """Convert a frame.

        Args:
            frame: as decoded.
            size: (height, width) of the picture before rotation; None keeps the size of the frame.

        Returns:
            (H, W, 3) uint8 RGB, rotated for display.
        """
        turn = orientation(frame)
        height, width = size or (frame.height, frame.width)
        transfer = int(getattr(frame, "color_trc", None) or 0)  # missing in older PyAV
        if self._fields is not None and frame.interlaced_frame and frame.height > 1:
            frame = self._fields.of(frame)
            self.interlaced += 1
        if _has_alpha(frame.format):  # before scaling, because hidden colours would otherwise bleed into the edges
            opaque = _on_white(self._scaler.reformat(frame, format="rgba").to_ndarray())
            frame = VideoFrame.from_ndarray(opaque, "rgb24")
        reduced = (height, width) != (frame.height, frame.width)
        wide = transfer in TRANSFERS
        # The bicubic kernel widens on reduction, which prevents aliasing; at equal size only chroma is interpolated.
        picture = self._resizer.reformat(
            frame,
            width=width,
            height=height,
            format="rgb48le" if wide else "rgb24",
            interpolation=Interpolation.BICUBIC if reduced else Interpolation.BILINEAR,
        ).to_ndarray()
        if wide:
            self.high_range += 1
            picture = to_standard_range(picture, transfer)
        return upright(picture, turn)


def orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """Return the display matrix as (swap axes, then mirror rows, then mirror columns)."""
    matrix: Any
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV raises on kinds of side data that FFmpeg knows and PyAV does not
        return _TURNS.get(frame.rotation % 360, (False, False, False))
    if matrix is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5].tolist()
    if abs(b) > abs(a):
        return True, b < 0, c < 0
    return False, d < 0, a < 0


def upright(picture: np.ndarray, turn: tuple[bool, bool, bool]) -> np.ndarray:
    """Rotate and mirror an (H, W, ...) picture by the result of `orientation`."""
    swap, rows, columns = turn
    if swap:
        picture = picture.transpose(1, 0, 2)
    return picture[:: -1 if rows else 1, :: -1 if columns else 1]


def _has_alpha(pixels: VideoFormat) -> bool:
    return pixels.has_palette or any(component.is_alpha for component in pixels.components)


def _on_white(picture: np.ndarray) -> np.ndarray:
    """Composite (H, W, 4) uint8 RGBA on white; return (H, W, 3) uint8."""
    alpha = picture[..., 3:].astype(np.uint16)
    return ((picture[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


class _UpperField:
    """Extracts every second line of a frame, starting with the first, in luma and chroma."""

    def __init__(self) -> None:
        self._kind: tuple[int, int, str] | None = None
        self._graph = av.filter.Graph()

    def of(self, frame: VideoFrame) -> VideoFrame:
        kind = frame.width, frame.height, frame.format.name
        if kind != self._kind:  # the size may change within a stream
            self._kind, self._graph = kind, av.filter.Graph()
            source = self._graph.add_buffer(
                width=kind[0], height=kind[1], format=frame.format, time_base=Fraction(1, 1000)
            )
            field, sink = self._graph.add("field", "type=top"), self._graph.add("buffersink")
            source.link_to(field)
            field.link_to(sink)
            self._graph.configure()
        self._graph.push(frame)
        taken = self._graph.pull()
        assert isinstance(taken, VideoFrame)
        return taken
