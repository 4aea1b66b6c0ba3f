"""Parts of messages as a service with OpenAI's chat API takes them: pictures, the frames of videos, and sounds."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from emotion_qwen.engine.encoding import VISUALS, Part, medium_of
from emotion_qwen.media.write.data_url import as_url
from emotion_qwen.records import Clip

FRAMES = 16
"""Maximum number of frames sent of a video."""
RATE = 16_000


def wire_content(content: str | Sequence[Part]) -> str | list[dict[str, Any]]:
    """Return the content of a message with media in place as data.

    A picture becomes a lossless PNG, a video a sequence of at most `FRAMES` JPEG frames, a sound a WAV file.
    """
    if isinstance(content, str):
        return content
    sent: list[dict[str, Any]] = []
    for part in content:
        if part["type"] == "text":
            sent.append({"type": "text", "text": part["text"]})
        elif part["type"] in VISUALS:
            sent += _pictures(medium_of(part))
        else:
            sent.append({"type": "input_audio", "input_audio": {"data": _wav(medium_of(part)), "format": "wav"}})
    return sent


def _pictures(medium: Any) -> list[dict[str, Any]]:
    frames = medium.frames if isinstance(medium, Clip) else np.asarray(medium)[None]
    if len(frames) > FRAMES:
        frames = frames[np.linspace(0, len(frames) - 1, FRAMES).round().astype(int)]
    return [as_url(Image.fromarray(frame), "png" if len(frames) == 1 else "jpeg") for frame in frames]


def _wav(samples: np.ndarray) -> str:
    """Return a (S,) float32 wave at 16 kHz as a WAV file in base64, 16 bits per sample."""
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes())
    return base64.b64encode(data.getvalue()).decode()
