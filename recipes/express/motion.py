"""Compare the speed of generated motion with that of real faces: speed, acceleration and blinks.

A track is generated from the emotions that a report found in a clip, and measured like the landmarker's series of the
clip itself, so both move through the same emotions. Series are brought to 30 frames per second and filtered below 4 Hz,
because the landmarker's own noise would count as motion.

    python recipes/express/clip_landmarks.py CLIP --model face_landmarker.task --output CLIP.parquet
    emotion-qwen analyze CLIP --model mini --json > CLIP.json
    python -m recipes.express.motion --clip CLIP.parquet CLIP.json --results docs/results

The first command runs in the landmarker's virtual environment. With `--models`, learned motion is compared in the same
way: each clip with a model that was trained without it (`recipes.express.motion_trial`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow.parquet as pq
from scipy.signal import butter, filtfilt, find_peaks

from emotion_qwen.console import run_command
from emotion_qwen.export.reports import read_report
from emotion_qwen.express.motion import emotion_curve, make_track
from emotion_qwen.express.motion_model.learned import learned_track, read_motion
from emotion_qwen.express.replay import emotion_keyframes, person_of
from emotion_qwen.express.track import CHANNELS, LARGEST_ANGLE, ExpressionTrack
from emotion_qwen.files import write_whole
from emotion_qwen.records import Person

FPS, CUTOFF, SEEDS = 30.0, 4.0, 20
"""Frames per second, Hz, and tracks that are generated."""
GROUPS = {
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "jaw": ("jawOpen",),
    "raised brows": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    "lowered brows": ("browDownLeft", "browDownRight"),
    "squint": ("eyeSquintLeft", "eyeSquintRight"),
}
"""What is compared, as means of actions; the head's yaw, pitch and roll come after them."""
FACE, HEAD = "face, mean of the groups", "head"
KINDS = ("speed", "acceleration")
BLINK = ("eyeBlinkLeft", "eyeBlinkRight")
DEEP = 0.3
"""How far a blink rises above what is around it."""


def clip_series(path: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the actions (T,) by name and the angles (T, 3) that the landmarker measured, at `FPS`."""
    table = pq.read_table(path)
    names = table.schema.metadata[b"shapes"].decode().split(",")
    rows = [row for row in table.to_pylist() if row["detected"]]
    times = np.array([row["time"] for row in rows])
    clock = np.arange(times[0], times[-1], 1 / FPS)
    shapes, angles = (np.array([row[key] for row in rows]) for key in ("shapes", "angles"))
    actions = {name: np.interp(clock, times, shapes[:, place]) for place, name in enumerate(names)}
    return actions, np.stack([np.interp(clock, times, angles[:, axis]) for axis in range(3)], 1)


def measured(actions: dict[str, np.ndarray], angles: np.ndarray) -> dict[str, dict[str, float]]:
    """Return mean absolute speed (per second) and acceleration (per second squared) by group, and blinks per minute.

    Args:
        actions: (T,) by name.
        angles: (T, 3) degrees.
    """
    series = {group: np.mean([actions[name] for name in names], axis=0)[:, None] for group, names in GROUPS.items()}
    series[HEAD] = angles
    figures: dict[str, dict[str, float]] = {}
    for group, values in series.items():
        smooth = filtfilt(*butter(3, CUTOFF / (FPS / 2)), values, axis=0)
        speed = np.diff(smooth, axis=0) * FPS
        moved = (np.abs(speed).mean(), np.abs(np.diff(speed, axis=0)).mean() * FPS)
        figures[group] = dict(zip(KINDS, map(float, moved), strict=True))
    figures[FACE] = {kind: float(np.mean([figures[group][kind] for group in GROUPS])) for kind in KINDS}
    closed = np.mean([actions[name] for name in BLINK], axis=0)
    peaks, _ = find_peaks(closed, prominence=DEEP)
    figures["blinks"] = {"per minute": len(peaks) / len(closed) * FPS * 60}
    return figures


def clip_track(landmarks: Path, person: Person) -> ExpressionTrack:
    """Return what the landmarker measured in a clip as a track, with the emotions that a report found."""
    actions, angles = clip_series(landmarks)
    frames = np.stack([actions.get(name, np.zeros(len(angles))) for name in CHANNELS], axis=1).clip(0, 1)
    curve = emotion_curve(emotion_keyframes(person), np.arange(len(angles)) / FPS)
    return ExpressionTrack(FPS, frames, angles.clip(-LARGEST_ANGLE, LARGEST_ANGLE), curve)


def read_person(report: Path) -> Person:
    """Return the person of a report who was seen most."""
    return person_of(read_report(report.read_text(encoding="utf-8").splitlines()[0]), None)


def compared(landmarks: Path, report: Path, make: Callable[..., ExpressionTrack] = make_track) -> dict[str, Any]:
    """Return the figures of a clip, and generated over real with the smallest and largest of all seeds.

    Args:
        landmarks: measurements of the clip.
        report: of the clip.
        make: takes keyframes and seconds, `fps` and `seed`, and makes a track.
    """
    person = read_person(report)
    actions, angles = clip_series(landmarks)
    real = measured(actions, angles)
    seconds = len(angles) / FPS
    made = []
    for seed in range(SEEDS):
        track = make(emotion_keyframes(person), seconds, fps=FPS, seed=seed)
        made.append(measured(dict(zip(CHANNELS, track.frames.T, strict=True)), track.head))
    ratios: dict[str, Any] = {}
    for group, figures in real.items():
        for name, value in figures.items():
            ratio = [each[group][name] / value if value else None for each in made]
            known = [each for each in ratio if each is not None]
            ratios[f"{group}, {name}"] = {
                "real": round(value, 3),
                "ratio": round(float(np.mean(known)), 2) if known else None,
                "range": [round(min(known), 2), round(max(known), 2)] if known else None,
            }
    return {"seconds": round(seconds, 1), "seeds": SEEDS, "figures": ratios}


def learned(folder: Path, landmarks: Path, report: Path) -> dict[str, Any]:
    """Return the figures of a clip for a motion model that was trained without it, and what it was trained on."""
    facts = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    made = compared(landmarks, report, partial(learned_track, read_motion(folder)))
    steps = facts["schedule"]["steps"]
    return {"clips": len(facts["recordings"]), "trained_seconds": facts["seconds"], "steps": steps, **made}


@click.command()
@click.option(
    "--clip", "clips", nargs=2, type=click.Path(path_type=Path), multiple=True, required=True,
    help="measurements of a clip, and its report",
)  # fmt: skip
@click.option(
    "--models", type=click.Path(path_type=Path), default=None,
    help="folder of `recipes.express.motion_trial`: a motion model per clip, trained without it",
)  # fmt: skip
@click.option("--results", type=click.Path(path_type=Path), required=True, help="folder of the figures")
def motion(clips: tuple[tuple[Path, Path], ...], models: Path | None, results: Path) -> None:
    """Write `motion.json`: how generated motion compares with that of clips."""
    figures = {landmarks.stem: compared(landmarks, report) for landmarks, report in clips}
    if models is not None:
        for landmarks, report in clips:
            figures[landmarks.stem]["learned"] = learned(models / landmarks.stem, landmarks, report)
    write_whole(results / "motion.json", json.dumps(figures, indent=1) + "\n")
    click.echo(json.dumps(figures, indent=1))


if __name__ == "__main__":
    sys.exit(run_command(motion))
