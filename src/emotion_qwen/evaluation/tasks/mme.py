"""MME (Fu et al., 2023): two questions an image, one with yes and one with no, in fourteen subtasks.

Read from Parquet as lmms-lab/MME publishes it. Both questions of an image carry the same `question_id`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from emotion_qwen.evaluation.run.stored import Stored
from emotion_qwen.evaluation.scoring.yes_no import COGNITION, PERCEPTION, score_mme
from emotion_qwen.evaluation.task import OURS, RELEASE, Item, Task
from emotion_qwen.evaluation.tasks.files import Reader, Table, needed, parquet_rows
from emotion_qwen.evaluation.tasks.prompts import mme_question
from emotion_qwen.evaluation.tasks.scorers import released_mme

QUESTIONS = 2374
ANSWERS = ("yes", "no")
_TASKS = {name.lower(): name for name in (*PERCEPTION, *COGNITION)}


class Asked(NamedTuple):
    """One of the two questions about an image."""

    subtask: str
    picture: str
    image: Stored
    question: str
    answer: str


@dataclass(frozen=True)
class Mme(Reader):
    """All subtasks; `group` names the subtask, `cluster` the image."""

    def read(self, home: Path, split: str, language: str) -> Table:
        """See `Reader`."""
        table, times, count = Table(), Counter[str](), 0
        files = needed(home, "test-*.parquet", "data/test-*.parquet")
        for row, stored in parquet_rows(files, ("question_id", "question", "answer", "image")):
            count += 1
            key, answer = str(row["question_id"]), str(row["answer"]).strip().lower()
            times[key] += 1
            name = f"{key}#{times[key]}"
            subtask = _TASKS.get(key.partition("/")[0].lower()) or _TASKS.get(str(row.get("category")).lower())
            if subtask is None:
                table.fault("subtask none of the fourteen", name)
            elif answer not in ANSWERS:
                table.fault("answer neither yes nor no", f"{name} ({answer or 'empty'})")
            else:
                # Case matters: in lower case two images of one subtask can have one name.
                picture = f"{subtask}/{key.rpartition('/')[2]}"
                table.add(name, Asked(subtask, picture, stored(key), str(row["question"]), answer))
        table.expect("questions", count, QUESTIONS)
        pairs = Counter(row.picture for row in table.rows.values())
        for name in [name for name, row in table.rows.items() if pairs[row.picture] != 2]:
            table.fault("an image without exactly two questions", name)
            del table.rows[name]
        return table

    def item(self, name: str, row: Asked, language: str) -> Item:
        """See `Reader`."""
        part = {"type": "image", "image": row.image}
        question = mme_question(row.question, self.prompt)
        return Item(name, language, (part,), question, ANSWERS, row.answer, row.subtask, cluster=row.picture)

    def together(self, name: str, row: Asked) -> str:
        """See `Reader`: the two questions of an image are scored together."""
        return row.picture


TASK = Task(
    "mme",
    "MME, perception and cognition",
    "general",
    Mme(("mme", "MME")),
    answered="text",
    score=score_mme,
    as_released=released_mme,
    splits=("test",),
    prompts={OURS: ("en",), RELEASE: ("en",)},
    needs="test-*.parquet of lmms-lab/MME",
    licence="academic research only",
    access="https://huggingface.co/datasets/lmms-lab/MME",
)
