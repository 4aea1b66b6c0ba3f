"""What a run writes: checkpoints and the trained model, each completely or not at all.

A folder is written below `STAGING` and gets its name in one move. Folders are only ever removed where they are staged:
a removal that is cut off leaves half a folder behind.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from emotion_qwen.engine.calibration import Calibration
from emotion_qwen.errors import TrainingError
from emotion_qwen.model.source import STAGE_PROOF, find_model
from emotion_qwen.processing import EmotionQwenProcessor

STAGING = ".unfinished"  # what stands here was interrupted
POSITION = "position.json"


def put_in_place(staged: Path, target: Path) -> None:
    """Give a written folder its name; a folder that has it is moved beside `staged` first, for the caller to remove."""
    if target.exists():
        os.replace(target, staged.with_name(f"{staged.name}.old"))
    os.replace(staged, target)


def finish_checkpoint(staged: Path, target: Path, position: dict[str, Any], keep: int) -> None:
    """Give a written checkpoint its name, then remove the oldest.

    Args:
        staged: the written folder, below `STAGING`.
        target: its name in the output folder.
        position: where the data stand.
        keep: checkpoints kept, the newest.
    """
    (staged / POSITION).write_text(json.dumps(position, indent=1), encoding="utf-8")
    _flush(staged)
    put_in_place(staged, target)
    for old in checkpoints(target.parent)[:-keep]:
        os.replace(old, staged.parent / old.name)
    shutil.rmtree(staged.parent, ignore_errors=True)


def save_model(
    output: Path, model: Any, state: dict[str, Any] | None, processor: EmotionQwenProcessor, start: str, proof: Any
) -> None:
    """Save a trained model as `model` in the output folder, with the proof of what moved and what did not.

    Args:
        output: folder of the run.
        model: plain or with adapters.
        state: its gathered weights; None where nothing is sharded.
        processor: saved beside the model.
        start: what the run started from; the weights of its channels go along.
        proof: written as `STAGE_PROOF`.

    Raises:
        TrainingError: the disk refuses to be written.
    """
    staging = output / STAGING
    draft = staging / "model"
    try:
        shutil.rmtree(staging, ignore_errors=True)
        model.save_pretrained(draft, state_dict=state)
        processor.save_pretrained(draft)
        if not start.startswith("preset:"):
            calibration = Calibration.read(find_model(start, weights=False).folder)
            if calibration.channels:
                calibration.after_training().write(draft)  # `emotion-qwen calibrate` fits them anew
        (draft / STAGE_PROOF).write_text(json.dumps(proof, indent=1) + "\n", encoding="utf-8")
        put_in_place(draft, output / "model")
        shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise TrainingError(
            f"the model could not be saved in {output} ({error}); the last checkpoint is whole: "
            "make room, then --resume"
        ) from error


def checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints of a run, oldest first."""
    folders = [path for path in folder.glob("checkpoint-*") if path.name.split("-")[-1].isdigit() and path.is_dir()]
    return sorted(folders, key=lambda path: int(path.name.split("-")[-1]))


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint, None without one."""
    return next(reversed(checkpoints(folder)), None)


def read_position(checkpoint: Path) -> dict[str, Any]:
    """Read where the data stood at a checkpoint.

    Raises:
        TrainingError: the file is missing or broken.
    """
    try:
        return json.loads((checkpoint / POSITION).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise TrainingError(
            f"{checkpoint}: {POSITION} cannot be read ({error}); remove the folder and resume from an earlier one"
        ) from error


def _flush(folder: Path) -> None:
    """Bring every file of a folder to the disk, so that a rename never outruns the content."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
