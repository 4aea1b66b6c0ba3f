"""A small folder of videos with faces, the settings of its build, and a way to build it in another process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from skimage import data
from tests.processes import Process, start_command
from tests.ver.films import colours, write

from emotion_qwen.ver.settings import BuildSettings


def faces(folder: Path, count: int = 3) -> Path:
    """Write `count` videos: a shot of a face, each from another side, then a shot without one."""
    folder.mkdir(parents=True, exist_ok=True)
    photograph = data.astronaut()
    views = (photograph[:256, 96:352], photograph[20:276, 60:316][:, ::-1], photograph[:320, 40:360], photograph[:448])
    for number in range(count):
        side = views[number % 4]
        step = max(1, len(side) // 160)
        still = side[: 160 * step : step, : 160 * step : step]
        shot = np.stack([np.roll(still, place % 3, axis=1) for place in range(12)])
        write(folder / f"film{number}.mp4", np.concatenate([shot, colours(10, side=(160, 160))]))
    return folder


def settings(source: Path, output: Path, url: str, **changes: Any) -> BuildSettings:
    """Return the settings of a quick build with the served teacher as teacher and reader."""
    teacher = {"kind": "endpoint", "url": url, "model": "m"}
    values: dict[str, Any] = {
        "source": str(source), "output": str(output), "license": "CC-BY-4.0",
        "segment": {"shortest": 0.8, "longest": 4.0}, "select": {"expressions": False, "most_frames": 12, "side": 160},
        "describe": {"teacher": teacher, "frames": 2, "side": 64}, "check": {"reader": teacher},
        "calls": {"concurrency": 2, "first_wait": 0.01, "retries": 3},
        "export": {"validation": 0.0, "test": 0.0}, "workers": 1,
    }  # fmt: skip
    for key, value in changes.items():
        values[key] = {**values[key], **value} if isinstance(value, dict) and key in values else value
    return BuildSettings.of(values)


def start(chosen: BuildSettings, folder: Path, *arguments: str) -> Process:
    """Start the build as a process of its own."""
    path = folder / "build.yaml"
    path.write_text(yaml.safe_dump(json.loads(chosen.model_dump_json())))
    return start_command(folder / "build.log", "ver", "build", str(path), *arguments)
