"""MME (Fu et al., 2023): two questions per image, one answered yes and one answered no, in fourteen subtasks.

Read from Parquet as lmms-lab/MME publishes it. Both questions of an image have the same `question_id`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from emotion_qwen.evaluation.scoring.yes_no import COGNITION, PERCEPTION, score_mme
from emotion_qwen.evaluation.task import OURS, RELEASE, Task
from emotion_qwen.evaluation.tasks.files import ReadRows, cell_text, needed, parquet_rows, plain_text
from emotion_qwen.evaluation.tasks.prompts import mme_question
from emotion_qwen.evaluation.tasks.questions import YES_NO, PictureQuestions, Question, add_question
from emotion_qwen.evaluation.tasks.scorers import released_mme

QUESTIONS = 2374
_TASKS = {name.lower(): name for name in (*PERCEPTION, *COGNITION)}


@dataclass(frozen=True)
class Mme(PictureQuestions):
    """All subtasks; `group` names the subtask, `cluster` the image."""

    choices = YES_NO

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table, times, count = ReadRows(), Counter[str](), 0
        files = needed(home, "test-*.parquet", "data/test-*.parquet")
        for row, stored in parquet_rows(files, ("question_id", "question", "answer", "image")):
            count += 1
            key, answer = cell_text(row["question_id"]), cell_text(row["answer"]).lower()
            times[key] += 1
            name = f"{key}#{times[key]}"
            subtask = _TASKS.get(key.partition("/")[0].lower()) or _TASKS.get(str(row.get("category")).lower())
            if not key:
                table.fault("no id", f"question {count}")
            elif subtask is None:
                table.fault("subtask not one of the fourteen", name)
            elif answer not in YES_NO:
                table.fault("answer neither yes nor no", f"{name} ({answer or 'empty'})")
            else:
                # Case matters: in lower case, two images of a subtask can have the same name.
                picture = f"{subtask}/{key.rpartition('/')[2]}"
                add_question(
                    table, name, Question(stored(key), plain_text(row["question"]), (answer,), subtask, picture)
                )
        table.expect("questions", count, QUESTIONS)
        pairs = Counter(row.picture for row in table.rows.values())
        for name in [name for name, row in table.rows.items() if pairs[row.picture] != 2]:
            table.fault("an image without exactly two questions", name)
            del table.rows[name]
        return table

    def ask(self, row: Question, language: str) -> str:
        """See `PictureQuestions`."""
        return mme_question(row.text, self.prompt)

    def together(self, name: str, row: Question) -> str:
        """See `BenchmarkReader`: the two questions of an image are scored together."""
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
