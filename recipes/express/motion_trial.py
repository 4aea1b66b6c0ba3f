"""Train the motion model on all clips but one, for each clip, so that its motion can be compared with that of the clip.

    python -m recipes.express.motion_trial --clip A.parquet A.json --clip B.parquet B.json --models runs/express/trial
    python -m recipes.express.motion --clip A.parquet A.json --clip B.parquet B.json --models runs/express/trial \\
        --results docs/results

Each pair is what the landmarker measured in a clip and a report of it, as for `recipes.express.motion`. A clip in which
the face was seen in too few frames is named and left out. An interrupted training continues.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import torch

from emotion_qwen.console import quiet, run_command
from emotion_qwen.errors import DataError
from recipes.express.motion import FPS, clip_track, read_person
from recipes.express.sequences import sequence_of
from recipes.express.train_motion import MotionSchedule, train_motion


@click.command()
@click.option(
    "--clip", "clips", nargs=2, type=click.Path(path_type=Path), multiple=True, required=True,
    help="measurements of a clip, and its report",
)  # fmt: skip
@click.option("--models", type=click.Path(path_type=Path), required=True, help="folder of the trained models")
@click.option("--steps", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--size", type=click.IntRange(1), default=MotionSchedule.size, show_default=True, help="of a batch")
@click.option("--seed", default=0, show_default=True)
def trial(clips: tuple[tuple[Path, Path], ...], models: Path, steps: int, size: int, seed: int) -> None:
    """Train a model without each clip; nothing else is held out, so that the last weights are used."""
    quiet()
    torch.set_num_threads(1)
    sequences = {}
    for landmarks, report in clips:
        try:
            sequences[landmarks.stem] = sequence_of(
                clip_track(landmarks, read_person(report)), landmarks.stem, None, FPS
            )
        except DataError as error:
            click.echo(f"{landmarks.stem}: {error}", err=True)
    for name in sequences:
        others = [sequence for other, sequence in sequences.items() if other != name]
        if not others:
            raise DataError(f"only {name} can be used; expected at least two clips")
        train_motion(others, models / name, MotionSchedule(steps=steps, size=size, seed=seed, every=50), held_out=0.0)
        click.echo(f"{models / name}: trained on {len(others)} clips")


if __name__ == "__main__":
    sys.exit(run_command(trial))
