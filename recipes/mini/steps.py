"""The steps that make mini's parts from raw data, each resumable on its own.

python -m recipes.mini.steps eyes-teacher|eyes-student|eyes-results --data DATA --runs RUNS
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
from safetensors.torch import save_model
from transformers import set_seed

from emotion_qwen.console import run_command
from recipes.mini.efficientnet import load_imagenet
from recipes.mini.eyes_data import FACES, read_faces
from recipes.mini.eyes_teacher import EyesTeacher, TeacherRun, train_teacher
from recipes.nano.steps import _folders

SEED = 7


@click.group()
def mini() -> None:
    """Make mini's parts, step by step."""
    set_seed(SEED)


@mini.command()
@_folders
@click.option("--imagenet", type=click.Path(path_type=Path), required=True, help="state dict of EfficientNet-Lite0")
@click.option("--passes", default=3, show_default=True)
def eyes_teacher(data: Path, runs: Path, imagenet: Path, passes: int) -> None:
    """Train the convolutional network that the vision transformer will follow."""
    teacher = EyesTeacher()
    load_imagenet(teacher.network, imagenet)
    parts = [(source, read_faces(data, runs / "arrays", source, "train")) for source in FACES]
    save_model(train_teacher(TeacherRun(runs / "teacher", passes), teacher, parts), runs / "teacher.safetensors")


if __name__ == "__main__":
    sys.exit(run_command(mini))
