"""The evidence that a teacher is given for a clip: frames with captured faces, words, and measurements."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from emotion_qwen.faces import capture
from emotion_qwen.faces.capture import boxes_between
from emotion_qwen.media.clip import read_clip
from emotion_qwen.media.prosody import SILENT
from emotion_qwen.records import FaceTrack
from emotion_qwen.settings import ClipSettings
from emotion_qwen.taxonomy import label_set
from emotion_qwen.ver.settings import DescribeSettings
from emotion_qwen.ver.store.columns import Row, speaker_of
from emotion_qwen.ver.teachers.prompts import ASK, FACTS, PLACES, SYSTEM

QUALITY = 85  # of the JPEG frames


def tracks_at(tracks: list[dict[str, Any]], times: np.ndarray, width: int, height: int) -> tuple[FaceTrack, ...]:
    """Map measured tracks, with boxes as shares of the frame, to other frames of the same clip.

    Args:
        tracks: as stored in the look table.
        times: (T,) times of the frames, in seconds.
        width: width of the frames, in pixels.
        height: height of the frames, in pixels.
    """
    scale = np.array([width, height, width, height], np.float32)
    placed = []
    for number, track in enumerate(tracks):
        known = np.array(track["times"])
        frames = np.flatnonzero((times >= known[0] - 0.3) & (times <= known[-1] + 0.3))
        if len(frames):
            boxes = boxes_between(np.array(track["boxes"], np.float32), known, times[frames]) * scale
            placed.append(FaceTrack(number, frames, boxes.astype(np.float32), np.ones(len(frames), np.float32)))
    return tuple(placed)


def frames_of(item: Row, folder: Path, settings: DescribeSettings) -> tuple[list[str], list[float]]:
    """Return evenly spaced frames with captured faces as JPEG data URLs, and their times in seconds.

    Raises:
        MediaError: the clip cannot be read.
    """
    even = settings.frames + settings.frames % 2
    budget = ClipSettings.of(
        {"fps": 0.01, "min_frames": even, "max_frames": even, "working_side": settings.side}, "describe"
    )
    clip = read_clip(folder / item["media"], budget)
    height, width = clip.frames.shape[1:3]
    tracks = tracks_at(json.loads(item["tracks"] or "[]"), clip.times, width, height)
    shown = capture(clip.frames, tracks, settings.capture_strength)
    addresses = []
    for frame in shown:
        packed = io.BytesIO()
        Image.fromarray(frame).save(packed, "JPEG", quality=QUALITY)
        addresses.append("data:image/jpeg;base64," + base64.b64encode(packed.getvalue()).decode())
    return addresses, [float(time) for time in clip.times]


def facts(item: Row, times: list[float], language: str) -> str:
    """Describe in "en" or "zh" the measurements and the spoken words."""
    texts = FACTS[language]
    places = ", ".join(f"{time:.1f}" for time in times)
    lines = [texts["frames"].format(count=len(times), times=places, seconds=item["seconds"] or 0.0)] if times else []
    tracks = json.loads(item["tracks"] or "[]")
    lines.append(texts["people"].format(count=len(tracks)) if tracks else texts["nobody"])
    for number, track in enumerate(tracks, 1):
        middle = float(np.mean([(box[0] + box[2]) / 2 for box in track["boxes"]]))
        place = PLACES[language][min(2, int(middle * 3))]
        start, end = track["times"][0], track["times"][-1]
        lines.append(texts["person"].format(number=number, start=start, end=end, place=place))
    voice = item[f"voice_{language}"]
    lines.append(texts["voice"].format(voice=voice) if voice else texts["silent"])
    if speaker_of(item) >= 0:
        lines.append(texts["speaker"].format(number=speaker_of(item) + 1))
    words = json.loads(item["words"] or "[]")
    lines.append(texts["said"] if words else texts["unsaid"])
    lines += [f"[{start:.1f}-{end:.1f}] {text}" for start, end, text in words]
    return "\n".join(lines)


def messages_for(item: Row, folder: Path, settings: DescribeSettings, language: str) -> list[dict[str, Any]]:
    """Compose the request for one clip in one language.

    Raises:
        MediaError: the clip cannot be read.
    """
    addresses, times = frames_of(item, folder, settings)
    pictures = [{"type": "image_url", "image_url": {"url": address}} for address in addresses]
    names = ", ".join(label_set(settings.labels).names(language))
    text = f"{facts(item, times, language)}\n\n{ASK[language].format(labels=names)}"
    return [
        {"role": "system", "content": SYSTEM[language]},
        {"role": "user", "content": [*pictures, {"type": "text", "text": text}]},
    ]


def has_sound(item: Row) -> bool:
    """Return whether a clip has audible sound."""
    return item["level"] is not None and item["level"] > SILENT
