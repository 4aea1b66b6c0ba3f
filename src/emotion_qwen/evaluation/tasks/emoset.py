"""EmoSet-118K (Yang et al., ICCV 2023): pictures and the emotion that they evoke, eight labels.

Read from the owners' `test.json` or `val.json` and the pictures below `image`. An entry is `[label, id, picture,
annotation]`, as on their page and in their code; copies without the id are read, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.task import Task
from emotion_qwen.evaluation.tasks.clips import Labelled, LabelledFiles
from emotion_qwen.evaluation.tasks.files import PICTURES, Media, ReadRows, needed, read_json_file
from emotion_qwen.evaluation.tasks.scorers import LabelScores, released_emoset
from emotion_qwen.records import EVOKED
from emotion_qwen.taxonomy import label_set

LABELS = label_set("mikels8")
PICTURES_OF = {"test": ("test.json", 17716), "validation": ("val.json", 5905)}
"""Split -> file and number of pictures; with 94,481 for training they are the published 118,102."""
UNCONFIRMED = "not confirmed: derived from the shares 80, 5 and 15 %"
ENTRY = "[label, id, picture, annotation]"


@dataclass(frozen=True)
class EmoSet(LabelledFiles):
    """Pictures of one split. The release's prompts are unknown: they were not published."""

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table = ReadRows()
        file, published = PICTURES_OF[split]
        path = needed(home, file, f"EmoSet-118K/{file}")[0]
        rows = read_json_file(path)
        if not isinstance(rows, list):
            raise DataError(f"{path}: contains {type(rows).__name__}; expected a list of {ENTRY}")
        loose: Media | None = None
        missing = []
        for number, row in enumerate(rows):
            name = _picture(row)
            if name is None:
                table.fault(f"not {ENTRY}", f"entry {number}")
                continue
            label, picture = row[0].strip().lower(), path.parent / name
            if label not in LABELS.labels:
                table.fault("label outside the eight", f"{name} ({label or 'empty'})")
                continue
            if not picture.is_file():
                loose = loose or Media(path.parent, PICTURES)  # in another folder, or with another suffix
                picture = loose.get(picture.stem) or picture
                missing += [] if picture.is_file() else [name]
            table.add(picture.stem, Labelled(picture, label, ""))
        table.expect(f"pictures of {file}", len(rows), published, UNCONFIRMED)
        table.expect_media("pictures", missing, len(table.rows))
        return table


def _picture(row: Any) -> str | None:
    """Return the picture of an entry: the first cell after the label that has the suffix of a picture."""
    if not isinstance(row, list) or len(row) < 2 or not all(isinstance(cell, str) for cell in row):
        return None
    return next((cell for cell in row[1:] if Path(cell).suffix.lower() in PICTURES), None)


TASK = Task(
    "emoset",
    "EmoSet, 8 evoked emotions",
    "emotion",
    EmoSet(("emoset", "EmoSet-118K", "EmoSet"), set_name=LABELS.name, about=EVOKED),
    about=EVOKED,
    answered="text",
    score=LabelScores(LABELS),
    as_released=released_emoset,
    splits=("test", "validation"),
    needs="test.json (or val.json) and the folder image of EmoSet-118K",
    licence="non-commercial research and education",
    access="https://github.com/JingyuanYY/EmoSet (download there)",
)
