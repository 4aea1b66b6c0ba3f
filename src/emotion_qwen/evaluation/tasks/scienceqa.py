"""ScienceQA (Lu et al., NeurIPS 2022): multiple-choice questions of school science, half of them with a picture.

Read from Parquet as swift/ScienceQA and derek-thomas/ScienceQA publish it. Rows have no id; one is made from the row
number.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emotion_qwen.evaluation.scoring.choices import score_choices
from emotion_qwen.evaluation.scoring.replies import LETTERS
from emotion_qwen.evaluation.task import OURS, RELEASE, Task
from emotion_qwen.evaluation.tasks.files import (
    ReadRows,
    cell_text,
    cell_texts,
    needed,
    parquet_rows,
    plain_text,
)
from emotion_qwen.evaluation.tasks.prompts import science_question
from emotion_qwen.evaluation.tasks.questions import PictureQuestions, Question, add_question
from emotion_qwen.evaluation.tasks.scorers import released_science

PUBLISHED = {"test": (4241, 2017), "validation": (4241, 2097)}
"""Split -> number of rows, and of rows with a picture."""
SEEN, UNSEEN = "with picture", "without picture"


@dataclass(frozen=True)
class ScienceQa(PictureQuestions):
    """Questions of one split; `group` says whether there is a picture."""

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table, count = ReadRows(), 0
        files = needed(home, f"{split}-*.parquet", f"data/{split}-*.parquet")
        for row, stored in parquet_rows(files, ("question", "choices", "answer", "image"), presence=True):
            name, options = f"{split}/{count}", cell_texts(row["choices"])
            count += 1
            right = row["answer"]
            if not isinstance(right, int) or not 0 <= right < min(len(options), len(LETTERS)):
                table.fault("answer is not the index of an option", f"{name} ({right})")
                continue
            image = stored(name) if row["image"] else None
            hint, group = cell_text(row.get("hint")), UNSEEN if image is None else SEEN
            letters = (LETTERS[right],)
            add_question(
                table, name, Question(image, plain_text(row["question"]), letters, group, options=options, hint=hint)
            )
        with_picture = sum(row.image is not None for row in table.rows.values())
        table.expect(f"rows of {split}", count, PUBLISHED[split][0])
        table.expect(f"rows of {split} with a picture", with_picture, PUBLISHED[split][1])
        return table

    def ask(self, row: Question, language: str) -> str:
        """See `PictureQuestions`."""
        return science_question(row.text, row.options, row.hint, row.image is not None, self.prompt)


TASK = Task(
    "scienceqa",
    "ScienceQA",
    "general",
    ScienceQa(("scienceqa", "ScienceQA")),
    answered="text",
    score=score_choices,
    as_released=released_science,
    splits=("test", "validation"),
    prompts={OURS: ("en",), RELEASE: ("en",)},
    needs="test-*.parquet of ScienceQA",
    licence="CC BY-NC-SA 4.0 according to its owners (the copy on the hub says CC BY-SA 4.0)",
    access="https://huggingface.co/datasets/derek-thomas/ScienceQA or modelscope swift/ScienceQA",
)
