"""DFEW (Jiang et al., ACM Multimedia 2020): film clips, seven labels, five folds.

Read from the owners' `test(single-labeled)/set_1.csv` to `set_5.csv` (`video_name,label`, in some copies `order,label`;
labels 1 to 7) and from the clips `<video_name>.mp4`, with or without leading zeros, anywhere below the folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.task import OURS, RELEASE, Task
from emotion_qwen.evaluation.tasks.clips import Labelled, LabelledFiles, expect_folds, put_clips
from emotion_qwen.evaluation.tasks.files import ReadRows, needed, read_csv
from emotion_qwen.evaluation.tasks.prompts import DFEW_RELEASE
from emotion_qwen.evaluation.tasks.scorers import LabelScores, released_dfew
from emotion_qwen.taxonomy import label_set

SETS = {"set_1": 2341, "set_2": 2341, "set_3": 2340, "set_4": 2339, "set_5": 2336}
"""Published number of rows of each fold."""
NAMES = {"order": "video_name"}
"""Other names of the column of clips."""


@dataclass(frozen=True)
class Dfew(LabelledFiles):
    """The test parts of the folds, one after another; `group` names the fold."""

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table, counts = ReadRows(), dict.fromkeys(SETS, 0)
        for path in needed(home, "**/test(single-labeled)/set_*.csv", "set_*.csv"):
            if path.stem not in SETS:
                table.say("note", f"{path.name} is none of the five folds and is not read")
                continue
            for row in read_csv(path, ("video_name", "label"), aliases=NAMES):
                name, number = Path(row["video_name"].strip()).stem, row["label"].strip()
                counts[path.stem] += 1
                name = str(int(name)) if name.isdecimal() else name  # some copies pad the numbers with zeros
                if not re.fullmatch("[1-7]", number):
                    table.fault(f"label outside 1 to 7 in {path.name}", f"{name} ({number or 'empty'})")
                    continue
                table.add(name, Labelled(home, self.labels.labels[int(number) - 1], path.stem))
        if not table.rows:
            raise DataError(f"{str(home)!r}: no usable row of the five folds; give the owners' CSV files")
        expect_folds(table, counts, SETS)
        put_clips(table, home)
        return table


TASK = Task(
    "dfew",
    "DFEW, 7 emotions, 5 folds",
    "emotion",
    Dfew(("dfew", "DFEW"), set_name="dfew7", released=DFEW_RELEASE),
    answered="text",
    score=LabelScores(label_set("dfew7"), folds=True),
    as_released=released_dfew,
    frames={"fps": 3.0, "video_max_pixels": 602112},
    splits=("test",),
    prompts={OURS: ("en", "zh"), RELEASE: ("en",)},
    needs="test(single-labeled)/set_1.csv to set_5.csv and the clips <video_name>.mp4",
    licence="academic research only; may not be passed on",
    access="https://dfew-dataset.github.io (signed agreement)",
)
