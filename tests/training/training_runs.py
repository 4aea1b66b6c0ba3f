"""What several tests of training share."""

import json
from pathlib import Path

import numpy as np

from emotion_qwen.records import Sample


def chat(name: str, question: str, answer: str, picture: np.ndarray | str | None = None) -> Sample:
    asked: list[dict] = [{"type": "text", "text": question}]
    if picture is not None:
        asked.insert(0, {"type": "image", "image": picture})
    return Sample(name, ({"role": "user", "content": asked}, {"role": "assistant", "content": answer}))


def losses(output: Path) -> list[float]:
    """Read the losses of every step from the proof of a finished run."""
    log = json.loads((output / "model" / "stage.json").read_text(encoding="utf-8"))["log"]
    return [entry["loss"] for entry in log if "loss" in entry]
