"""SEED-Bench (Li et al., CVPR 2024), image part: questions with four options in nine dimensions.

Read from Parquet as lmms-lab/SEED-Bench publishes it. Its video questions (dimensions 10 to 12) contain frames as lists
of pictures; they are not read, but their number is noted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emotion_qwen.evaluation.scoring.choices import score_choices
from emotion_qwen.evaluation.task import OURS, RELEASE, Task
from emotion_qwen.evaluation.tasks.files import ReadRows, cell_text, needed, parquet_rows, plain_text
from emotion_qwen.evaluation.tasks.prompts import seed_question
from emotion_qwen.evaluation.tasks.questions import PictureQuestions, Question, add_question, is_letter_of
from emotion_qwen.evaluation.tasks.scorers import released_seed

ROWS = 17990
"""Published number of rows, pictures and videos together."""
DIMENSIONS = (
    *("scene understanding", "instance identity", "instance attributes", "instance location", "instance counting"),
    *("spatial relation", "instance interaction", "visual reasoning", "text recognition"),
    *("action recognition", "action prediction", "procedure understanding"),
)
IMAGES = 9
"""Number of dimensions about pictures, which come first."""


@dataclass(frozen=True)
class SeedBench(PictureQuestions):
    """The questions about pictures; `group` names the dimension."""

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table, count, videos = ReadRows(), 0, 0
        columns = ("question_id", "question", "choice_a", "choice_b", "answer", "question_type_id", "image")
        for row, stored in parquet_rows(needed(home, "test-*.parquet", "data/test-*.parquet"), columns):
            count += 1
            name, letter = cell_text(row["question_id"]), cell_text(row["answer"]).upper()
            number = int(row["question_type_id"]) if str(row["question_type_id"]).isdecimal() else 0
            if str(row.get("data_type") or "").lower() == "video" or IMAGES < number <= len(DIMENSIONS):
                videos += 1
                continue
            options = tuple(str(row[key]) for key in map("choice_{}".format, "abcd") if row.get(key) not in (None, ""))
            if not 1 <= number <= IMAGES:
                table.fault("dimension outside 1 to 12", f"{name} ({row['question_type_id']})")
            elif not is_letter_of(letter, options):
                table.fault("answer is not the letter of an option", f"{name} ({letter or 'empty'})")
            else:
                picture = stored(str(row.get("data_id") or name))
                dimension = DIMENSIONS[number - 1]
                text = plain_text(row["question"])
                add_question(table, name, Question(picture, text, (letter,), dimension, picture.name, options))
        table.expect("rows, videos included", count, ROWS)
        if videos:
            table.say("note", f"{videos} video questions were not read; the scores cover the image part")
        return table

    def ask(self, row: Question, language: str) -> str:
        """See `PictureQuestions`."""
        return seed_question(row.text, row.options, self.prompt)


TASK = Task(
    "seedbench",
    "SEED-Bench, image part",
    "general",
    SeedBench(("seedbench", "SEED-Bench")),
    answered="text",
    score=score_choices,
    as_released=released_seed,
    splits=("test",),
    prompts={OURS: ("en",), RELEASE: ("en",)},
    needs="test-*.parquet of lmms-lab/SEED-Bench",
    licence="CC BY-NC 4.0",
    access="https://huggingface.co/datasets/lmms-lab/SEED-Bench",
)
