"""Voices made of tones, in a file as the package reads them."""

import io
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

RATE = 22050


def tone(hertz: float, seconds: float = 1.0, rate: int = 16000) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def flac(wave: np.ndarray) -> bytes:
    kept = io.BytesIO()
    with av.open(kept, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray((wave * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return kept.getvalue()


def write_voices(path: Path) -> Path:
    """Write three voices of two speakers, of 200, 300 and 400 Hz."""
    rows = [("a", "anger", 3, "train"), ("b", "fear", 3, "train"), ("c", "anger", 8, "validation")]
    sounds = [flac(tone(200 + 100 * n, rate=RATE)) for n in range(3)]
    columns = {
        "id": [row[0] for row in rows], "audio": sounds, "label": [row[1] for row in rows],
        "speaker": [row[2] for row in rows], "split": [row[3] for row in rows],
    }  # fmt: skip
    pq.write_table(pa.table(columns), path)
    return path


def pitch(wave: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(wave)).argmax() * 16000 / len(wave))
