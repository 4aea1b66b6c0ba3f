"""POPE (Li et al., EMNLP 2023): does a picture show an object? Three ways of choosing the object.

Read from Parquet as lmms-lab/POPE publishes it (pictures embedded), or with `image` as the name of a picture file, or
from the authors' `coco_pope_random.json`, `coco_pope_popular.json` and `coco_pope_adversarial.json`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.run.stored import Stored
from emotion_qwen.evaluation.scoring.yes_no import score_pope
from emotion_qwen.evaluation.task import OURS, RELEASE, Task
from emotion_qwen.evaluation.tasks.files import ReadRows, cell_text, needed, parquet_rows, plain_text, read_utf8
from emotion_qwen.evaluation.tasks.prompts import pope_question
from emotion_qwen.evaluation.tasks.questions import YES_NO, PictureQuestions, Question, add_question, find_pictures
from emotion_qwen.evaluation.tasks.scorers import released_pope

SPLITS = ("adversarial", "popular", "random")
QUESTIONS = 3000
"""Per split; the answer to half of them is yes."""
OLDER = "the authors' file had 1410 before October 2023"
"""Many published figures are based on those 2910 questions."""


@dataclass(frozen=True)
class Pope(PictureQuestions):
    """All splits present; `group` names the split, `cluster` the picture."""

    choices = YES_NO

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table = ReadRows()
        for row, stored in _rows(home):
            kind = str(row.get("category") or row.get("split") or "").lower()
            key, answer = cell_text(row.get("question_id")), cell_text(row["answer"]).lower()
            name = f"{kind}/{key}"
            picture = str(row.get("image_source") or row.get("image") or "")
            if not key:
                table.fault("no id", f"question of {kind or 'no split'}")
            elif kind not in SPLITS:
                table.fault(f"split not one of {', '.join(SPLITS)}", name)
            elif answer not in YES_NO:
                table.fault("answer neither yes nor no", f"{name} ({answer or 'empty'})")
            else:
                image: Stored | Path = home / picture if isinstance(row.get("image"), str) else stored(picture)
                add_question(table, name, Question(image, plain_text(row["question"]), (answer,), kind, picture))
        find_pictures(table, home)
        counts = Counter((row.group, row.answers[0]) for row in table.rows.values())
        for kind in SPLITS:
            for answer in YES_NO:
                remark = OLDER if (kind, answer) == ("random", "no") else ""
                table.expect(f"questions of {kind} with {answer}", counts[kind, answer], QUESTIONS // 2, remark)
        return table

    def ask(self, row: Question, language: str) -> str:
        """See `PictureQuestions`."""
        return pope_question(row.text, self.prompt)


def _rows(home: Path) -> Iterator[tuple[dict[str, Any], Any]]:
    files = needed(home, "test-*.parquet", "data/test-*.parquet", "**/coco_pope_*.json", "*pope*.parquet")
    if files[0].suffix == ".parquet":
        yield from parquet_rows(files, ("question_id", "question", "answer", "image"))
        return
    for path in files:
        for number, line in enumerate(read_utf8(path).split("\n"), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                fields = {"question_id": row["question_id"], "question": row["text"], "answer": row["label"]}
                if not isinstance(row["image"], str):
                    raise TypeError("image is no name")
                yield {**fields, "image": row["image"], "category": path.stem.rpartition("_")[2]}, None
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{path}, line {number}: not a question of POPE ({error!r}); fetch it again") from error


TASK = Task(
    "pope",
    "POPE, is it in the picture?",
    "general",
    Pope(("pope", "POPE")),
    answered="text",
    score=score_pope,
    also={"read as POPE's own script": partial(score_pope, official=True)},
    as_released=released_pope,
    splits=("test",),
    prompts={OURS: ("en",), RELEASE: ("en",)},
    needs="test-*.parquet of lmms-lab/POPE, or coco_pope_*.json with the pictures of COCO val2014",
    licence="MIT for the questions; pictures of COCO under their owners' terms",
    access="https://huggingface.co/datasets/lmms-lab/POPE or https://github.com/AoiDragon/POPE",
)
