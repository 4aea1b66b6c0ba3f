"""Write a track as CSV in the form of Unreal's Live Link Face app: a row per frame, 61 values."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from emotion_qwen.express.track import CHANNELS, PLACE, ExpressionTrack
from emotion_qwen.files import write_whole

EYE_TURN = 30.0
"""Degrees by which an eye is turned at full strength of an eye-look action; our choice, used for the eyes' angles."""
HEADER = (
    "Timecode",
    "BlendShapeCount",
    *(name[0].upper() + name[1:] for name in CHANNELS),
    *("HeadYaw", "HeadPitch", "HeadRoll"),
    *(f"{side}Eye{axis}" for side in ("Left", "Right") for axis in ("Yaw", "Pitch", "Roll")),
)
"""Columns; the app also counts the nine angles as blend shapes."""


def live_link_csv(track: ExpressionTrack) -> str:
    """Return a track as CSV; angles of head and eyes are in radians, with the signs of the track."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    eyes = _eye_angles(track.frames)
    for number, (frame, head, eye) in enumerate(zip(track.frames, np.radians(track.head), eyes, strict=True)):
        values = [f"{value:.7f}" for value in (*frame, *head, *eye)]
        writer.writerow([timecode(number, track.fps), len(HEADER) - 2, *values])
    return text.getvalue()


def write_live_link(track: ExpressionTrack, path: Path) -> None:
    """Write a track as CSV, and its provenance in `NAME.provenance.json` next to it, because CSV has no metadata.

    Raises:
        StorageError: a file cannot be written.
    """
    write_whole(path, live_link_csv(track))
    write_whole(path.with_name(f"{path.stem}.provenance.json"), track.provenance.model_dump_json(indent=2) + "\n")


def timecode(number: int, fps: float) -> str:
    """Return the time of a frame as hours, minutes, seconds, and frames with their fraction: `00:00:01:15.000`."""
    per_second = max(round(fps), 1)
    seconds = int(number / fps + 1e-9)
    frames = (number / fps - seconds) * per_second
    hours, rest = divmod(seconds, 3600)
    return f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}:{max(frames, 0):06.3f}"


def _eye_angles(frames: np.ndarray) -> np.ndarray:
    """Return yaw, pitch and roll of the left and the right eye, (T, 6) radians, from the eye-look actions (T, 52)."""
    turn = np.radians(EYE_TURN)
    angles = []
    for side, sign in (("Left", 1), ("Right", -1)):
        look = {name: frames[:, PLACE[f"eyeLook{name}{side}"]] for name in ("In", "Out", "Up", "Down")}
        angles += [sign * turn * (look["Out"] - look["In"]), turn * (look["Up"] - look["Down"]), 0 * look["Up"]]
    return np.stack(angles, 1)
