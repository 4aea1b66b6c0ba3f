"""A folder of labelled faces, pictures or clips: one subfolder per label, under any of its names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.task import Task
from emotion_qwen.evaluation.tasks.clips import Labelled, LabelledFiles
from emotion_qwen.evaluation.tasks.files import PICTURES, VIDEOS, ReadRows
from emotion_qwen.evaluation.tasks.scorers import LabelScores
from emotion_qwen.matching.answer import match_label
from emotion_qwen.taxonomy import label_set


@dataclass(frozen=True)
class LabelledFolder(LabelledFiles):
    """All pictures and clips of a folder; `set_name` is the label set."""

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`; hidden files and folders are skipped."""
        table, labels = ReadRows(), self.labels
        folders = sorted(path for path in home.iterdir() if path.is_dir() and not path.name.startswith("."))
        for folder in folders:
            name = folder.name.strip().lower()
            label = name if name in labels.labels else match_label(name.replace("_", " ").replace("-", " "), labels)
            files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
            if label is None:
                table.fault(f"folder {folder.name!r} is not a label of {labels.name}", f"{len(files)} files")
                continue
            for path in files:
                place = path.relative_to(home).as_posix()
                if path.suffix.lower() not in PICTURES | VIDEOS:
                    table.fault("suffix is not that of a picture or clip", place)
                elif not path.stat().st_size:
                    table.fault("empty file", place)
                else:
                    table.add(place, Labelled(path, label, ""))
        if not table.rows:
            raise DataError(
                f"{str(home)!r} holds no labelled picture or clip; expected one folder per label of {labels.name}: "
                f"{', '.join(labels.labels)}"
            )
        return table


def folder_task(labels: str = "fer7") -> Task:
    """Make the task for a label set.

    Raises:
        SettingsError: the label set is unknown.
    """
    return Task(
        "folder",
        "A folder of labelled faces or clips",
        "emotion",
        LabelledFolder((), set_name=label_set(labels).name),
        score=LabelScores(label_set(labels)),
        splits=("test",),
        needs="a folder with one subfolder per label",
        licence="yours",
        access="your own files",
        options={"labels": "label set, such as fer7, dfew7 or mer6"},
        make=folder_task,
    )


TASK = folder_task()
