"""Draw the frames of a replay and save those of its clip, for a comparison of both by the landmarker.

    emotion-qwen analyze clip.mp4 --model mini --fps 5 --json > report.json
    python -m recipes.express.replay_pictures --report report.json --clip clip.mp4 --output FOLDER
    python -m recipes.express.replay_pictures --report report.json --rig face_rig_ict.npz --output FOLDER
    python recipes/express/replay_landmarks.py --pictures FOLDER --model face_landmarker.task --results replay.json

The last command runs in the landmarker's virtual environment (see `recipes/mini/landmarker.py`). The pictures of the
clip show a person: keep the folder out of the repository.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
import numpy as np
from PIL import Image

from emotion_qwen.console import run_command
from emotion_qwen.export.reports import read_report
from emotion_qwen.express.avatar import FPS
from emotion_qwen.express.marks import with_mark
from emotion_qwen.express.replay import person_of, replay_track
from emotion_qwen.express.rigs import rig_of
from emotion_qwen.express.track import CHANNELS
from emotion_qwen.media.container import open_video

EVERY = 3
"""One of this many frames of a replay is compared: 5 per second."""
SIZE = 512
PATH = click.Path(path_type=Path)


def clip_frames(clip: Path, times: np.ndarray) -> list[np.ndarray]:
    """Return the frames (H, W, 3) of a clip that are shown at times (T,) seconds; fewer if it ends before."""
    frames: list[np.ndarray] = []
    with open_video(clip) as (container, stream):
        first, shown = None, None
        for frame in container.decode(stream):
            first = frame.time if first is None else first
            while shown is not None and len(frames) < len(times) and times[len(frames)] < frame.time - first:
                frames.append(shown)
            shown = frame.to_ndarray(format="rgb24")
    return frames


@click.command()
@click.option("--report", type=PATH, required=True, help="a report with facial actions, as JSON")
@click.option("--clip", type=PATH, default=None, help="its clip; its frames are saved, too")
@click.option("--rig", type=PATH, default=None, help="a head from a file; default: the drawn face")
@click.option("--output", type=PATH, required=True, help="folder of pictures")
def replay_pictures(report: Path, clip: Path | None, rig: Path | None, output: Path) -> None:
    """Save pictures of a replay, and of the clip at the same times."""
    read = read_report(report.read_text(encoding="utf-8").splitlines()[0])
    track, face = replay_track(read, fps=FPS), rig_of(rig)
    rows = np.arange(0, len(track.frames), EVERY)
    output.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows):
        picture = with_mark(face.render(track.frames[row], track.head[row], "amber", SIZE, 1))
        Image.fromarray(picture).save(output / f"{face.name}-{number:05d}.png")
    for number, frame in enumerate(clip_frames(clip, track.times[rows]) if clip else []):
        Image.fromarray(frame).save(output / f"clip-{number:05d}.png")
    seen = [s.time for s in person_of(read, None).seen if s.actions]
    facts = {
        "times": track.times[rows].tolist(),
        "seen": [bool(min(abs(time - at) for at in seen) <= 1.0 / FPS * EVERY) for time in track.times[rows]],
        "channels": list(CHANNELS),
        "frames": track.frames[rows].round(4).tolist(),
    }
    (output / "track.json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run_command(replay_pictures))
