"""Small media made on the spot: plain frames of known colour, with or without sound, turned, or at uneven times."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

GREY = 90


def write_film(
    path: Path,
    count: int = 20,
    rate: int = 10,
    size: tuple[int, int] = (320, 180),
    codec: str = "libx264",
    sound: str | None = None,
    stamps: list[int] | None = None,
    rotation: float | None = None,
) -> Path:
    """Encode `count` grey frames of (width, height); `stamps` are milliseconds; `sound` is a codec of a 440 Hz tone."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000) if stamps else Fraction(1, rate)
        if rotation is not None:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV cannot write a display matrix")
            stream.set_display_rotation(rotation)
        tone = container.add_stream(sound, rate=48_000) if sound else None
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), GREY, np.uint8))
            frame.time_base = stream.codec_context.time_base
            frame.pts = stamps[number] if stamps else number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if tone is not None:
            write_tone(container, tone, count / rate)
    return path


def write_tone(container, stream, seconds: float) -> None:
    """Encode a 440 Hz tone of 48 kHz, mono, into a stream of an open container."""
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * 48_000)) / 48_000)
    frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="flt", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
    container.mux(stream.encode(frame))
    container.mux(stream.encode())


def write_sound(path: Path, codec: str = "pcm_s16le", seconds: float = 1.0) -> Path:
    with av.open(str(path), "w") as container:
        write_tone(container, container.add_stream(codec, rate=48_000), seconds)
    return path


def read_film(path: Path) -> tuple[list[np.ndarray], list[float]]:
    """Return all frames as (H, W, 3) uint8 and their times in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [frame.to_ndarray(format="rgb24") for frame in frames], [frame.time for frame in frames]


def sounds(path: Path) -> list[tuple[str, float]]:
    """Return codec and length in seconds of every sound in a file."""
    with av.open(str(path)) as container:
        found = []
        for stream in container.streams.audio:
            heard = sum(frame.samples / frame.sample_rate for frame in container.decode(stream))
            found.append((stream.codec_context.name, round(heard, 2)))
            container.seek(0)
        return found
