"""Small videos, made on the fly."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest


def level(number: int) -> int:
    """Grey level that frame `number` is painted with, far enough apart to survive the codec."""
    return 20 + 5 * number % 216


def write_video(
    path: Path,
    count: int = 30,
    rate: int = 10,
    size: tuple[int, int] = (64, 48),
    stamps: list[int] | None = None,
    codec: str = "libx264",
    container_options: dict[str, str] | None = None,
    rotation: float | None = None,
    key_every: int = 12,
    corner: bool = False,
    container_format: str | None = None,
    pixels: str = "yuv420p",
) -> Path:
    """Encode `count` grey frames of rising level; `stamps` are milliseconds, `corner` whitens the upper left."""
    with av.open(str(path), "w", options=container_options or {}, format=container_format) as container:
        options = {
            "libx264": {"x264-params": "bframes=3:b-pyramid=normal:scenecut=0"},
            "libx265": {"x265-params": "bframes=3:open-gop=1:scenecut=0:log-level=error:pools=1"},
        }.get(codec, {})
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.gop_size = key_every
        stream.codec_context.time_base = Fraction(1, 1000) if stamps else Fraction(1, rate)
        if rotation is not None:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV cannot write a display matrix")
            stream.set_display_rotation(rotation)
        for number in range(count):
            picture = np.full((size[1], size[0], 3), level(number), dtype=np.uint8)
            if corner:
                picture[:] = 0
                picture[: size[1] // 2, : size[0] // 2] = 255
            frame = av.VideoFrame.from_ndarray(picture)
            frame.time_base = stream.codec_context.time_base
            frame.pts = stamps[number] if stamps else number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_interlaced(path: Path, codec: str = "libx264", count: int = 12, size: tuple[int, int] = (96, 64)) -> Path:
    """Encode frames of two fields: a bar 16 pixels wide that leaps by 32 from each field to the next, to and fro."""
    options = {"x264-params": "interlaced=1:tff=1:bframes=2"} if codec == "libx264" else {"flags": "+ildct+ilme"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = *size, "yuv420p", 6
        for number in range(count):
            picture = np.full((size[1], size[0], 3), 60, dtype=np.uint8)
            picture[0::2, 16:32] = picture[1::2, 48:64] = 220
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path, codec: str) -> Path:
    """Encode half a second of silence."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=16000)
        stream.layout = "mono"
        encoded = "fltp" if codec == "aac" else "s16"
        for number in range(8):
            samples = np.zeros((1, 1024), dtype=np.float32 if codec == "aac" else np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format=encoded, layout="mono")
            frame.sample_rate, frame.pts = 16000, number * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
