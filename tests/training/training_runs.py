"""What several tests of training share."""

import json
from pathlib import Path

import numpy as np

from emotion_qwen.records import Clip, Sample


def chat(name: str, question: str, answer: str, picture: np.ndarray | str | None = None) -> Sample:
    asked: list[dict] = [{"type": "text", "text": question}]
    if picture is not None:
        asked.insert(0, {"type": "image", "image": picture})
    return Sample(name, ({"role": "user", "content": asked}, {"role": "assistant", "content": answer}))


def losses(output: Path) -> list[float]:
    """Read the losses of every step from the proof of a finished run."""
    log = json.loads((output / "model" / "stage.json").read_text(encoding="utf-8"))["log"]
    return [entry["loss"] for entry in log if "loss" in entry]


def noise_clip(seed: int, frames: int = 4) -> Clip:
    """A short moving clip of noise."""
    pixels = np.random.default_rng(seed).integers(0, 255, (frames, 48, 48, 3), dtype=np.uint8)
    return Clip(pixels, np.arange(frames) / 2.0, f"clip {seed}", duration=frames / 2.0, size=(48, 48))


def tone(pitch: float, seconds: float = 1.0) -> np.ndarray:
    """A pure tone at 16 kHz, (S,) float32."""
    return (0.3 * np.sin(2 * np.pi * pitch * np.arange(int(16000 * seconds)) / 16000)).astype(np.float32)
