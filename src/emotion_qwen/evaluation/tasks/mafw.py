"""MAFW (Liu et al., ACM Multimedia 2022): clips of films and shows, eleven labels, five folds.

Read from the owners' `Train & Test Set/single/no_caption/set_1/test.txt` to `set_5` (`00001.mp4 anger`) and the clips.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emotion_qwen.evaluation.task import Task
from emotion_qwen.evaluation.tasks.clips import Labelled, LabelledClips
from emotion_qwen.evaluation.tasks.files import Table, needed
from emotion_qwen.evaluation.tasks.scorers import LabelScores
from emotion_qwen.taxonomy import label_set

SETS = tuple(f"set_{number}" for number in range(1, 6))
CLIPS = 9172
"""Published number of clips with a single label, all folds together."""


@dataclass(frozen=True)
class Mafw(LabelledClips):
    """The test parts of the folds, one after another; `group` names the fold."""

    def read(self, home: Path, split: str, language: str) -> Table:
        """See `Reader`."""
        table = Table()
        files = needed(home, "**/single/no_caption/set_*/test.txt")
        for path in files:
            fold = path.parent.name
            for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
                name, _, label = line.strip().partition(" ")
                if not name:
                    continue
                if label.strip().lower() not in self.labels.labels:
                    table.fault(f"label outside the eleven in {fold}", f"{name} ({label or 'none'}, line {number})")
                    continue
                table.add(Path(name).stem, Labelled(home, label.strip().lower(), fold))
        absent = sorted(set(SETS) - {path.parent.name for path in files})
        if absent:
            table.say("missing", f"no test.txt of {', '.join(absent)}; scores are not those of the five folds")
        else:
            table.expect("clips of the five folds", len(table.rows), CLIPS)
        self.find_clips(table, home)
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
