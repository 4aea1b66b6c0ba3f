"""Write checkpoints and the trained model of a run, each completely or not at all.

A folder is written below `STAGING` and then renamed. Folders are only deleted below `STAGING`, because an interrupted
deletion leaves a partial folder.
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

STAGING = ".unfinished"  # contains only the results of interrupted runs
POSITION = "position.json"


def put_in_place(staged: Path, target: Path) -> None:
    """Rename a written folder to its final name; an existing folder is first moved next to `staged` for deletion."""
    if target.exists():
        os.replace(target, staged.with_name(f"{staged.name}.old"))
    os.replace(staged, target)


def finish_checkpoint(staged: Path, target: Path, position: dict[str, Any], keep: int) -> None:
    """Rename a written checkpoint to its final name, then delete the oldest ones.

    Args:
        staged: the written folder, below `STAGING`.
        target: its final path in the output folder.
        position: position in the data.
        keep: number of newest checkpoints to keep.
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
    """Save a trained model as `model` in the output folder, with the proof of which parts changed.

    Args:
        output: folder of the run.
        model: plain or with adapters.
        state: its gathered weights; None if it is not sharded.
        processor: saved with the model.
        start: the model from which the run started; its channel weights are copied.
        proof: written as `STAGE_PROOF`.

    Raises:
        TrainingError: the folder cannot be written.
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
                calibration.after_training().write(draft)  # `emotion-qwen calibrate` fits them again
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
    """Return the newest complete checkpoint, or None."""
    return next(reversed(checkpoints(folder)), None)


def read_position(checkpoint: Path) -> dict[str, Any]:
    """Read the position in the data at a checkpoint.

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
    """Flush all files of a folder to disk, so that they are complete before the folder is renamed."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
