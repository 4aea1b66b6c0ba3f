"""Small films for the tests of building a set, and real clips joined into longer ones."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def colours(*lengths: int, side: tuple[int, int] = (48, 64), seed: int = 0) -> np.ndarray:
    """(T, H, W, 3) uint8: shots of the given numbers of frames, each of another noisy colour with a moving bar."""
    rng = np.random.default_rng(seed)
    shots = []
    for number, length in enumerate(lengths):
        shot = np.empty((length, *side, 3), np.uint8)
        shot[:] = (np.array([40, 200, 90]) * (number % 2) + rng.integers(10, 60, 3)).astype(np.uint8)
        for place in range(length):
            shot[place, :, (place * 2) % side[1]] = 255
        shots.append(shot)
    return np.concatenate(shots)


def write(
    path: Path,
    frames: np.ndarray,
    *,
    times: Sequence[float] | None = None,
    fps: int = 10,
    sound: np.ndarray | None = None,
    codec: str = "libx264",
    keys: Sequence[int] = (),
) -> Path:
    """Encode frames at their times (or evenly), with 16 kHz mono sound if given; `keys` are forced keyframes."""
    with av.open(str(path), "w") as container:
        options = {"g": "600", "bf": "0", "sc_threshold": "0"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        track = container.add_stream("aac", rate=16000) if sound is not None else None
        for place, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = round(1000 * (times[place] if times is not None else place / fps))
            frame.time_base = Fraction(1, 1000)
            frame.pict_type = 1 if place in keys else 0
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if track is not None:
            whole = av.AudioFrame.from_ndarray(np.float32(sound)[None], format="fltp", layout="mono")
            whole.sample_rate = 16000
            container.mux(track.encode(whole))
            container.mux(track.encode())
    return path


def tone(seconds: float, hertz: float = 160.0, level: float = 0.3) -> np.ndarray:
    """(S,) float32 at 16 kHz: a buzz of syllables, four a second, with a pause in the middle."""
    t = np.arange(round(16000 * seconds)) / 16000
    wave = sum(np.sin(2 * np.pi * hertz * k * t) / k for k in (1, 2, 3, 4)) * level / 2
    wave = wave * (0.5 - 0.5 * np.cos(2 * np.pi * 4 * t))
    wave[(t > seconds / 2 - 0.3) & (t < seconds / 2 + 0.3)] = 0
    return wave.astype(np.float32)


def joined(path: Path, *sources: Path, side: tuple[int, int] = (360, 640), fps: int = 24, most: int = 60) -> list[int]:
    """Write the first frames of several videos one after the other; return the frames at which a source begins."""
    starts, place = [], 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = *side, "yuv420p"
        for source in sources:
            starts.append(place)
            with av.open(str(source)) as reading:
                for number, frame in enumerate(reading.decode(video=0)):
                    if number == most:
                        break
                    small = frame.reformat(width=side[1], height=side[0], format="yuv420p")
                    small.pts, small.time_base = place, Fraction(1, fps)
                    container.mux(stream.encode(small))
                    place += 1
        container.mux(stream.encode())
    return starts
