"""RAVDESS (Livingstone and Russo, PLOS ONE 2018): 24 actors speak two sentences in eight emotions.

The label is part of the file name `01-01-06-01-02-01-12.mp4`: modality, channel, emotion, intensity, statement,
repetition, actor. Only speech (channel 01) with picture and sound (modality 01) is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.task import Task
from emotion_qwen.evaluation.tasks.clips import Labelled, LabelledFiles
from emotion_qwen.evaluation.tasks.files import VIDEOS, Media, ReadRows, counted
from emotion_qwen.evaluation.tasks.scorers import LabelScores
from emotion_qwen.taxonomy import label_set

CLIPS = 1440
"""Published number: 24 actors with 60 spoken clips each."""
KINDS = {"02": "picture without sound", "03": "sound without picture"}
_NAME = re.compile(r"(\d\d)-(\d\d)-(\d\d)-\d\d-\d\d-\d\d-(\d\d)")


@dataclass(frozen=True)
class Ravdess(LabelledFiles):
    """Spoken clips; an item's `group` is the label, its `cluster` the actor: 60 clips of one person are not
    independent.
    """

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table, others = ReadRows(), []
        media = Media(home, VIDEOS | {".wav"})
        for path in sorted(media.paths(), key=lambda path: path.stem):  # the order must not depend on the folders
            name = path.stem
            parts = _NAME.fullmatch(name)
            if parts is None:
                others.append("name not as in RAVDESS")
                continue
            modality, channel, emotion, actor = parts.groups()
            if modality != "01" or channel != "01":
                others.append(KINDS.get(modality) or "song")
            elif not 1 <= int(emotion) <= len(self.labels.labels):
                table.fault("emotion outside 01 to 08", path.name)
            else:
                table.add(name, Labelled(path, self.labels.labels[int(emotion) - 1], "", f"actor {actor}"))
        if not table.rows:
            raise DataError(
                f"{str(home)!r} holds no spoken clip such as 01-01-06-01-02-01-12.mp4; give the unpacked archives "
                "Video_Speech_Actor_01.zip to Video_Speech_Actor_24.zip"
            )
        if others:
            table.say("note", f"{len(others)} other files were not read: {counted(others)}")
        table.find("spoken clips", media, table.rows)
        table.expect("spoken clips with picture and sound", len(table.rows), CLIPS)
        return table


TASK = Task(
    "ravdess",
    "RAVDESS, 8 emotions",
    "emotion",
    Ravdess(("ravdess", "RAVDESS"), set_name="ravdess8"),
    answered="text",
    score=LabelScores(label_set("ravdess8")),
    frames={"fps": 3.0, "video_max_pixels": 602112},
    splits=("test",),
    needs="the unpacked archives Video_Speech_Actor_01 to 24",
    licence="CC BY-NC-SA 4.0",
    access="https://zenodo.org/records/1188976 (free download)",
)
