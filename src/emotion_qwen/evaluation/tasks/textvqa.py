"""TextVQA (Singh et al., CVPR 2019): questions about text in pictures, with ten human answers each.

Read from Parquet as lmms-lab/textvqa publishes it, or from the owners' `TextVQA_0.5.1_val.json` and `train_images`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.run.stored import Stored
from emotion_qwen.evaluation.scoring.records import Response, Result, ScoredItem
from emotion_qwen.evaluation.scoring.vqa import TEXT_VQA, score_vqa
from emotion_qwen.evaluation.task import OURS, RELEASE, Task
from emotion_qwen.evaluation.tasks.files import (
    ReadRows,
    cell_text,
    cell_texts,
    needed,
    parquet_rows,
    plain_text,
    read_json_file,
)
from emotion_qwen.evaluation.tasks.prompts import textvqa_question
from emotion_qwen.evaluation.tasks.questions import PictureQuestions, Question, add_question, find_pictures
from emotion_qwen.evaluation.tasks.scorers import released_vqa

QUESTIONS = 5000
PEOPLE = 10
"""Answers per question."""


def take_answers(table: ReadRows, name: str, row: Question) -> None:
    """Add a row with ten human answers, and report a fault for any other number."""
    if not any(row.answers):
        table.fault("no human answer", name)
    elif len(row.answers) != PEOPLE:
        table.fault(f"not {PEOPLE} human answers", f"{name} ({len(row.answers)})")
    else:
        add_question(table, name, row)


@dataclass(frozen=True)
class TextVqa(PictureQuestions):
    """The validation questions; `cluster` is the picture."""

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table, count = ReadRows(), 0
        for row, image in _rows(home):
            count += 1
            answers, picture = cell_texts(row.get("answers")), str(row["image_id"])
            question = Question(image, plain_text(row["question"]), answers, picture=picture)
            take_answers(table, cell_text(row["question_id"]), question)
        table.expect("questions", count, QUESTIONS)
        find_pictures(table, home)
        return table

    def ask(self, row: Question, language: str) -> str:
        """See `PictureQuestions`."""
        return textvqa_question(row.text, self.prompt)


def _rows(home: Path) -> Iterator[tuple[dict[str, Any], Stored | Path]]:
    files = needed(home, "validation-*.parquet", "data/validation-*.parquet", "**/TextVQA_*_val.json")
    path = files[0]
    if path.suffix == ".parquet":
        for row, stored in parquet_rows(files, ("question_id", "image_id", "question", "answers", "image")):
            yield row, stored(str(row["image_id"]))
        return
    document = read_json_file(path)
    if not isinstance(document, dict) or not isinstance(document.get("data"), list):
        raise DataError(f"{path}: has no list 'data'; expected the owners' TextVQA_0.5.1_val.json")
    for number, row in enumerate(document["data"], 1):
        if not isinstance(row, dict) or not {"question_id", "image_id", "question"} <= set(row):
            raise DataError(f"{path}, entry {number}: lacks question_id, image_id or question; fetch the file again")
        yield row, home / "train_images" / f"{row['image_id']}.jpg"


def score_textvqa(items: Sequence[ScoredItem], answers: Iterable[Response]) -> Result:
    """Score by `score_vqa` with TextVQA's protocol."""
    return score_vqa(items, answers, TEXT_VQA)


TASK = Task(
    "textvqa",
    "TextVQA, reading in pictures",
    "general",
    TextVqa(("textvqa", "TextVQA")),
    answered="text",
    score=score_textvqa,
    as_released=released_vqa,
    splits=("validation",),
    prompts={OURS: ("en",), RELEASE: ("en",)},
    needs="validation-*.parquet of lmms-lab/textvqa, or TextVQA_0.5.1_val.json with train_images",
    licence="CC BY 4.0 for questions and answers; pictures of Open Images under their owners' terms",
    access="https://huggingface.co/datasets/lmms-lab/textvqa or https://textvqa.org/dataset",
)
