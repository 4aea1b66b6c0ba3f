"""MAFW (Liu et al., ACM Multimedia 2022): clips from films and shows, eleven labels, five folds.

Read from the owners' `Train & Test Set/single/no_caption/set_1/test.txt` to `set_5` (`00001.mp4 anger`) and the clips.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emotion_qwen.evaluation.task import Task
from emotion_qwen.evaluation.tasks.clips import Labelled, LabelledFiles, expect_folds, put_clips
from emotion_qwen.evaluation.tasks.files import ReadRows, needed, read_utf8
from emotion_qwen.evaluation.tasks.scorers import LabelScores
from emotion_qwen.taxonomy import label_set

SETS = {"set_1": 1839, "set_2": 1837, "set_3": 1833, "set_4": 1832, "set_5": 1831}
"""Clips of each fold: in all, the 9,172 with a single label. The whole set has 10,045 clips."""


@dataclass(frozen=True)
class Mafw(LabelledFiles):
    """The test parts of the folds, one after another; `group` names the fold."""

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table, counts = ReadRows(), dict.fromkeys(SETS, 0)
        for path in needed(home, "**/single/no_caption/set_*/test.txt"):
            fold = path.parent.name
            if fold not in SETS:
                table.say("note", f"{fold}/{path.name} is none of the five folds and is not read")
                continue
            for number, line in enumerate(read_utf8(path).splitlines(), 1):
                name, _, label = line.strip().partition(" ")
                if not name:
                    continue
                counts[fold] += 1
                if label.strip().lower() not in self.labels.labels:
                    table.fault(f"label outside the eleven in {fold}", f"{name} ({label or 'none'}, line {number})")
                    continue
                table.add(Path(name).stem, Labelled(home, label.strip().lower(), fold))
        expect_folds(table, counts, SETS)
        put_clips(table, home)
        return table


TASK = Task(
    "mafw",
    "MAFW, 11 emotions, 5 folds",
    "emotion",
    Mafw(("mafw", "MAFW"), set_name="mafw11"),
    answered="text",
    score=LabelScores(label_set("mafw11"), folds=True),
    frames={"fps": 3.0, "video_max_pixels": 602112},
    splits=("test",),
    needs="Train & Test Set/single/no_caption/set_1/test.txt to set_5/test.txt and the clips",
    licence="academic research only; may not be passed on",
    access="https://mafw-database.github.io/MAFW (signed agreement)",
)
